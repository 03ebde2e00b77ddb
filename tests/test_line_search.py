"""The line search on landscapes whose peak is known, and the curvature against an exact Fisher information."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from small_policy import differentiate, random_direction

from oneshot.measures.evaluate import sequence_kl
from oneshot.policies.models import Policy, fingerprint
from oneshot.steps import search as searching
from oneshot.steps.collapse import flag_collapse
from oneshot.steps.line_search import base_step, effective_move, measure_curvature, moved, step_rows
from oneshot.steps.rounds import problems_asked, rounds
from oneshot.steps.scale import scale_table
from oneshot.steps.search import best_multiple, race, winner
from oneshot.vectors import cosine, inner

GRID = [0.5, 1.0, 2.0, 5.0, 10.0]


def hill(peak):
    """Accuracy falling off with the distance, in octaves, from the peak; the base is worst of all."""
    return lambda multiple: {"accuracy": 1 - abs(math.log2(multiple / peak)) / 100 if multiple else 0.0}


def search(evaluate, num_evaluations=10):
    return searching.search(evaluate, GRID, num_evaluations=num_evaluations)


def star(landscape):
    return best_multiple(landscape.set_index("multiple").to_dict("index"))


@pytest.mark.parametrize("peak", [0.2, 0.7, 1.6, 3.0, 10.0, 30.0])
def test_finds_the_peak_inside_and_beyond_the_grid(peak):
    landscape = search(hill(peak), 14)
    assert abs(math.log2(star(landscape) / peak)) < 0.35
    assert len(landscape) == 14
    assert landscape.multiple.is_monotonic_increasing


def test_says_why_a_point_is_there():
    assert search(hill(1.6)).origin.value_counts().to_dict() == {"grid": 6, "refinement": 4}
    assert search(hill(1e4)).origin.value_counts().to_dict() == {"grid": 6, "extension": 4}
    assert search(hill(1e4)).multiple.max() == pytest.approx(160)


def test_costs_what_it_says():
    calls = []
    search(lambda multiple: calls.append(multiple) or {"accuracy": 0.0}, 9)
    assert len(calls) == len(set(calls)) == 9


def test_keeps_the_base_if_nothing_is_better():
    assert star(search(lambda multiple: {"accuracy": 0.5 - multiple})) == 0.0


def test_of_equals_the_smallest_step_wins():
    assert star(search(lambda multiple: {"accuracy": float(multiple >= 2)})) < 2.5


def test_too_few_evaluations_are_refused():
    with pytest.raises(ValueError, match=r"line_search\.evaluations is 5: the base and the grid alone take 6"):
        search(hill(1), 5)


SHARES = [0.125, 0.25, 0.5, 1.0]


def noisy_hill(peak, seed):
    """Right answers on 512 problems, in pairs: the problem decides most, the step size the rest."""
    ease = np.random.default_rng(seed).normal(size=512)

    def evaluate(multiple, problems):
        height = -abs(math.log2(multiple / peak)) if multiple else -4.0
        return {"accuracy": float((ease[:problems] + height / 2 > 0).mean())}

    return evaluate


def run_race(evaluate, num_evaluations=12):
    return race(evaluate, GRID, num_evaluations=num_evaluations, num_problems=512, shares=SHARES)


def test_the_rounds_by_hand():
    assert rounds(12, 512, SHARES) == [(12, 64), (6, 128), (3, 256), (2, 512)]
    assert problems_asked(12, 512, SHARES) == 12 * 64 + 6 * 64 + 3 * 128 + 2 * 256
    assert rounds(10, 512, [1.0]) == [(10, 512)]
    assert problems_asked(10, 512, [1.0]) == 5120


def test_a_race_asks_what_it_says_and_nothing_twice():
    asked, hill_of_noise = [], noisy_hill(3.0, seed=0)
    landscape = run_race(lambda *what: asked.append(what) or hill_of_noise(*what))
    assert len(asked) == len(set(asked)) == 12 + 6 + 3 + 2
    assert landscape.problems.value_counts().to_dict() == {64: 6, 128: 3, 256: 1, 512: 2}
    assert landscape.multiple.is_monotonic_increasing


@pytest.mark.parametrize("seed", range(5))
def test_a_race_ends_where_a_full_search_does(seed):
    evaluate = noisy_hill(3.0, seed)
    everywhere = search(lambda multiple: evaluate(multiple, 512), 12)
    found = evaluate(winner(run_race(evaluate)), 512)["accuracy"]
    assert found >= everywhere.accuracy.max() - 0.015


def test_a_race_of_one_round_is_the_search():
    alone = race(lambda multiple, problems: hill(3.0)(multiple), GRID, num_evaluations=10, num_problems=9, shares=[1.0])
    pd.testing.assert_frame_equal(alone.drop(columns="problems"), search(hill(3.0), 10))
    assert winner(alone) == star(alone)


def test_who_leads_on_few_problems_alone_does_not_win():
    """Multiple 10 is right on the first 64 problems and nowhere else."""
    landscape = run_race(lambda multiple, problems: {"accuracy": 64 / problems if multiple == 10 else 0.6})
    assert landscape.set_index("multiple").problems[10] > 64
    assert winner(landscape) != 10


def test_moved_adds_and_restores_bit_for_bit(policy):
    direction, before = random_direction(policy), fingerprint(policy.model)
    copies = {name: parameter.clone() for name, parameter in policy.model.named_parameters()}
    with moved(policy.model, direction, 0.1):
        for name, parameter in policy.model.named_parameters():
            assert torch.equal(parameter, copies[name] + 0.1 * direction[name])
    assert fingerprint(policy.model) == before


def test_moved_restores_after_an_error(policy):
    before = fingerprint(policy.model)
    with pytest.raises(RuntimeError, match="inside"), moved(policy.model, random_direction(policy), 0.1):
        raise RuntimeError("inside")
    assert fingerprint(policy.model) == before


def test_moved_refuses_a_foreign_direction(policy):
    with pytest.raises(ValueError, match="differ in the parameters"), moved(policy.model, {"x": torch.zeros(1)}, 1.0):
        pass


def one_token(rollouts):
    """The rollouts cut to their first token: then the expectation over completions is a sum over the vocabulary."""
    return rollouts.assign(tokens=[row[:1] for row in rollouts.tokens], logprobs=[row[:1] for row in rollouts.logprobs])


def test_gradients_can_be_taken_where_it_stands(policy, rollouts, weights):
    direction = random_direction(policy)
    with moved(policy.model, direction, 0.1):
        found = differentiate(policy, rollouts, weights, temperature=0.9).mean()
        there = copy.deepcopy(policy)
    expected = differentiate(there, rollouts, weights, temperature=0.9).mean()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_curvature_is_the_exact_fisher_information(policy, rollouts):
    """dᵀFd = Σ_y π(y) ⟨d, ∇ log π(y)⟩², summed over the whole vocabulary, averaged over prompts; scale-free α_base."""
    chosen, direction = one_token(rollouts)[::4].head(3), random_direction(policy)
    exact = 0.0
    for row in chosen.itertuples():
        logprobs_V = policy.model(torch.tensor([row.prompt_tokens])).logits[0, -1].log_softmax(0)
        for value in logprobs_V:
            score = torch.autograd.grad(value, list(policy.model.parameters()), retain_graph=True)
            names = [name for name, _ in policy.model.named_parameters()]
            exact += value.exp().item() * inner(dict(zip(names, score, strict=True)), direction) ** 2 / len(chosen)
    reference = Policy(type(policy.model)(policy.model.config), policy.tokenizer)
    reference.model.load_state_dict(policy.model.state_dict())

    def kl_at(step):
        with moved(policy.model, direction, step):
            return sequence_kl(reference, policy, chosen, 1.0).mean().item()

    measured = measure_curvature(kl_at, direction)
    assert measured == pytest.approx(exact, rel=0.03)
    longer = {name: 1000 * value for name, value in direction.items()}
    assert 1000 * base_step(1e6 * measured, 0.2) == pytest.approx(base_step(measured, 0.2))
    assert kl_at(base_step(measured, 1e-4)) == pytest.approx(1e-4, rel=0.1)
    assert set(longer) == set(direction)


def test_sequence_kl_by_hand(policy, rollouts):
    """Σ over positions of Σ_v p log(p/q), one forward pass per prefix, in the direction KL(policy ‖ other)."""
    direction, chosen = random_direction(policy), rollouts.head(3)
    reference = Policy(type(policy.model)(policy.model.config), policy.tokenizer)
    reference.model.load_state_dict(policy.model.state_dict())
    with moved(policy.model, direction, 0.02), torch.no_grad():
        kl = sequence_kl(policy, reference, chosen, 0.9, chunk_tokens=20)
        backwards = sequence_kl(reference, policy, chosen, 0.9)
        for index, row in enumerate(chosen.itertuples()):
            expected = 0.0
            for position in range(len(row.tokens)):
                prefix = torch.tensor([[*row.prompt_tokens, *row.tokens[:position]]])
                p, q = (
                    (model.model(prefix).logits[0, -1].double() / 0.9).log_softmax(0) for model in (policy, reference)
                )
                expected += (p.exp() * (p - q)).sum().item()
            assert kl[index].item() == pytest.approx(expected, rel=1e-4)
    assert not torch.allclose(kl, backwards, rtol=1e-3)


def test_a_silent_part_of_a_batch_stays_at_the_base(policy, rollouts):
    """All its groups are wrong: a gradient of zero, a natural step of zero, and a search that keeps θ0."""
    gradient = differentiate(policy, rollouts[:8], np.zeros(8, dtype=np.float32), num_blocks=2, temperature=0.9)
    direction = gradient.mean()
    curvature = measure_curvature(lambda step: 1 / 0, direction)
    assert base_step(curvature, 0.2) == 0
    table = scale_table(gradient, 0.0, curvature, 0.0).set_index("quantity").value
    assert (table.alpha_base, table.gradient_norm) == (0, 0)
    landscape = search(lambda multiple: {"accuracy": 0.3})
    assert best_multiple(landscape.set_index("multiple").to_dict("index")) == 0
    rows = landscape.assign(problems=9, predicted_kl_nats=0.0, collapsed=False)
    assert not any(row["moved_share"] for row in step_rows(rows, policy.model, direction, 0.0))


def test_a_direction_that_does_nothing_is_refused(policy):
    with pytest.raises(ValueError, match="no step along the direction"):
        measure_curvature(lambda step: 0.0, random_direction(policy))


def test_collapse_is_flagged_by_the_rule():
    """Worse than the base *and* entropy off its path; a rebound alone, or a loss alone, is no collapse."""
    path = pd.DataFrame(
        {
            "accuracy": [0.4, 0.6, 0.3, 0.5, 0.3, 0.1],
            "entropy_nats": [1.0, 0.5, 0.4, 0.6, 0.6, 0.01],
        }
    )
    assert flag_collapse(path).tolist() == [False, False, False, False, True, True]


def test_what_bfloat16_leaves_of_a_step():
    """Weights of 1 and steps of 1: BF16 has 7 bits after the point, so half of 2⁻⁷ is the least that moves 1."""
    model = torch.nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
    direction = {"weight": torch.tensor([[0.001, 0.02, 2.0**-7, 0.001]])}
    exact = effective_move(model, direction, 1.0)
    assert exact["moved_share"] == 1
    assert exact["move_cosine"] == pytest.approx(1, abs=1e-6)
    rounded = effective_move(model.bfloat16(), direction, 1.0)
    assert rounded["moved_share"] == 0.75
    got, meant = np.array([0, 0.0234375, 2.0**-7, 0.001]), np.array([0.001, 0.02, 2.0**-7, 0.001])
    assert rounded["move_cosine"] == pytest.approx(got @ meant / np.sqrt((got @ got) * (meant @ meant)), rel=1e-4)
    assert effective_move(model, {"weight": torch.full((1, 4), 1e-45)}, 0.5)["moved_share"] == 0


def test_the_rows_of_a_landscape_keep_why_each_point_is_there(policy):
    direction = random_direction(policy)
    told = {"origin": "grid", "problems": 9, "predicted_kl_nats": 0.2, "collapsed": False, "accuracy": 0.5}
    landscape = pd.DataFrame([{"multiple": multiple, **told} for multiple in (0.0, 2.0)])
    base, row = step_rows(landscape, policy.model, direction, 0.25)
    assert row == {
        "point": 2.0,
        "alpha": 0.5,
        **{key: told[key] for key in ("origin", "problems", "predicted_kl_nats", "collapsed")},
        **effective_move(policy.model, direction, 0.5),
    }
    assert base["alpha"] == base["moved_share"] == 0


def test_the_scale_table_leaves_out_what_is_not_finite(policy, rollouts, weights):
    quantities = ["alpha_base", "curvature", "gradient_norm", "half_cosine", "probe_flops"]
    ends = ["sampler_gap_max", "sampler_gap_mean", "parameters"]
    gradient = differentiate(policy, rollouts, weights, num_blocks=2, temperature=0.9)
    few = scale_table(gradient, 0.5, 2.0, 100.0).set_index("quantity").value
    assert [name for name in few.index if name != "noise_scale"] == [*quantities, *ends]
    assert few["half_cosine"] == cosine(gradient.mean([0]), gradient.mean([1]))
    assert few["parameters"] == policy.num_parameters
