"""The exact designs against finite differences, enumeration, simulation and closed forms."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml

from oneshot.theory import arms, batches, closed_forms, designs, table

ROOT = Path(__file__).parent.parent
THEORY = yaml.safe_load((ROOT / "config/protocol.yaml").read_text())["theory"]
PLAN = {"plans": 0.6, "careful": 0.25, "rewards": (0.85, 0.05, 0.35)}
TREES = {
    "one_decision": designs.one_decision([0.25, 0.2, 0.55], [0.99, 0.45, 0.1]),
    "contexts": designs.contexts([0.3, 0.6, 0.45], [0.5, 0.2, 0.3], designs.random_features(3, 2, 0)),
    "plan": designs.plan(**PLAN),
    "ladder": designs.ladder([0.5, 0.05, 0.005, 0.0005], 0.4),
}


@pytest.fixture(params=TREES)
def tree(request):
    return TREES[request.param]


@pytest.fixture
def theta(tree):
    """A policy away from the base."""
    return np.random.default_rng(1).normal(size=tree.base.shape)


def slope(function, theta_D):
    """Central differences."""
    return np.array([(function(theta_D + h) - function(theta_D - h)) / 2e-5 for h in 1e-5 * np.eye(len(theta_D))])


def even(number):
    return np.full(number, 1 / number)


# The policy


def test_the_plan_by_hand():
    """Every answer of the plan, multiplied out."""
    z = np.array([0.3, -0.2, 0.5, 0.1])
    first, second = np.array([0.6, 0.4]) * np.exp(z[:2]), np.array([0.25, 0.75]) * np.exp(z[2:])
    plans, careful = first[0] / first.sum(), second[0] / second.sum()
    expected = plans * (careful * 0.85 + (1 - careful) * 0.05) + (1 - plans) * 0.35
    assert TREES["plan"].accuracy(z) == pytest.approx(expected)
    assert TREES["plan"].accuracy(np.zeros(4)) == pytest.approx(0.29)


def test_margins_of_contexts_move_with_their_features():
    features, theta = designs.random_features(3, 2, 0), np.array([0.7, -1.2])
    margins = np.log([0.3 / 0.7, 0.6 / 0.4, 0.45 / 0.55]) + features @ theta
    assert TREES["contexts"].pass_rates(theta) == pytest.approx(1 / (1 + np.exp(-margins)))


def test_masses_sum_to_one_and_a_flat_reward_has_no_gradient(tree, theta):
    assert tree.masses(theta).sum() == pytest.approx(1)
    assert tree.gradient(tree.masses(theta), theta) == pytest.approx(np.zeros(len(theta)), abs=1e-12)


def test_gradients_are_finite_differences(tree, theta):
    weights = np.random.default_rng(2).normal(size=len(tree.rewards_Y))
    expected = slope(lambda at: weights @ tree.logprobs(at), theta)
    assert tree.gradient(weights, theta) == pytest.approx(expected, abs=1e-8)
    expected = slope(tree.accuracy, theta)
    assert tree.gradient(tree.masses(theta) * tree.rewards_Y, theta) == pytest.approx(expected, abs=1e-8)


def test_grpo_climbs_the_mean_angle(tree, theta):
    """The limit of GRPO's gradient is that of Σ f 2 arcsin √V, the ε in the std aside."""
    expected = slope(lambda at: tree.frequencies_P @ (2 * np.arcsin(np.sqrt(tree.pass_rates(at)))), theta)
    assert tree.gradient(batches.endless(tree, theta), theta) == pytest.approx(expected, rel=0.02, abs=1e-6)


def test_distances_by_enumeration(tree, theta):
    p, q = tree.masses(theta), tree.masses(tree.base)
    assert tree.kl(theta) == pytest.approx(np.sum(p * np.log(p / q)))
    assert tree.renyi(theta) == pytest.approx(np.log(np.sum(q * (p / q) ** 2)))
    assert tree.renyi(theta) >= tree.kl(theta) > 0


