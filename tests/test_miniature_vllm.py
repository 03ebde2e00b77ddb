"""A setting of the paper in miniature whose rollouts vLLM draws, on a CPU: from the model's folder to the figure."""

from importlib.util import find_spec

import pandas as pd
import pytest
from miniature import in_miniature, write_miniature
from projects import WITH_SMOLLM2, copy_project, snakemake

from oneshot.rollouts import load_rollouts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    WITH_SMOLLM2,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed here: make test-vllm installs it"),
]
RUN = "results/miniature/qwen3/math500/policy1/run0"
ARMS = ("one_shot", "grpo")
ENGINE = {"name": "vllm", "context": 1024, "num_slots": 64}


def by_vllm(paper):
    config = in_miniature(paper)
    config["cells"] = [config["cells"][0] | {"arms": list(ARMS)}]
    config["arms"]["grpo"]["tune"] = None
    return config | {"models": {"qwen3": config["models"]["qwen3"]}, "engine": ENGINE}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, benchmarks):
    folder = copy_project(tmp_path_factory.mktemp("project"))
    write_miniature(folder, benchmarks, by_vllm)
    target = ("figures/miniature/central.csv", "--configfile", "config/miniature.yaml")
    code, output = snakemake(folder, *target, cores=1)
    assert code == 0, output
    return folder


@pytest.mark.parametrize("arm", ARMS)
def test_arms_are_measured(finished, arm):
    points = pd.read_csv(finished / RUN / f"arms/{arm}/points.csv").query("asked == 'all'")
    assert {"validation", "test"} == set(points.split)
    assert points.query("split == 'test' and point == 0").accuracy.between(0.1, 0.9).all()


def test_rollouts_carry_the_engine_that_drew_them(finished):
    _, told = load_rollouts(finished / RUN / "rollouts/shard0.parquet")
    assert told["engine"] == ENGINE
