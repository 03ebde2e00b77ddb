"""What notebooks open and write in one call."""

import copy

import pandas as pd
import pytest
import torch

from oneshot.arms import TABLES, write_tables
from oneshot.engines.torch import TorchEngine
from oneshot.files import MissingInput, write_csv
from oneshot.measures.bench import open_base, open_batch, open_examinations, open_policies, seconds_in
from oneshot.measures.evaluate import examinations
from oneshot.measures.ledger import Ledger
from oneshot.measures.recorder import Recorder
from oneshot.measures.throughput import utilisation
from oneshot.policies.models import Policy, fingerprint, save_policy
from oneshot.rollouts import save_rollouts
from oneshot.sampling import Sampling
from oneshot.tasks.problem_sets import save_problems

TWICE = {"samples": 2, "retention_samples": 3}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "Snakefile").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_policy_can_move_and_the_base_stays(policy, project):
    save_policy(policy, project / "policy", {})
    moving, base = open_policies("policy/model.safetensors", {"name": "torch"})
    with torch.no_grad():
        next(moving.model.parameters()).add_(1)
    assert fingerprint(base.model) == fingerprint(policy.model) != fingerprint(moving.model)


def test_what_is_missing_names_its_notebook():
    for call, notebook in (
        (lambda: open_policies("policy/model.safetensors", {"name": "torch"}), "00_pretrain"),
        (lambda: open_base(["points.csv", "by_problem.csv"]), "01_base"),
        (lambda: open_batch(["rollouts.parquet"]), "01_sample"),
        (lambda: open_examinations({"test": "test.jsonl"}, "run", Sampling(1.0, 6), TWICE), "00_problems"),
        (lambda: seconds_in(["timings.csv"], "02_gradient"), "02_gradient"),
    ):
        with pytest.raises(MissingInput, match=notebook):
            call()


def test_shards_make_one_batch_and_no_shards_make_none(rollouts, project):
    for shard in (0, 1):
        save_rollouts(rollouts[24 * shard : 24 * (shard + 1)], project / f"shard{shard}.parquet", {"shard": str(shard)})
    batch, origin, share = open_batch(["shard0.parquet", "shard1.parquet"])
    assert len(batch) == len(rollouts)
    assert batch.problem_id.tolist() == rollouts.problem_id.tolist()
    assert origin == {"shard": "0"}
    assert share == 1
    part, _, share = open_batch(["shard0.parquet", "shard1.parquet"], rollouts=12)
    assert (part.text.tolist(), share) == (batch.text.tolist()[:12], 0.25)
    assert open_batch([]) == (None, {}, 0)
    pairs, _, share = open_batch(["shard0.parquet", "shard1.parquet"], rollouts=8, group_size=2)
    assert pairs.groupby("problem_id").sample_id.agg(list).tolist() == [[0, 1]] * 4
    assert pairs.problem_id.tolist() == batch.problem_id.drop_duplicates().repeat(2).tolist()[:8]


def test_every_split_is_asked_as_often_as_is_said(policy, problems, project):
    paths = {split: f"{split}.jsonl" for split in ("validation", "retention")}
    for path in paths.values():
        save_problems(problems, project / path)
    exams = open_examinations(paths, "run", Sampling(0.9, 6, group_size=4), TWICE)
    assert {split: exam.num_rollouts for split, exam in exams.items()} == {"validation": 24, "retention": 36}
    twin = TorchEngine(Policy(copy.deepcopy(policy.model), policy.tokenizer), num_slots=5)
    drawn, again = (exams["validation"].draw(engine) for engine in (TorchEngine(policy), twin))
    assert drawn.text.tolist() == again.text.tolist()


def test_an_examination_may_have_a_temperature_of_its_own(project, problems):
    """The batch is drawn hot, and accuracy is told at 1."""
    save_problems(problems, project / "test.jsonl")
    exams = open_examinations({"test": "test.jsonl"}, "run", Sampling(1.5, 6), {**TWICE, "temperature": 1.0})
    assert (exams["test"].sampling.temperature, exams["test"].sampling.max_new_tokens) == (1.0, 6)