def test_the_curvature_is_that_of_the_kl(tree, theta):
    direction = np.random.default_rng(3).normal(size=len(theta))
    assert 2 * tree.kl(theta + 1e-4 * direction, theta) / 1e-8 == pytest.approx(
        tree.curvature(direction, theta), rel=1e-3
    )
    step = arms.base_step(tree, direction, theta, 1e-8)
    assert tree.kl(theta + step * direction, theta) == pytest.approx(1e-8, rel=1e-2)


# Batches


def test_a_drawn_batch_tends_to_the_endless_one(tree, theta):
    weights = batches.drawn(tree, theta, 2000, 100, np.random.default_rng(0))
    assert weights == pytest.approx(batches.endless(tree, theta), abs=0.02)


def test_a_drawn_batch_by_hand(monkeypatch):
    """Two groups of three; uniform numbers say prompt, answer, verdict in turn."""
    numbers = iter([[[0.1], [0.9]], [[0.2, 0.5, 0.9], [0.1, 0.2, 0.95]], np.full((2, 3), 0.5)])
    rng = type("Fixed", (), {"random": lambda self, shape: np.reshape(next(numbers), shape)})()
    tree = designs.contexts([0.3, 0.6], [0.5, 0.5])
    weights = batches.drawn(tree, tree.base, 2, 3, rng)
    std = np.std([1, 0, 0], ddof=1) + 1e-4  # right, wrong, wrong; then right, right, wrong
    first, second = [2 / 3, -2 / 3], [2 / 3, -2 / 3]
    assert weights == pytest.approx(np.array([*first, *second]) / std / 6)


def test_shuffled_rewards_say_nothing_but_are_never_silent():
    """In the mean over batches no answer is favoured; in any one batch some is, and a search may like it."""
    tree, rng = TREES["plan"], np.random.default_rng(0)
    found = np.stack([batches.drawn(tree, tree.base, 50, 10, rng, shuffled=True) for _ in range(400)])
    assert np.abs(found.mean(axis=0)).max() < 4 * found.std() / 20
    assert found.any(axis=1).all()
    told = np.mean([batches.drawn(tree, tree.base, 50, 10, rng) for _ in range(400)], axis=0)
    assert np.abs(told).max() > 10 * np.abs(found.mean(axis=0)).max()
    assert not batches.silent(tree, tree.base).any()


def test_a_group_of_equal_rewards_says_nothing():
    tree = designs.contexts([1 - 1e-12], [1.0])
    assert not batches.drawn(tree, tree.base, 5, 7, np.random.default_rng(0)).any()


@pytest.mark.parametrize("name", ["contexts", "plan"])
def test_the_noise_scale_is_the_spread_of_groups(name):
    tree, rng = TREES[name], np.random.default_rng(0)
    gradients = [tree.gradient(batches.drawn(tree, tree.base, 1, 100, rng), tree.base) for _ in range(600)]
    signal = np.sum(tree.gradient(batches.endless(tree, tree.base), tree.base) ** 2)
    measured = 100 * np.var(gradients, axis=0, ddof=1).sum() / signal
    assert batches.noise_scale(tree, tree.base, 100) == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize(("rate", "number"), product([0.25, 0.5], [1, 8]))
def test_the_noise_scale_of_equal_contexts(rate, number):
    tree = designs.contexts(np.full(number, rate), even(number))
    expected = closed_forms.contexts_noise(rate, number, 10)
    assert batches.noise_scale(tree, tree.base, 10) == pytest.approx(expected, rel=2e-3, abs=1e-4)


# Arms


def test_the_best_step_by_brute_force(tree):
    weights = batches.endless(tree, tree.base)
    direction = tree.gradient(weights, tree.base)
    tried = [tree.accuracy(step * direction) for step in np.geomspace(1e-2, 1e7, 4000)]
    assert arms.one_step(tree, weights).accuracy == pytest.approx(max(tried), abs=1.01 * arms.TOLERANCE)


