"""Diagnostics against closed forms and planted cases."""

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from small_policy import logprob_by_hand, random_direction

from oneshot.diagnostics.angles import by_kind, path_cosines, plain_cosine
from oneshot.diagnostics.consistency import between, by_size
from oneshot.diagnostics.curvature import by_way, expansion, way_of
from oneshot.diagnostics.forced import change_by, forced_logprobs, of_rollouts
from oneshot.diagnostics.linearity import coordinates, r_squared, random_walks, summarise
from oneshot.diagnostics.signs import decompose
from oneshot.diagnostics.turning import angles_between, halves_of, in_parts, stops, turned
from oneshot.gradients.block_sums import Gradient
from oneshot.gradients.clusters import Part
from oneshot.gradients.one_pass import accumulate_gradient
from oneshot.gradients.weights import weigh
from oneshot.policies.models import fingerprint
from oneshot.statistics import corrected, reliability
from oneshot.steps.line_search import moved
from oneshot.tasks.task import Problem
from oneshot.vectors import cosine, norm


def test_forced_logprobs_by_hand(policy, rollouts):
    """One forward pass a token; chunks small enough to mix the order of the rows."""
    expected = [logprob_by_hand(policy, row.prompt_tokens, row.tokens, 0.9) for row in rollouts.itertuples()]
    for chunk_tokens in (40, 3072):
        found_C = forced_logprobs(policy, rollouts, 0.9, chunk_tokens)
        assert torch.allclose(found_C, torch.cat(expected).detach(), atol=1e-5)
    sums_R = of_rollouts(found_C, rollouts)
    assert torch.allclose(sums_R, torch.stack([one.sum() for one in expected]).detach(), atol=1e-5)


def test_kinds_of_parameters_have_their_own_cosines(policy):
    """b is a, but with the sign of attention turned."""
    a = random_direction(policy)
    b = {name: -values if "self_attn" in name else values for name, values in a.items()}
    found = {kind: (value, chance) for kind, value, chance in by_kind(a, b)}
    assert (found["attention"][0], found["embeddings"][0]) == pytest.approx((-1, 1))
    assert -1 < found["all"][0] < 1
    assert found["all"][1] == pytest.approx(1 / math.sqrt(policy.num_parameters))


def test_a_random_direction_is_as_far_off_as_chance_says(policy):
    a = random_direction(policy)
    found = [next(by_kind(a, random_direction(policy, seed))) for seed in range(1, 101)]
    assert np.std([value for _, value, _ in found]) == pytest.approx(found[0][2], rel=0.25)


