"""The experiment on a pretrained model, end to end at a scale of minutes: real weights, few rollouts."""

import pandas as pd
import pytest
import yaml
from conftest import WITH_SMOLLM2, copy_project, snakemake

from oneshot.rollouts import load_rollouts

pytestmark = [pytest.mark.slow, WITH_SMOLLM2]
RUN = "results/few/smollm2/policy1/counting/run0"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("project"))
    config = yaml.safe_load((folder / "config/smollm2.yaml").read_text())
    config |= {"experiment": "few", "runs": {1: [0]}, "acceptance": {}}
    config["one_shot"] |= {"prompts": 24, "blocks": 2, "sign_share": 0.5}
    config["sampling"]["group_size"] = 8
    config["line_search"] |= {"multiples": [1.0, 3.0], "evaluations": 4, "probe_rollouts": 64}
    config["grpo"] |= {"steps": 8, "learning_rate": 1.0e-5, "checkpoints": []}
    config["tuning"] |= {"learning_rates": [1.0e-5, 3.0e-5], "max_extensions": 0}
    for split, count in {"train": 32, "validation": 12, "test": 24, "retention": 4}.items():
        config["splits"][split]["problems"] = count
    (folder / "config/few.yaml").write_text(yaml.safe_dump(config))
    code, output = snakemake(folder, "figures", "--configfile", "config/few.yaml")
    assert code == 0, output
    return folder


def test_every_figure_is_there(finished):
    for name in ("central", "landscape", "entropy"):
        assert (finished / f"figures/few/{name}.png").stat().st_size > 10_000


def test_sampler_and_trainer_agree(finished):
    search = pd.read_csv(finished / RUN / "search.csv").set_index("quantity").value
    assert 0 < search.sampler_gap_max_nats < 1e-4
    assert search.batch_rollouts == 24 * 8


def test_the_predicted_kl_is_the_measured_one(finished):
    """At α_base the policy has moved by about κ: real weights, and a step along the gradient of a real batch."""
    landscape = pd.read_csv(finished / RUN / "landscape.csv")
    base = landscape[landscape["multiple"] == 0].iloc[0]
    at_base = landscape[landscape["multiple"] == 1].iloc[0]
    assert base.kl_nats == pytest.approx(0, abs=1e-6)
    assert 0.05 < at_base.kl_nats < 0.8


def test_answers_end_where_the_prompt_format_says(finished):
    rollouts, _ = load_rollouts(finished / RUN / "rollouts/shard0.parquet")
    assert rollouts.ended.mean() > 0.5
    assert all("\n" not in text.rstrip("\n") for text in rollouts.text)
    assert set(rollouts.status) <= {"correct", "wrong", "unparsable", "cut_off"}


def test_both_arms_cost_the_same(finished):
    search = pd.read_csv(finished / RUN / "search.csv").set_index("quantity").value
    path = pd.read_csv(finished / RUN / "grpo/path.csv")
    batch = 4 * 8
    assert 0 <= path.rollouts.max() - (search.batch_rollouts + search.search_rollouts) < batch