def test_against_the_gradient_nothing_is_gained(tree):
    weights = -batches.endless(tree, tree.base)
    assert arms.one_step(tree, weights).accuracy <= tree.accuracy(tree.base) + 1e-9


@pytest.mark.parametrize("truncation", [0, 2])
def test_reuse_ends_at_the_first_of_the_best_points(tree, truncation):
    """Later ones on the path may be as accurate, to rounding; earlier ones are not."""
    weights = batches.endless(tree, tree.base)
    path = arms.climb(tree, arms.surrogate(tree, weights, truncation))
    accuracies = [tree.accuracy(theta_D) for theta_D in path]
    reached = arms.reuse(tree, weights, truncation)
    assert reached.accuracy == pytest.approx(max(accuracies), abs=arms.ROUNDING)
    assert max(accuracies[: reached.gradient_steps], default=0) <= max(accuracies) - arms.ROUNDING


@pytest.mark.parametrize("truncation", [0, 0.5, 2, np.inf])
def test_the_surrogate_and_its_gradient(tree, theta, truncation):
    objective = arms.surrogate(tree, batches.drawn(tree, tree.base, 20, 5, np.random.default_rng(0)), truncation)
    assert objective(theta)[1] == pytest.approx(slope(lambda at: objective(at)[0], theta), abs=1e-6)


def test_base_rollouts_give_the_accuracy_anywhere(tree, theta):
    """E_π0[ρ r] = E_πθ[r]: with whole ratios the reused batch's surrogate is the accuracy; with truncated ones less."""
    weights = tree.masses(tree.base) * tree.rewards_Y
    assert arms.surrogate(tree, weights, np.inf)(theta)[0] == pytest.approx(tree.accuracy(theta))
    assert arms.surrogate(tree, weights, 0.5)(theta)[0] < tree.accuracy(theta)


def test_without_ratios_two_answers_stay_on_the_line():
    tree = TREES["contexts"]
    weights = batches.endless(tree, tree.base)
    path = arms.climb(tree, arms.surrogate(tree, weights, 0))
    line = tree.gradient(weights, tree.base)
    assert len(path) > 5
    for theta in path[1:]:
        assert theta @ line / np.linalg.norm(theta) / np.linalg.norm(line) == pytest.approx(1)


@pytest.mark.parametrize("name", ["one_decision", "plan", "ladder"])
def test_flow_and_grpo_find_the_best_answers(name):
    tree = TREES[name]
    best = tree.frequencies_P @ np.maximum.reduceat(tree.rewards_Y, tree.first_P)
    assert arms.flow(tree).accuracy == pytest.approx(best, abs=1e-4)
    if name == "plan":
        assert arms.small_steps(tree, 150, 5, 10, np.random.default_rng(0)).accuracy > best - 0.02


def test_many_rollouts_do_what_an_endless_batch_does():
    tree, rng = TREES["plan"], np.random.default_rng(0)
    endless, drawn = (batches.endless(tree, tree.base), batches.drawn(tree, tree.base, 20_000, 10, rng))
    assert arms.one_step(tree, drawn).accuracy == pytest.approx(arms.one_step(tree, endless).accuracy, abs=0.01)
    assert arms.reuse(tree, drawn, 0).accuracy == pytest.approx(arms.reuse(tree, endless, 0).accuracy, abs=0.01)
    assert arms.reuse(tree, drawn, 2).accuracy == pytest.approx(0.85, abs=1e-3)


# Closed forms


def test_a_common_middling_way_wins_over_a_rare_best_one():
    rewards = [0.99, 0.45, 0.1]
    for rare, way in ((0.25, 0), (0.03, 1)):
        shares = [rare, 0.6, 0.4 - rare]
        tree = designs.one_decision(shares, rewards)
        theta = 1e6 * tree.gradient(batches.endless(tree, tree.base), tree.base)
        assert closed_forms.way_taken(shares, rewards) == way
        assert tree.accuracy(theta) == pytest.approx(rewards[way])


def test_independent_contexts_are_solved_at_once():
    for number in (1, 10, 100):
        tree = designs.contexts(np.linspace(0.35, 0.65, number), even(number))
        assert arms.one_step(tree, batches.endless(tree, tree.base)).accuracy > 0.998


