"""The base at a lower temperature, and what an entropy and a KL are when temperatures and lengths differ."""

import copy

import numpy as np
import pytest
import torch
from small_policy import lab_of

from oneshot.baselines import cooling
from oneshot.measures.evaluate import Examination, Sitting, measure, sequence_kl
from oneshot.measures.ledger import Ledger
from oneshot.measures.recorder import Recorder
from oneshot.policies.models import Policy, fingerprint
from oneshot.sampling import Sampling, summarise_rollouts

TEMPERATURES = (0.3, 0.6, 1.0)


def test_the_best_temperature_on_validation_is_the_one_measured(policy, problems, monkeypatch):
    monkeypatch.setattr("oneshot.sampling.score", paid_for_the_likeliest_token(monkeypatch))
    lab = lab_of(policy, problems)
    before = fingerprint(policy.model)
    steps = list(cooling.run(lab, cooling.Settings(TEMPERATURES)))
    accuracy = {step.point: step.record["accuracy"] for step in steps}
    assert accuracy[0.3] > accuracy[1.0]
    assert [step.point for step in steps if step.chosen] == [max(accuracy, key=accuracy.get)]
    assert all(step.temperature == step.point and step.measured == step.chosen for step in steps)
    assert fingerprint(policy.model) == before
    spent = lab.ledger.spent()
    assert (spent["search_rounds"], spent["gradient_steps"], spent["sampling_phases"]) == (3, 0, 0)
    assert spent["rollouts"] == 3 * lab.validation.num_rollouts


def paid_for_the_likeliest_token(monkeypatch):
    from oneshot.sampling import score

    def paid(*arguments):
        table = score(*arguments)
        first = table.tokens.map(lambda tokens: int(tokens[0]))
        return table.assign(reward=(first == first.mode()[0]).astype(np.float32))

    return paid


def test_a_look_at_another_temperature_is_against_the_base_at_its_own(policy, problems, engine):
    base = Policy(copy.deepcopy(policy.model), policy.tokenizer)
    exams = {split: Examination(problems, "test", split, Sampling(0.9, 6, 2)) for split in ("test", "retention")}
    recorder = Recorder(engine, base, exams, Ledger(1))
    recorder.look(0, ("test",))
    recorder.look(1, ("test",), temperature=0.5)
    as_it_is, cooled = recorder.tables.points
    assert as_it_is["kl_nats"] == pytest.approx(0, abs=1e-9)
    sampled = exams["test"].at(0.5).draw(engine)
    first = sampled[sampled.sample_id == 0]
    assert 0 < len(first) < len(sampled)
    assert cooled["kl_nats"] == pytest.approx(sequence_kl(policy, base, first, 0.5, 0.9).mean().item())
    assert cooled["kl_nats"] > 1e-3


def test_the_kl_between_temperatures_by_hand(policy, problems, engine):
    rollouts = Examination(problems[:3], "test", "test", Sampling(0.5, 6, 2)).draw(engine)
    expected = []
    for row in rollouts.itertuples():
        prompt, total = list(row.prompt_tokens), 0.0
        for position in range(len(row.tokens)):
            logits_V = policy.model(torch.tensor([[*prompt, *row.tokens[:position]]])).logits[0, -1].double()
            log_p_V, log_q_V = (logits_V / 0.5).log_softmax(-1), (logits_V / 0.9).log_softmax(-1)
            total += (log_p_V.exp() * (log_p_V - log_q_V)).sum().item()
        expected.append(total)
    assert sequence_kl(policy, policy, rollouts, 0.5, 0.9).tolist() == pytest.approx(expected, abs=1e-5)


def test_entropy_counts_every_token_once(policy, problems, engine):
    """The mean over tokens, not over completions: a long one counts by its length."""
    rollouts = Examination(problems[:2], "test", "test", Sampling(0.9, 6, 1)).draw(engine)
    rollouts = rollouts.assign(tokens=[[1], [1, 2, 3]], entropy_nats=[1.0, 3.0])
    assert summarise_rollouts(rollouts)["entropy_nats"] == pytest.approx((1 + 3 * 3) / 4)


def test_an_examination_taken_in_parts_is_the_whole_one(problems, engine):
    exam = Examination(problems, "test", "test", Sampling(0.9, 6, 2))
    sitting = Sitting(exam)
    sitting.draw_up_to(5, engine)
    assert (len(sitting.newest), len(sitting.so_far.problems)) == (10, 5)
    drawn = sitting.draw_up_to(len(problems), engine)
    for parts, whole in zip(drawn, exam.draw_both(engine), strict=True):
        assert parts[["problem_id", "sample_id", "text"]].equals(whole[["problem_id", "sample_id", "text"]])
    assert sitting.newest.problem_id.tolist() == drawn[0].problem_id.tolist()[10:]
    assert sitting.so_far == exam


def test_what_is_drawn_already_is_not_drawn_again(policy, problems, engine):
    exam = Examination(problems, "test", "test", Sampling(0.9, 6, 2))
    drawn = exam.draw_both(engine)
    again, once = measure(exam, engine, policy), measure(exam, engine, policy, drawn=drawn)
    assert once.sampled is drawn[0]
    assert drawn[0].text.tolist() == exam.draw(engine).text.tolist()
    assert drawn[1].problem_id.tolist() == [problem.id for problem in problems]
    assert again.rows == once.rows
