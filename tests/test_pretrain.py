"""Pretraining scores what it should, repeats itself, and the acceptance test sees what a policy can do."""

import pytest
import torch
from small_policy import TINY, logprob_by_hand

from oneshot.engines.protocol import Generation
from oneshot.measures.acceptance import examine
from oneshot.measures.bands import acceptance_table, quantities
from oneshot.policies.models import build_policy, fingerprint
from oneshot.policies.pretrain import IGNORED, padded_batches, pretrain, warm_up_then_cosine
from oneshot.tasks.arithmetic import parse_terms

DOCUMENTS = [("1+2=", "steps:3;3"), ("sort:ba=", ";ab"), ("47+8-5=", "maybe:;50")]


def batches(policy):
    return padded_batches(policy, iter(DOCUMENTS * 1000), batch_size=3)


def test_only_completions_are_scored(policy):
    token_ids_BT, labels_BT = next(batches(policy))
    for row, (prompt, completion) in enumerate(DOCUMENTS):
        scored = labels_BT[row][labels_BT[row] != IGNORED].tolist()
        assert scored == [*policy.encode(completion), policy.end_id]
        length = len(policy.encode(prompt)) + len(scored)
        assert policy.decode(token_ids_BT[row, :length].tolist()) == prompt + completion


def test_the_loss_is_the_mean_negative_logprob_of_the_completions(policy):
    logprobs = []
    for prompt, completion in DOCUMENTS:
        tokens = [*policy.encode(completion), policy.end_id]
        logprobs.append(logprob_by_hand(policy, policy.encode(prompt), tokens, 1.0))
    (loss,) = pretrain(policy, batches(policy), num_steps=1, learning_rate=1e-3)
    assert loss == pytest.approx(-torch.cat(logprobs).mean().item(), rel=1e-5)


def test_it_learns_and_repeats_itself():
    prints = set()
    for _ in range(2):
        policy = build_policy(TINY, seed=0)
        losses = pretrain(policy, batches(policy), num_steps=60, learning_rate=1e-2)
        prints.add(fingerprint(policy.model))
    assert losses[-1] < 0.3 * losses[0]
    assert len(prints) == 1
    assert fingerprint(build_policy(TINY, seed=1).model) != fingerprint(build_policy(TINY, seed=0).model)


def test_the_schedule_goes_up_and_then_down_to_zero():
    factors = [warm_up_then_cosine(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 3)
    assert max(factors) == 1
    assert factors[3:] == sorted(factors[3:], reverse=True)
    assert warm_up_then_cosine(100, 100) == pytest.approx(0)


class CarefulEngine:
    """Right if the careful way is forced, wrong if it may choose; greedy decoding is always unparsable."""

    def __init__(self, policy):
        self.policy = policy

    def generate(self, prompts, keys_PG, *, temperature, max_new_tokens, also_greedy, on_finished):
        completions = [self._answer(self.policy.decode(prompt), temperature) for prompt in prompts for _ in keys_PG[0]]
        rows = [[*self.policy.encode(completion), self.policy.end_id] for completion in completions]
        lengths_R = torch.tensor([len(row) for row in rows])
        tokens_RT = torch.tensor([row + [0] * (int(lengths_R.max()) - len(row)) for row in rows])
        zeros_R = torch.zeros(len(rows))
        return Generation(tokens_RT, torch.zeros(tokens_RT.shape), zeros_R, lengths_R, zeros_R == 0)

    def _answer(self, text, temperature):
        prompt, _, opening = text.partition("=")
        right = sum(parse_terms(prompt))
        if not temperature:
            return "?"
        return f";{right}" if opening == "steps:" else f";{right + 1}"


def test_acceptance_sees_what_a_policy_can_do(policy, problems):
    measured = examine(CarefulEngine(policy), problems, problems, run="t", max_new_tokens=8)
    assert list(measured) == quantities(["arithmetic"])
    assert measured.pop("best_constant") == pytest.approx(2 / 12)
    assert measured == {
        "sampled": 0, "pass_at_64": 0, "greedy": 0, "best_low_temperature": 0,
        "careful_forced": 1, "rough_forced": 0, "guess_forced": 0,
        "cut_off_rate": 0, "unparsable_rate": 0, "retention": 0,
    }  # fmt: skip


class LuckyEngine(CarefulEngine):
    """Right in its 64th try, and in no other."""

    def generate(self, prompts, keys_PG, **options):
        self.tries = iter([number == 63 for _ in prompts for number, _ in enumerate(keys_PG[0])])
        return super().generate(prompts, keys_PG, **options)

    def _answer(self, text, temperature):
        right = sum(parse_terms(text.partition("=")[0]))
        return f";{right if next(self.tries) else right + 1}"


def test_rare_right_answers_show_in_64_tries(policy, problems):
    measured = examine(LuckyEngine(policy), problems, problems, run="t", max_new_tokens=8)
    assert (measured["sampled"], measured["pass_at_64"]) == (0, 1)


def test_64_tries_can_be_left_out(policy, problems):
    measured = examine(CarefulEngine(policy), problems, problems, run="t", max_new_tokens=8, tries=False)
    assert [name for name in quantities(["arithmetic"]) if name not in measured] == ["pass_at_64"]
    assert "pass_at_64" not in set(acceptance_table(measured, {"pass_at_64": None}).quantity)


def test_a_quantity_outside_its_band_is_not_accepted():
    table = acceptance_table({"sampled": 0.4, "greedy": 0.7}, {"greedy": [0.0, 0.6]}).set_index("quantity")
    assert table.accepted.to_dict() == {"sampled": True, "greedy": False}


def test_a_band_on_nothing_is_refused():
    with pytest.raises(ValueError, match=r"acceptance\.sampld: no such quantity"):
        acceptance_table({"sampled": 0.01}, {"sampld": [0.9, 1.0]})