def test_informative_groups_by_enumeration():
    for rate in (0.2, 0.7):
        mixed = [group for group in product([0, 1], repeat=4) if 0 < sum(group) < 4]
        expected = sum(rate ** sum(group) * (1 - rate) ** (4 - sum(group)) for group in mixed)
        assert closed_forms.informative(np.array([rate]), 4) == pytest.approx(expected)


@pytest.mark.parametrize("is_ladder", [False, True])
def test_breadth(is_ladder):
    """Over many small batches, one step comes to what the formula says."""
    rates = 0.5 * 0.3 ** np.arange(6) if is_ladder else np.linspace(0.2, 0.7, 6)
    places, f = np.arange(6), even(6)
    tree = designs.ladder(rates, 0.4) if is_ladder else designs.contexts(rates, f := np.arange(1, 7) / 21)
    near = np.abs(places[:, None] - places) <= is_ladder
    rng = np.random.default_rng(0)
    reached = [arms.one_step(tree, batches.drawn(tree, tree.base, 5, 4, rng)).accuracy for _ in range(25)]
    expected = closed_forms.breadth(rates, f, near, 5, 4)
    assert np.mean(reached) == pytest.approx(expected, abs=3 * np.std(reached) / 25**0.5 + arms.TOLERANCE)


@pytest.mark.parametrize("number", [32, 128])
def test_one_step_is_a_hebbian_memory(number):
    rates = np.linspace(0.35, 0.65, number)
    trees = [designs.contexts(rates, even(number), designs.random_features(number, 64, seed)) for seed in range(8)]
    reached = [arms.one_step(tree, batches.endless(tree, tree.base)).accuracy for tree in trees]
    assert np.mean(reached) == pytest.approx(closed_forms.hebbian(rates, (number - 1) / 64), abs=0.035)


def test_the_line_loses_what_the_features_hold():
    """K < M: least squares is right everywhere, and so is one batch with ratios; one step is not."""
    features = designs.random_features(32, 64, 0)
    tree = designs.contexts(np.full(32, 0.5), even(32), features)
    weights = batches.endless(tree, tree.base)
    assert tree.accuracy(np.linalg.lstsq(features, np.full(32, 20.0))[0]) == pytest.approx(1)
    one, reuse = arms.one_step(tree, weights).accuracy, arms.reuse(tree, weights, 2).accuracy
    assert one < 0.95 < reuse
    assert one == pytest.approx(arms.reuse(tree, weights, 0).accuracy, abs=0.005)


def test_separable_by_hand():
    assert closed_forms.separable(2, 1) == pytest.approx(1 / 2)  # two numbers have one sign half of the time
    assert closed_forms.separable(5, 5) == pytest.approx(1)
    assert closed_forms.separable(128, 64) == pytest.approx(0.5)


@pytest.mark.parametrize(("careful", "sign"), [(0.374, -1), (0.376, 1)])
@pytest.mark.parametrize("plans", [0.2, 0.8])
def test_the_first_gradient_turns_where_the_values_cross(plans, careful, sign):
    tree = designs.plan(plans, careful, PLAN["rewards"])
    assert closed_forms.turning_point(PLAN["rewards"]) == pytest.approx(0.375)
    g = tree.gradient(batches.endless(tree, tree.base), tree.base)
    assert np.sign(g[0]) == sign
    assert g[2] > 0  # steps are always better than skip


def test_a_plan_wants_a_second_look():
    tree = TREES["plan"]
    weights = batches.endless(tree, tree.base)
    assert arms.one_step(tree, weights).accuracy == pytest.approx(0.51, abs=0.01)
    assert arms.phases(tree, 2).accuracy == pytest.approx(0.85, abs=2e-3)
    assert arms.reuse(tree, weights, 0).accuracy < 0.53