def test_the_correction_removes_noise():
    """Two noisy copies of one vector: their cosine, corrected by what their halves say, is 1."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=20_000)
    halves = truth + 2 * generator.normal(size=(4, 20_000))
    one, other = (torch.from_numpy(halves[pair].mean(axis=0)) for pair in ([0, 1], [2, 3]))
    trust = [reliability(plain_cosine(*torch.from_numpy(halves[pair]))) for pair in ([0, 1], [2, 3])]
    assert plain_cosine(one, other) == pytest.approx(1 / 3, abs=0.02)
    assert corrected(plain_cosine(one, other), *trust) == pytest.approx(1, abs=0.05)
    assert math.isnan(corrected(0.5, -0.1))


def test_a_straight_line_has_r_squared_one_and_a_zigzag_none():
    steps = [0, 1, 2, 4, 8]
    line = torch.tensor(steps)[:, None] * torch.tensor([[1.0, -3.0]])
    assert torch.allclose(r_squared(line, steps), torch.ones(2, dtype=torch.float64))
    assert r_squared(torch.tensor([[1.0], [-2.0], [1.0]]), [0, 1, 2]).item() == pytest.approx(0)
    still = r_squared(torch.zeros(5, 1), steps)
    assert still.isnan().all()


def test_r_squared_is_that_of_least_squares():
    generator = np.random.default_rng(0)
    steps, values = [0, 1, 5, 6, 11, 20], generator.normal(size=6)
    fitted = np.polyval(np.polyfit(steps, values, 1), steps)
    expected = 1 - np.sum((values - fitted) ** 2) / np.sum((values - values.mean()) ** 2)
    assert r_squared(torch.from_numpy(values)[:, None], steps).item() == pytest.approx(expected)


def test_a_random_walk_has_the_r_squared_of_the_literature():
    """0.44 with 14 even checkpoints, and about a quarter above 0.7 (simulated, as reported)."""
    steps = list(range(0, 1400, 100))
    found = summarise(random_walks(steps, seed=1), steps)
    assert found["r_squared"] == pytest.approx(found["walk_r_squared"], abs=0.01) == pytest.approx(0.44, abs=0.02)
    assert found["share_high"] == pytest.approx(0.265, abs=0.02)


def test_walks_cover_uneven_gaps():
    walks = random_walks([0, 1, 101], count=50_000)
    assert walks[0].abs().max() == 0
    assert walks[1].var().item() == pytest.approx(1, rel=0.05)
    assert walks[2].var().item() == pytest.approx(101, rel=0.05)


def test_a_path_is_held_against_every_direction(policy):
    """Two runs of one path, off the truth by as much noise each: corrected, the path lies along its direction."""
    truth = random_direction(policy)
    noisy = [{name: values + random_direction(policy, seed)[name] for name, values in truth.items()} for seed in (1, 2)]
    directions = {"one_shot": truth, "one_shot_random": random_direction(policy, 3)}
    found = path_cosines({"grpo": {5: noisy[0]}}, directions, {"grpo": {5: noisy[1]}}, {"one_shot": 1.0})
    assert len(found) == 2 * 4
    rows = found[found.kind == "all"].set_index("direction")
    assert rows.cosine["one_shot"] == pytest.approx(0.5**0.5, abs=0.05)
    assert rows.path_reliability["one_shot"] == pytest.approx(0.5, abs=0.05)
    assert rows.corrected["one_shot"] == pytest.approx(1, abs=0.05)
    assert abs(rows.cosine["one_shot_random"]) < 4 * rows.chance["one_shot_random"]
    assert math.isnan(rows.corrected["one_shot_random"])
    alone = path_cosines({"grpo": {5: noisy[0]}}, directions, {}, {"one_shot": 1.0})
    assert alone.corrected.isna().all()


def test_the_change_a_move_makes_is_undone(policy, rollouts):
    direction = random_direction(policy)
    before = forced_logprobs(policy, rollouts, 0.9)
    change = change_by(policy, rollouts, 0.9)
    with moved(policy.model, direction, 0.02):
        expected = forced_logprobs(policy, rollouts, 0.9) - before
    assert torch.equal(change(direction, 0.02), expected)
    assert expected.abs().max() > 1e-3
    assert change(direction, 0.0).abs().max() == 0


def test_coordinates_are_the_same_at_every_step(policy):
    move = random_direction(policy)
    path = {1: move, 3: {name: 3 * values for name, values in move.items()}}
    values_TD = coordinates(path, count=100)
    assert values_TD.shape == (2, 100)
    assert torch.allclose(values_TD[1], 3 * values_TD[0])
    assert coordinates(path, count=10**9).shape[1] == policy.num_parameters


def planted(noise, num_blocks=20, size=10, dimensions=400, seed=0):
    """A gradient whose blocks are one vector of length 1 and noise of variance `noise` / rollouts in all dimensions."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.nn.functional.normalize(torch.randn(dimensions, generator=generator), dim=0)
    errors = torch.randn(num_blocks, dimensions, generator=generator) * (noise / size / dimensions) ** 0.5
    sums = {"w": size * (truth + errors)}
    return Gradient(list(range(num_blocks)), sums, size, torch.zeros(num_blocks, 2), [""] * num_blocks)


