"""Two runs in one checkout: of two experiments side by side; of one, the second is told who is at work."""

import pytest
import yaml
from projects import run_tiny, snakemake
from trials import kill, start, wait_for

pytestmark = pytest.mark.slow
SLOW, QUICK = "results/tiny/policies/main/policy7/model.safetensors", "results/{}/main/arithmetic/expectations.csv"


@pytest.fixture
def at_work(finished):
    """A run of the tiny experiment that has just begun to pretrain another policy."""
    run = start(finished, SLOW)
    assert wait_for(lambda: (finished / "results/tiny/.run").exists(), 60)
    yield run
    kill(run.pid)
    run.wait()


def test_the_second_run_of_an_experiment_is_told(finished, at_work):
    (finished / QUICK.format("tiny")).unlink(missing_ok=True)
    code, output = run_tiny(finished, QUICK.format("tiny"))
    assert code != 0
    assert f"results/tiny: another run is at work here (process {at_work.pid}, since " in output
    assert "wait for its end, or stop it" in output
    assert not (finished / QUICK.format("tiny")).exists()
    assert at_work.poll() is None


def test_two_experiments_run_side_by_side(finished, at_work):
    config = yaml.safe_load((finished / "config/tiny.yaml").read_text()) | {"experiment": "other"}
    (finished / "config/other.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    code, output = snakemake(finished, QUICK.format("other"), "--configfile", "config/other.yaml")
    assert code == 0, output
    assert at_work.poll() is None
