"""The paper's config end to end, in miniature: three architectures, five benchmarks, every arm, the torch engine."""

import json

import pandas as pd
import pytest
import yaml
from miniature import write_miniature
from projects import WITH_SMOLLM2, copy_project, snakemake

from oneshot.workflow import catalogue, experiment
from oneshot.workflow.plan import Plan

pytestmark = [pytest.mark.slow, WITH_SMOLLM2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, benchmarks):
    folder = copy_project(tmp_path_factory.mktemp("project"))
    write_miniature(folder, benchmarks)
    code, output = snakemake(folder, "figures", "--configfile", "config/miniature.yaml")
    assert code == 0, output
    return folder


def configs(folder):
    return (experiment.load(name, folder / "config") for name in ("paper", "miniature"))


def points(folder, model, task, arm):
    return pd.read_csv(folder / f"results/miniature/{model}/{task}/policy1/run0/arms/{arm}/points.csv")


def test_it_differs_from_the_paper_in_numbers_and_in_how_much_is_run(finished):
    """Every benchmark and arm of the paper is there; tasks, prompts and methods are the paper's own."""
    paper, miniature = configs(finished)
    assert miniature["tasks"] == paper["tasks"]
    for name, model in miniature["models"].items():
        assert {**model, "source": None} == {**paper["models"][name], "source": None}
    for name, arm in miniature["arms"].items():
        assert arm["method"] == paper["arms"][name]["method"]
    ours, theirs = Plan(miniature).jobs, Plan(paper).jobs
    assert {job.arm for job in ours} == {job.arm for job in theirs}
    assert {job.task for job in ours} == {job.task for job in theirs}


def test_every_figure_and_every_table_of_an_arm_is_there(finished):
    for name in yaml.safe_load((finished / "config/figures.yaml").read_text()):
        assert (finished / f"figures/miniature/{name}.csv").stat().st_size, name
    for job in Plan(next(reversed(list(configs(finished))))).jobs:
        found = points(finished, job.model, job.task, job.arm)
        assert found.accuracy.between(0, 1).all()
        assert set(catalogue.SPLITS) - {"train", "retention"} <= set(found.split)


def test_what_was_taught_is_drawn_and_verified(finished):
    """Of mathematics and of programs: right answers and wrong ones, by the benchmarks' own verifiers."""
    for model, task in (("qwen3", "math500"), ("r1distill7b", "aime24"), ("r1distill7b", "mbppplus")):
        base = points(finished, model, task, "one_shot").query("point == 0 and asked == 'all'").set_index("split")
        assert 0.1 < base.accuracy["test"] < 0.9, (model, task)


def test_bfloat16_is_what_the_policies_are_in(finished):
    for model in ("qwen3", "r1distill7b", "olmo3"):
        told = json.loads((finished / f"results/miniature/policies/{model}/policy1/policy.json").read_text())
        assert told["dtype"] == "bfloat16"
