"""A killed job's trials: those that it finished are not run again, unless anything that they were made from changed."""

import numpy as np
import pytest

from oneshot.files import BadFile
from oneshot.workflow import kept
from oneshot.workflow.kept import Kept

OUTPUT = "results/one/tuning.csv"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "Snakefile").touch()
    (tmp_path / "policy").write_text("weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(rates, killed_at=None, samples=2):
    """A job that tries rates: (what it called its function with, what came of all)."""
    called = []

    def trial(settings):
        if settings["rate"] == killed_at:
            raise KeyboardInterrupt
        called.append(settings["rate"])
        return {"accuracy": settings["rate"] / 3, "tokens": np.int64(7), "loss": np.float32(0.1)}

    results = Kept(OUTPUT, ["policy"], samples)
    try:
        outcome = [results.of(trial)({"rate": rate}) for rate in rates]
    except KeyboardInterrupt:
        return called, None
    results.forget()
    return called, outcome


def test_what_was_finished_is_not_run_again_and_comes_out_the_same(project):
    assert run([0.1, 0.3, 0.9], killed_at=0.9) == ([0.1, 0.3], None)
    called, outcome = run([0.1, 0.3, 0.9])
    assert called == [0.9]
    assert outcome == [{"accuracy": rate / 3, "tokens": 7, "loss": np.float32(0.1)} for rate in (0.1, 0.3, 0.9)]
    assert list((project / "results/one").iterdir()) == []


@pytest.mark.parametrize("changed", ["input", "value", "code"])
def test_a_change_begins_anew(project, monkeypatch, changed):
    run([0.1, 0.3], killed_at=0.3)
    if changed == "input":
        (project / "policy").write_text("other weights")
    elif changed == "code":
        monkeypatch.setattr(kept, "package_digest", lambda: "other")
    assert run([0.1, 0.3], samples=3 if changed == "value" else 2)[0] == [0.1, 0.3]


def test_a_changed_memory_is_refused(project):
    run([0.1, 0.3], killed_at=0.3)
    memory = project / "results/one/tuning_so_far.json"
    memory.write_bytes(memory.read_bytes().replace(b'"tokens": 7', b'"tokens": 8'))
    with pytest.raises(BadFile, match=r"tuning_so_far\.json: has changed since it was written: delete it"):
        run([0.1, 0.3])
