"""An arm that was killed goes on where it was: steps, weights, path and tables are those of one that was not."""

from types import SimpleNamespace

import pytest
import torch
from small_policy import lab_of
from test_grpo import pay_for_an_even_first_token

from oneshot.baselines import few_phases, small_steps
from oneshot.measures.recorder import Recorder
from oneshot.measures.trajectory import Trajectory
from oneshot.policies.models import fingerprint
from oneshot.workflow import so_far
from oneshot.workflow.so_far import SoFar

STEPS = {"learning_rate": 1e-3, "prompts_per_step": 2, "steps": 6, "checkpoints": (2,)}
PHASES = {"learning_rate": 1e-3, "phases": 6, "prompts_per_phase": 2, "groups_per_step": 1, "passes": 2}
ARMS = {
    "AdamW": (small_steps, STEPS),
    "a falling rate": (small_steps, {**STEPS, "decay": True}),
    "SGD": (small_steps, {**STEPS, "optimizer": "sgd"}),
    "phases": (few_phases, {**PHASES, "decay": True}),
}
KILLED_AFTER = 4


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "Snakefile").touch()
    monkeypatch.chdir(tmp_path)
    pay_for_an_even_first_token(monkeypatch)
    monkeypatch.setattr(so_far, "EVERY_S", 0.0)
    monkeypatch.setattr(so_far, "LARGEST_SHARE", 1e9)


class Arm:
    """What notebook 05 holds while an arm runs."""

    def __init__(self, policy, problems, start, method, settings, origin="as before"):
        policy.model.load_state_dict(start)
        self.lab, self.method, self.settings = lab_of(policy, problems, max_gap_nats=1e-3), method, settings
        exams = {"validation": self.lab.validation, "test": self.lab.validation}
        self.recorder = Recorder(self.lab.engine, self.lab.base, exams, self.lab.ledger)
        self.trajectory = Trajectory(self.lab.base.model, [1, 3, 6])
        self.so_far = SoFar("points.csv", method, self.lab, self.recorder, self.trajectory, origin)

    def run(self, until=6):
        taken = self.so_far.take_up()
        for step in self.method.run(self.lab, self.method.Settings(**self.settings)):
            self.recorder.tables.steps.append({"point": step.point, **step.record})
            self.trajectory.add(step.point, self.lab.policy.model)
            if step.measured:
                self.recorder.look(step.point, chosen=step.chosen)
            self.so_far.keep(step.point)
            if step.point == until:
                break
        return taken

    def outcome(self):
        tables = self.recorder.tables
        csv = [tables.frame(name).to_csv(float_format="%.9g") for name in ("points", "by_problem", "steps")]
        return csv, fingerprint(self.lab.policy.model), self.lab.ledger.spent(), self.trajectory.kept


@pytest.fixture
def arm(policy, problems):
    start = {name: value.clone() for name, value in policy.model.state_dict().items()}
    return lambda *made_from, **options: Arm(policy, problems, start, *made_from, **options)


@pytest.mark.parametrize("name", ARMS)
def test_what_is_taken_up_ends_the_same_to_the_bit(arm, name):
    whole = arm(*ARMS[name])
    assert whole.run() == 0
    *expected, path = whole.outcome()
    whole.so_far.forget()
    arm(*ARMS[name]).run(until=KILLED_AFTER)
    resumed = arm(*ARMS[name])
    assert resumed.run() == KILLED_AFTER
    *found, its_path = resumed.outcome()
    assert found == expected
    assert its_path.keys() == path.keys()
    assert all(torch.equal(its_path[key], path[key]) for key in path)


def test_nothing_is_left_when_the_tables_are_written(arm, tmp_path):
    done = arm(*ARMS["AdamW"])
    done.run()
    assert (tmp_path / "so_far.safetensors").exists()
    done.so_far.forget()
    assert [path.name for path in tmp_path.iterdir()] == ["Snakefile"]


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("what", ["origin", "damage", "method"])
def test_an_arm_begins_anew(arm, tmp_path, what):
    """From other files, parameters or code; if the file is damaged; if the method carries more than is kept."""
    arm(*ARMS["AdamW"]).run(until=KILLED_AFTER)
    if what == "damage":
        damage(tmp_path / "so_far.safetensors")
    method = SimpleNamespace(run=small_steps.run, Settings=small_steps.Settings) if what == "method" else small_steps
    again = arm(method, STEPS, origin="another" if what == "origin" else "as before")
    assert again.run() == 0
    assert [row["point"] for row in again.recorder.tables.steps] == [1, 2, 3, 4, 5, 6]


def test_keeping_takes_little_of_the_time(arm, monkeypatch):
    monkeypatch.setattr(so_far, "EVERY_S", 1e9)
    long = arm(*ARMS["AdamW"])
    long.run()
    assert not long.so_far.path.exists()