def test_subsets_agree_as_the_noise_scale_says():
    """Planted: signal 1, noise 30 a rollout. Subsets of N rollouts agree to 1 / (1 + 30/N)."""
    found = pd.concat([by_size(planted(30.0, seed=seed)) for seed in range(20)]).groupby("rollouts").mean()
    assert found.index.tolist() == [10, 20, 50, 100]
    assert found.cosine.to_numpy() == pytest.approx(1 / (1 + 30 / found.index.to_numpy()), abs=0.03)
    assert found.expected.to_numpy() == pytest.approx(found.cosine.to_numpy(), abs=0.03)
    assert found.expected_from_few.to_numpy() == pytest.approx(found.cosine.to_numpy(), abs=0.08)


def test_clusters_that_want_the_opposite_are_found_under_noise():
    """Two clusters with opposite gradients, and one with the first one's; each seen with as much noise as signal."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(20_000, generator=generator)

    def seen(sign):
        even, odd = ({"w": sign * truth + torch.randn(20_000, generator=generator)} for _ in range(2))
        return Part(even, odd)

    found = between({"a": seen(1), "b": seen(-1), "c": seen(1)}).set_index(["one", "other"])
    assert found.cosine["a", "a"] == pytest.approx(0.5, abs=0.02)
    assert found.corrected["a", "b"] == pytest.approx(-1, abs=0.03)
    assert found.corrected["a", "c"] == pytest.approx(1, abs=0.03)
    assert abs(found.cosine["a", "b"]) < 0.75


def test_right_and_wrong_add_up_to_the_gradient_and_oppose_each_other_raw(policy, rollouts):
    parts = decompose(policy, rollouts, 0.9).set_index(["version", "kind"])
    weighted = weigh(rollouts)
    g = accumulate_gradient(policy, weighted, temperature=0.9).mean()
    right, wrong = (
        accumulate_gradient(
            policy, weighted.assign(weight=weighted.weight.where(rollouts.reward == reward, 0.0)), temperature=0.9
        ).mean()
        for reward in (1, 0)
    )
    for name, values in g.items():
        assert torch.allclose(right[name] + wrong[name], values, atol=1e-6)
    whole = parts.loc["advantage", "all"]
    assert whole.cosine == pytest.approx(cosine(right, wrong), abs=1e-5)
    assert whole.right_norm == pytest.approx(norm(right), rel=1e-5)


def test_the_identity_behind_opposite_gradients(policy):
    """All answers of one token, each as often as it is likely: right and wrong cancel exactly, whatever is right."""
    prompt, size = [5, 6, 7], policy.model.config.vocab_size
    logits_V = policy.model(torch.tensor([prompt])).logits[0, -1]
    weight_V = logits_V.softmax(0).detach()
    rewards_V = (torch.arange(size) % 3 == 0).float()
    sums = {}
    for reward in (1, 0):
        policy.model.zero_grad()
        chosen = rewards_V == reward
        log_pi_V = policy.model(torch.tensor([prompt])).logits[0, -1].log_softmax(0)
        (weight_V[chosen] * log_pi_V[chosen]).sum().backward()
        sums[reward] = {name: p.grad.clone() for name, p in policy.model.named_parameters()}
    assert cosine(sums[1], sums[0]) == pytest.approx(-1, abs=1e-4)


def test_a_gradient_in_halves_is_the_gradient(policy, rollouts):
    one, other = halves_of(policy, weigh(rollouts), 0.9)
    g = accumulate_gradient(policy, weigh(rollouts), temperature=0.9).mean()
    for name, values in g.items():
        assert torch.allclose((one[name] + other[name]) / 2, values, atol=1e-6), name


def test_parts_share_no_problem_and_leave_none_out(rollouts):
    many = pd.concat([rollouts.assign(problem_id=rollouts.problem_id + 100 * copy) for copy in range(4)])
    parts = in_parts(many)
    problems = [set(part.problem_id) for part in parts]
    assert sum(map(len, parts)) == len(many)
    assert not any(one & other for one, other in combinations(problems, 2))
    assert min(map(len, problems)) >= 2
    with pytest.raises(ValueError, match="at least 6 problems"):
        in_parts(rollouts[rollouts.problem_id == rollouts.problem_id.iloc[0]])


def test_nothing_turns_where_nothing_has_moved(policy, rollouts):
    """At θ0 all ways to take it (fresh rollouts are here the same ones) give one gradient."""
    still = {name: torch.zeros(weight.shape) for name, weight in policy.model.named_parameters()}
    found = angles_between(turned(policy, still, rollouts, lambda: rollouts, 0.9))
    assert len(found) == 6
    assert found.cosine.to_numpy() == pytest.approx(1, abs=1e-5)


def test_stops_are_spread_over_the_path():
    assert stops([1, 2, 5, 10, 20, 50, 100], 4) == [20, 50, 100]
    assert stops([1, 2], 1) == [2]


def test_a_move_turns_the_gradient_and_is_undone(policy, rollouts):
    before = fingerprint(policy.model)
    move = {name: 0.05 * values for name, values in random_direction(policy).items()}
    found = turned(policy, move, rollouts, lambda: rollouts, 0.9)
    assert fingerprint(policy.model) == before
    with moved(policy.model, move, 1.0):
        expected = accumulate_gradient(policy, weigh(rollouts), temperature=0.9).mean()
    for name, values in expected.items():
        assert torch.allclose(sum(half[name] for half in found["stale"]) / 2, values, atol=1e-6), name
    table = angles_between({"first": halves_of(policy, weigh(rollouts), 0.9), **found}).set_index(["one", "other"])
    assert table.cosine["first", "stale"] < 0.999
    assert table.cosine["stale", "fresh"] == pytest.approx(1, abs=1e-5)
    assert table.cosine["stale", "re-weighted"] < 0.99999


def test_the_expansion_is_that_of_the_exact_accuracy(policy, rollouts):
    """All answers of one token, weighted by their probability: J(α) is known, and so are its derivatives."""
    direction, prompt = random_direction(policy), list(rollouts.prompt_tokens.iloc[0])
    count, step = policy.model.config.vocab_size, 0.02
    rewards_V = (torch.arange(count) % 3 == 0).float()

    def accuracy(place):
        with torch.no_grad(), moved(policy.model, direction, place * step):
            return ((policy.model(torch.tensor([prompt])).logits[0, -1] / 0.9).softmax(-1) * rewards_V).sum().item()

    base_V = (policy.model(torch.tensor([prompt])).logits[0, -1] / 0.9).log_softmax(-1).detach()
    every = pd.concat([rollouts.head(1)] * count, ignore_index=True)
    every["tokens"] = [np.array([token], dtype=np.int32) for token in range(count)]
    every["logprobs"] = [np.array([value], dtype=np.float32) for value in base_V.numpy()]
    every["weight"] = (count * base_V.exp() * rewards_V).numpy()
    slope, curvature = expansion(policy, direction, step, every, 0.9)
    assert slope == pytest.approx((accuracy(0.2) - accuracy(-0.2)) / 0.4, rel=0.02)
    assert curvature == pytest.approx((accuracy(0.5) - 2 * accuracy(0) + accuracy(-0.5)) / 0.25, rel=0.1)


def test_answers_are_sorted_by_their_openings():
    problem, other = Problem("plan", "1+1+1=", "3"), Problem("arithmetic", "1+1+1+1=", "4")
    assert way_of(problem, "plan:steps:2,3;3") == "steps"
    assert way_of(problem, "plan:skip:;3") == "skip"
    assert way_of(problem, "nothing;3") == "other"
    answers = ["plan:steps:2,3;3", "plan:skip:;9", "plan:skip:;3", "about:;2"]
    table = pd.DataFrame({"problem_id": problem.id, "text": answers, "reward": [1.0, 0.0, 1.0, 0.0]})
    found = by_way(table, {problem.id: problem, other.id: other}).set_index("way")
    assert found.share.to_dict() == {"steps": 0.25, "skip": 0.5, "about": 0.25}
    assert found.accuracy["skip"] == 0.5