def test_an_arm_starts_from_the_base_as_if_it_had_measured_it(policy, engine, problems, project):
    sets = {"validation": problems[:5], "test": problems[5:], "retention": problems[:2]}
    identity = {"experiment": "toy", "model": "m", "task": "t", "policy": 1, "run": 0}
    exams = examinations(sets, "run", Sampling(0.9, 6), **TWICE)
    measuring, starting = (Recorder(engine, policy, exams, Ledger(1)) for _ in range(2))
    measuring.look(0)
    of_base = {name: measuring.tables.frame(name) for name in ("points", "by_problem")}
    write_tables(of_base, identity, {"points": "base/points.csv", "by_problem": "base/by_problem.csv"})
    starting.start(*open_base(["base/points.csv", "base/by_problem.csv"]))
    for recorder, folder in ((measuring, "one"), (starting, "other")):
        recorder.tables.write({**identity, "arm": "a"}, {table: f"{folder}/{table}.csv" for table in TABLES})
    for table in TABLES:
        assert (project / f"one/{table}.csv").read_text() == (project / f"other/{table}.csv").read_text()


def test_rollouts_drawn_already_are_measured_and_a_point_is_recorded_once(policy, engine, problems):
    exams = examinations({"validation": problems[:5], "test": problems[5:]}, "run", Sampling(0.9, 6), **TWICE)
    recorder = Recorder(engine, policy, exams, Ledger(1))
    recorder.look(3, ("validation",), drawn=exams["validation"].draw_both(engine))
    early = recorder.tables.frame("points")
    recorder.look(3, ("validation",), chosen=True)
    found = recorder.tables.frame("points")
    assert found.drop(columns="chosen").equals(early.drop(columns="chosen"))
    assert (early.chosen.tolist(), found.chosen.tolist()) == ([False], [True])
    assert len(recorder.tables.timings) == 1


def test_a_point_keeps_what_was_measured_on_other_splits(policy, engine, problems):
    """The landscape has α* on validation problems before it is measured on test problems."""
    exams = examinations({"validation": problems[:5], "test": problems[5:]}, "run", Sampling(0.9, 6), **TWICE)
    recorder = Recorder(engine, policy, exams, Ledger(1))
    recorder.look(2, ("validation",))
    recorder.look(2, ("test",), chosen=True)
    found = recorder.tables.frame("points")
    assert list(zip(found.split, found.chosen, strict=True)) == [("validation", False), ("test", True)]


def test_an_arm_that_ends_at_the_base_has_it_twice(policy, engine, problems):
    """At its start, and as what it chose."""
    recorder = Recorder(engine, policy, examinations({"test": problems}, "run", Sampling(0.9, 6), **TWICE), Ledger(1))
    recorder.look(0, ("test",))
    recorder.look(0, ("test",), chosen=True)
    assert recorder.tables.frame("points").chosen.tolist() == [False, True]


def test_many_tries_are_counted_and_voted_on(policy, engine, problems):
    exams = examinations({"test": problems}, "run", Sampling(0.9, 6), **TWICE, tries=8, tried_problems=5)
    assert exams["tries"].num_rollouts == 5 * 8
    recorder = Recorder(engine, policy, exams, Ledger(1))
    recorder.try_often()
    found = recorder.tables.frame("quantities").set_index("quantity").value
    assert list(found.index) == [f"pass_at_{k}" for k in (1, 2, 4)] + [f"majority_at_{k}" for k in (1, 2, 4, 8)]
    drawn = exams["tries"].draw(engine)
    assert found["pass_at_1"] == pytest.approx(drawn.reward.mean())
    assert found["majority_at_1"] == drawn[drawn.sample_id == 0].reward.mean()
    assert recorder.ledger.rollouts == 0


def test_seconds_of_several_stages_add_up(project):
    for name, seconds in {"sample": [1.0, 2.0], "gradient": [4.0]}.items():
        write_csv(pd.DataFrame({"seconds": seconds}), project / f"{name}.csv")
    assert seconds_in(["sample.csv", "gradient.csv"], "02_gradient") == 7


def test_tables_say_whose_they_are(project):
    identity, out = {"experiment": "toy", "run": 1}, {"scale": "a/scale.csv", "timings": "b/timings.csv"}
    write_tables({"scale": pd.DataFrame({"value": [1.5, 2.5]}), "timings": [{"seconds": 3.0}]}, identity, out)
    assert (project / "a/scale.csv").read_text() == "experiment,run,value\ntoy,1,1.5\ntoy,1,2.5\n"
    assert (project / "b/timings.csv").read_text() == "experiment,run,seconds\ntoy,1,3\n"


def test_utilisation_is_work_by_time(policy, rollouts):
    slow, fast = (utilisation(policy, rollouts, seconds) for seconds in (2.0, 1.0))
    assert list(slow) == ["tokens", "seconds", "gflops", "sgemm_gflops"]
    assert fast["gflops"] == pytest.approx(2 * slow["gflops"])
    assert fast["tokens"] == slow["tokens"] > 0