@pytest.mark.parametrize(("plans", "careful", "truncation"), [(0.3, 0.1, 2), (0.3, 0.1, 10), (0.4, 0.2, 1)])
def test_truncated_ratios_re_value_a_rare_route_in_part(plans, careful, truncation):
    tree = designs.plan(plans, careful, PLAN["rewards"])
    weights = batches.endless(tree, tree.base)
    end = arms.climb(tree, arms.surrogate(tree, weights, truncation))[-1]
    expected = closed_forms.truncated_plan(plans, careful, PLAN["rewards"], truncation)
    assert np.exp(tree.logprobs(end)[0]) == pytest.approx(expected, abs=5e-3)


def test_a_batch_climbs_one_rung_beyond_what_it_hit():
    tree = designs.ladder(0.5 * 0.01 ** np.arange(5), 0.4)
    weights = np.zeros(10)
    weights[:4] = batches.endless(tree, tree.base)[:4]  # as if the first two rungs alone were ever right
    for end in (arms.one_step(tree, weights), arms.phases(tree, 1, lambda tree, theta: weights)):
        assert (tree.pass_rates(end.theta_D) > 0.5).tolist() == [True, True, True, False, False]
    assert (tree.pass_rates(arms.reuse(tree, weights, 2).theta_D) > 0.5).sum() <= 3


# The table, and what is refused


def test_the_table_of_predictions():
    settings = table.Settings(rollouts=400, group_size=5, steps=20, draws=2, seed=0)
    rows = table.predictions({"plan": TREES["plan"]}, settings)
    assert [row["arm"] for row in rows] == ["base", *table.ARMS, "grpo"]
    assert rows == table.predictions({"plan": TREES["plan"]}, settings)
    base, grpo = rows[0], rows[-1]
    assert (base["gain_recovered"], grpo["gain_recovered"]) == (0, 1)
    assert (base["accuracy"], grpo["accuracy_endless"]) == pytest.approx((0.29, 0.85), abs=1e-4)
    assert (grpo["sampling_phases"], rows[1]["sampling_phases"], rows[1]["gradient_steps"]) == (20, 1, 1)
    one, shuffled = rows[1:3]
    assert shuffled["accuracy_endless"] == base["accuracy"] <= shuffled["low"] < shuffled["high"]
    assert one["gain_recovered_endless"] == pytest.approx((one["accuracy_endless"] - 0.29) / 0.56, rel=1e-3)


def test_the_config_names_all_designs():
    trees = designs.all_designs(THEORY, 0)
    assert list(trees) == ["one_decision", "contexts", "shared_contexts", "plan", "ladder"]
    assert trees["ladder"].pass_rates(trees["ladder"].base)[2] == pytest.approx(0.005)
    table.Settings(**THEORY["runs"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: designs.one_decision([0.5, 0.4], [1, 0]), r"shares: .* sum to 1, not \[0\.5 0\.4\]"),
        (lambda: designs.one_decision([0.5, 0.5], [1.2, 0]), "rewards: .* between 0 and 1"),
        (lambda: designs.one_decision([0.5, 0.5], [1]), "rewards: 1 for 2 answers"),
        (lambda: designs.contexts([0.5, 1.0], even(2)), "rates: .* not 1"),
        (lambda: designs.contexts([0.5, 0.5], [0.5, 0.6]), "frequencies: .* sum to 1"),
        (lambda: designs.contexts([0.5, 0.5], [1.0]), "contexts: 2 rates, 1 frequencies"),
        (lambda: designs.plan(0.6, float("nan"), (1, 0, 0.5)), "plans, careful: .* not nan"),
        (lambda: designs.ladder([0.5], 0.7), "overlap: .* not 0.7"),
        (lambda: closed_forms.turning_point((0.3, 0.05, 0.35)), "skip < about < steps"),
        (lambda: table.Settings(100, 1, 5, 1, 0), "group_size: 1 rollout has no advantage"),
        (lambda: table.Settings(100, 10, 50, 1, 0), "rollouts: 100 are less than a group in each of 50 steps"),
        (lambda: table.Settings(100, 10, 5, 0, 0), "draws: expected at least 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
