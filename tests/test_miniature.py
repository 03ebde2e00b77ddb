"""The paper's config end to end, in miniature: three architectures, five benchmarks, every arm, the torch engine."""

import json

import pandas as pd
import pytest
import yaml
from miniature import write_miniature
from projects import WITH_SMOLLM2, copy_project, snakemake

from oneshot.workflow import experiment
from oneshot.workflow.plan import Plan

pytestmark = [pytest.mark.slow, WITH_SMOLLM2]
SETTINGS = (("qwen3", "math500"), ("r1distill7b", "mbppplus"), ("olmo3", "aime25"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, benchmarks):
    folder = copy_project(tmp_path_factory.mktemp("project"))
    write_miniature(folder, benchmarks)
    code, output = snakemake(folder, "figures", "--configfile", "config/miniature.yaml", cores=1)  # others run beside
    assert code == 0, output
    return folder


def configs(folder):
    return (experiment.load(name, folder / "config") for name in ("paper", "miniature"))


def points(folder, model, task, arm):
    return pd.read_csv(folder / f"results/miniature/{model}/{task}/policy1/run0/arms/{arm}/points.csv")


def asked(config, parts):
    """The benchmarks that an experiment asks in these parts of its splits."""
    splits = config["splits"].values()
    return {task for split in splits for part in parts for task in split[part]["tasks"]}


def test_it_differs_from_the_paper_in_numbers_and_in_how_much_is_run(finished):
    """Every benchmark and arm of the paper is there; tasks, prompts and methods are the paper's own."""
    paper, miniature = configs(finished)
    assert miniature["tasks"] == paper["tasks"]
    for name, model in miniature["models"].items():
        assert {**model, "source": None} == {**paper["models"][name], "source": None}
    for name, arm in miniature["arms"].items():
        assert arm["method"] == paper["arms"][name]["method"]
    assert {job.arm for job in Plan(miniature).jobs} == {job.arm for job in Plan(paper).jobs}
    assert asked(miniature, ["test", "retention"]) == asked(paper, ["test", "retention"])
    assert asked(miniature, ["train"]) == asked(paper, ["train"])


def test_every_figure_and_every_table_of_an_arm_is_there(finished):
    for name in yaml.safe_load((finished / "config/figures.yaml").read_text()):
        assert (finished / f"figures/miniature/{name}.csv").stat().st_size, name
    *_, miniature = configs(finished)
    for job in Plan(miniature).jobs:
        found = points(finished, job.model, job.task, job.arm)
        assert found.accuracy.between(0, 1).all()
        assert {"validation", "test"} == set(found.split)


@pytest.mark.parametrize(("model", "task"), SETTINGS)
def test_what_was_taught_is_drawn_and_verified(finished, model, task):
    """Of mathematics and of programs: right answers and wrong ones, by the benchmarks' own verifiers."""
    base = points(finished, model, task, "one_shot").query("point == 0 and asked == 'all'").set_index("split")
    assert 0.1 < base.accuracy["test"] < 0.9


def test_bfloat16_is_what_the_policies_are_in(finished):
    for model, _ in SETTINGS:
        told = json.loads((finished / f"results/miniature/policies/{model}/policy1/policy.json").read_text())
        assert told["dtype"] == "bfloat16"
