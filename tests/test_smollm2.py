"""The experiment on a pretrained model at a scale of minutes: real weights, few rollouts, three arms and figures."""

import pandas as pd
import pytest
import yaml
from projects import WITH_SMOLLM2, copy_project, snakemake

from oneshot.rollouts import load_rollouts

pytestmark = [pytest.mark.slow, WITH_SMOLLM2]
RUN = "results/few/smollm2/sums/policy1/run0"
ARMS = f"{RUN}/arms"
FIGURES = [f"figures/few/{name}.csv" for name in ("central", "landscape", "entropy")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("project"))
    config = yaml.safe_load((folder / "config/smollm2.yaml").read_text())
    config |= {"experiment": "few", "acceptance": {}}
    config["cells"] = [{**config["cells"][0], "policies": [1], "arms": ["one_shot", "one_batch", "grpo"]}]
    config["tasks"]["worked_sum"]["largest_first"] = 99  # ten sums up to 37 may well have one answer in common
    config["batch"] |= {"prompts": 24, "blocks": 2}
    config["sampling"] |= {"group_size": 8, "max_new_tokens": 12}  # worked sums are mostly cut off
    config["line_search"] |= {"multiples": [1.0, 3.0], "evaluations": 4, "probe_rollouts": 64}
    config["arms"]["grpo"]["settings"] |= {"steps": 8, "checkpoints": []}
    config["arms"]["grpo"]["tune"] = {"learning_rate": [1.0e-5, 3.0e-5], "prompts_per_step": [2, 4]}
    config["arms"]["one_batch"]["tune"] = {"learning_rate": [1.0e-5, 3.0e-5]}
    config["tuning"] = {"max_extensions": 0}
    config["evaluation"] |= {"tries": 8, "tried_problems": 8}
    config["diagnostics"] = {"rollouts": 96, "stops": 1, "factors": [1.0]}
    config["failure"] |= {"sizes": [16, 96]}
    for split, count in {"train": 33, "validation": 30, "test": 30, "retention": 4}.items():
        config["splits"]["sums"][split]["problems"] = count
    (folder / "config/few.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    code, output = snakemake(folder, *FIGURES, "--configfile", "config/few.yaml")
    assert code == 0, output
    return folder


def table(folder, arm, name):
    return pd.read_csv(folder / ARMS / arm / f"{name}.csv")


def test_figures_are_there(finished):
    for name in FIGURES:
        assert (finished / name).with_suffix(".png").stat().st_size > 10_000


def test_sampler_and_trainer_agree(finished):
    gap = table(finished, "one_shot", "quantities").set_index("quantity").value.sampler_gap_max
    assert 0 < gap < 1e-4


def test_the_predicted_kl_is_the_measured_one(finished):
    """At α_base the policy has moved by about κ: real weights, and a step along the gradient of a real batch."""
    points = table(finished, "one_shot", "points").query("split == 'validation' and asked == 'all'").set_index("point")
    assert points.kl_nats[0] == pytest.approx(0, abs=1e-6)
    assert 0.05 < points.kl_nats[1] < 0.8


def test_a_split_of_several_tasks_is_reported_by_task(finished):
    """The whole is the mean of its parts, weighted by their problems."""
    points = table(finished, "grpo", "points").query("split == 'test' and point == 0").set_index("asked")
    tasks = ["addition", "chain_sum", "worked_sum"]
    assert points.index.tolist() == ["all", *tasks]
    assert points.accuracy["all"] == pytest.approx(points.accuracy[tasks].mean())
    assert set(table(finished, "grpo", "by_problem").asked) == set(tasks)


def test_answers_end_where_the_prompt_format_says(finished):
    rollouts, _ = load_rollouts(finished / RUN / "rollouts/shard0.parquet")
    assert rollouts.ended.mean() > 0.5
    assert all("\n" not in text.rstrip("\n") for text in rollouts.text)
    assert set(rollouts.status) <= {"correct", "wrong", "unparsable", "cut_off"}


def test_both_arms_cost_the_same(finished):
    ours, theirs = (table(finished, arm, "points").rollouts.max() for arm in ("one_shot", "grpo"))
    assert 0 <= theirs - ours < 4 * 8
