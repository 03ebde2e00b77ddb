"""Shipped configs are possible experiments; impossible ones are refused by the key's name."""

import copy
from functools import reduce
from pathlib import Path

import pytest
import yaml

from oneshot.sandbox import SandboxUnavailable
from oneshot.workflow import catalogue, experiment
from oneshot.workflow.experiment import ConfigError
from oneshot.workflow.plan import Job, Plan

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "config"
SCHEMA = yaml.safe_load((CONFIG / "schema.yaml").read_text())
SHARED = ("protocol", "schema", "figures", "claims")
SHIPPED = [path.stem for path in sorted(CONFIG.glob("*.yaml")) if path.stem not in SHARED]


def load(name):
    return experiment.load(name, CONFIG)


def changed(keys, value, name="laptop"):
    config = copy.deepcopy(load(name))
    *path, last = keys.split(".")
    node = reduce(lambda node, key: node[int(key) if key.isdecimal() else key], path, config)
    node[int(last) if last.isdecimal() else last] = value
    return config


def test_a_setting_of_the_wrong_kind_is_refused_by_key():
    """Found by the fuzzer: nothing compares with null."""
    for value, complaint in ((None, "integer"), (2.5, "integer"), (0, "less than the minimum of 1")):
        config = changed("arms.grpo.settings.prompts_per_step", value, "smoke")
        with pytest.raises(ConfigError, match=rf"arms\.grpo\.settings\.prompts_per_step: .*{complaint}"):
            experiment.check(config, SCHEMA)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configs_are_possible(name):
    config = load(name)
    experiment.check(config, SCHEMA)
    assert config["experiment"] == name


EXPECTED = {"gain_recovered": [0.5, 1.0], "because": "Why not?"}
IMPOSSIBLE = [
    ("arms.grpo.setings", {}, r"arms\.grpo: .*'setings' was unexpected\) \(did you mean 'settings'\?\)"),
    ("colour", "red", r"config: .*'colour' was unexpected"),
    ("arms.grpo.settings.learning_rat", 1e-3, r"arms\.grpo\.settings\.learning_rat: small_steps has no such setting"),
    ("arms.grpo.settings", {"steps": 3, "prompts_per_step": 1}, r"arms\.grpo\.settings\.learning_rate: missing"),
    (
        "arms.grpo.method",
        "smal_steps",
        r"arms\.grpo\.method: 'smal_steps' is not one of line_search, beyond, cool",
    ),
    ("arms.one_shot.settings.direction", "up", r"arms\.one_shot\.settings\.direction: not one of gradient, sign"),
    ("models.main.learning_rate", "4e-3", r"models\.main\.learning_rate: .*write 4\.0e-3"),
    ("sampling.group_size", 1, r"sampling\.group_size: 1 is less than the minimum of 2"),
    ("batch.group_size", 1, r"batch\.group_size: 1 is less than the minimum of 2"),
    ("sampling.temperature", 0, r"sampling\.temperature: 0 is less than or equal"),
    (
        "splits.arithmetic.validation.buckets",
        [79, 88],
        r"validation\.buckets: \[79, 88\] overlaps splits\.arithmetic\.train",
    ),
    ("splits.arithmetic.train.buckets", [50, 70], r"train\.buckets: .* overlaps mixtures\.arithmetic\.buckets"),
    ("splits.arithmetic.test.buckets", [90, 90], r"splits\.arithmetic\.test\.buckets: \[90, 90\] holds no bucket"),
    ("splits.arithmetic.test.tasks", ["chess"], r"splits\.arithmetic\.test\.tasks: 'chess' is not one of tasks"),
    ("splits.arithmetic.train.problems", 100, r"train\.problems: 100 are fewer than the 5000 prompts"),
    ("diagnostics.rollouts", 50, r"diagnostics\.rollouts: 50 are fewer than 60"),
    ("batch.prompts", 5001, r"batch\.prompts: 5001 do not make 50 equal blocks"),
    ("batch.shards", 3, r"batch\.blocks: 50 do not make 3 equal shards"),
    ("line_search.evaluations", 5, r"line_search\.evaluations: fewer than the base and the grid"),
    (
        "arms.one_shot.settings.clusters",
        "task",
        r"arms\.one_shot\.settings\.clusters: 'task': only several_sizes has them",
    ),
    (
        "arms.one_shot.settings.direction",
        "several_sizes",
        r"arms\.one_shot\.settings\.clusters: '': not one of task, pass_rate, chance, kind",
    ),
    ("line_search.shares", [0.5, 0.25, 1.0], r"line_search\.shares: \[0\.5, 0\.25, 1\.0\] do not rise to 1\.0"),
    ("line_search.shares", [0.25, 0.5], r"line_search\.shares: \[0\.25, 0\.5\] do not rise to 1\.0"),
    ("line_search.probe_rollouts", 60_000, r"line_search\.probe_rollouts: more than the 50000"),
    ("tuning.policy", 1, r"tuning\.policy: 1 is also reported on \(cells\[0\]\.policies\)"),
    (
        "arms.grpo.tune.prompts_per_step",
        [5, 8000],
        r"arms\.grpo: prompts_per_step: 8000 are more than splits\.arithmetic\.t",
    ),
    (
        "arms.one_shot_of_20.settings.rollouts",
        25,
        r"arms\.one_shot_of_20\.settings\.rollouts: 25 are not whole groups of 10",
    ),
    (
        "cells.0.override",
        {"engine": {"proceses": 8}},
        r"cells\[0\]\.override\.engine\.proceses: the torch engine",
    ),
    ("cells.0.override", {"batch": {"promts": 9}}, r"cells\[0\]\.override\.batch: .*'promts'.*did you mean 'prompts'"),
    (
        "cells.0.override",
        {"arms": {"grpo": {"settings": {"stpes": 9}}}},
        r"cells\[0\]\.override\.arms\.grpo\.settings\.stpes: small_steps has no such setting",
    ),
    ("cells.0.models", ["huge"], r"cells\[0\]\.models: 'huge' is not one of models"),
    ("cells.0.tasks", ["chess"], r"cells\[0\]\.tasks: 'chess' is not one of splits"),
    ("cells.0.arms", ["one_shot", "gropo"], r"cells\[0\]\.arms: 'gropo' is not one of arms"),
    ("cells.0.arms", ["grpo", "grpo"], r"cells\[0\]\.arms: \['grpo', 'grpo'\] has non-unique elements"),
    ("models.main.heads", 3, r"models\.main\.hidden: 128 is not an even multiple of heads 3"),
    (
        "models.main",
        {"source": {"path": "a"}, "prompt": {"openings": {"chess": "1."}}},
        r"models\.main\.prompt\.openings: 'chess' is not one of tasks",
    ),
    ("models.main.mixture", "none", r"models\.main\.mixture: 'none' is not one of mixtures"),
    ("mixtures.arithmetic.tasks.arithmetic.ways.careful", [0.05, 0.1], r"ways: the shares add up to 0\.65, not to 1"),
    ("mixtures.arithmetic.tasks.arithmetic.ways", {"hasty": [1, 1]}, r"arithmetic\.ways: unknown way 'hasty'"),
    ("mixtures.arithmetic.tasks.algebra", {"share": 0, "ways": {}}, r"tasks\.algebra: 'algebra' is not one of tasks"),
    ("tasks.arithmetic.num_term", 4, r"tasks\.arithmetic\.num_term: no such setting: Arithmetic has num_terms"),
    ("tasks.arithmetic.largest", 100, r"tasks\.arithmetic\.largest: 100 is not between 9 and 99"),
    ("tasks.arithmetic.largest", "60", r"tasks\.arithmetic\.largest: '60' is not of type int"),
    ("tasks.chess", {}, r"tasks\.chess: unknown task 'chess'"),
    ("tasks.math500", {"revision": "main"}, r"tasks\.math500\.revision: 'main' is no commit"),
    ("tasks.math500", {}, r"tasks\.math500: needs `revision`"),
    ("acceptance.sampld", [0.9, 1.0], r"acceptance\.sampld: no such quantity on arithmetic: measured are sampled"),
    (
        "expectations.arithmetic",
        {},
        r"expectations\.arithmetic\.one_shot: missing: write down what is expected and why",
    ),
    ("expectations", {}, r"expectations\.arithmetic\.one_shot: missing: .* before the first gradient"),
    ("expectations.chess", {}, r"expectations\.chess: not one of splits \(arithmetic\)"),
    ("expectations.arithmetic.gropo", EXPECTED, r"expectations\.arithmetic\.gropo: not one of arms \(one_shot,"),
    ("expectations.arithmetic.grpo", {"gain_recovered": [1, 1]}, r"arithmetic\.grpo: 'because' is a required property"),
    ("expectations.arithmetic.grpo.gain_recovered", [1, 0], r"grpo\.gain_recovered: 1 is above 0"),
    ("expectations.arithmetic.grpo.gain", [1, 1], r"expectations\.arithmetic\.grpo: .*'gain' was unexpected"),
    (
        "engine.processes",
        2,
        r"engine\.processes: 2, but reuse \(arms\.one_batch\) uses rollouts again: that takes 1",
    ),
    ("engine", {"name": "sglang"}, r"engine\.name: 'sglang' is not one of \['torch', 'vllm'\]"),
    ("engine", {"name": "vllm", "tensor_paralel": 2}, r"engine\.tensor_paralel: the vllm engine has no such setting"),
    ("engine", {"name": "torch", "dtype": "bfloat16"}, r"engine\.dtype: the torch engine has no such setting"),
]


@pytest.mark.parametrize(("key", "value", "message"), IMPOSSIBLE)
def test_impossible_configs_are_refused_by_key(key, value, message):
    with pytest.raises(ConfigError, match=message):
        experiment.check(changed(key, value), SCHEMA)


def test_a_missing_key_is_named():
    for key in ("experiment", "sampling"):
        config = load("laptop")
        del config[key]
        with pytest.raises(ConfigError, match=f"config: '{key}' is a required property"):
            experiment.check(config, SCHEMA)


def test_cells_are_products_and_nothing_is_run_twice():
    plan = Plan(load("laptop"))
    assert plan.jobs[0] == Job("main", "arithmetic", 1, 0, "one_shot")
    assert len(plan.jobs) == len(set(plan.jobs)) == 9 * 5 + 3 * 4 + 1
    assert Job("main", "arithmetic", 1, 1, "grpo") in plan.jobs
    assert [job.policy for job in plan.policies] == [1, 2, 3, 4, 6]
    assert [(job.policy, job.arm) for job in plan.tuned] == [(0, "one_batch"), (0, "grpo")]
    doubled = changed("cells.1.runs", [0])
    assert len(Plan(doubled).jobs) == 9 * 5 + 1


def test_a_batch_may_have_larger_groups_than_other_rollouts():
    config = load("laptop")
    before = Plan(config).run_cost("main", "arithmetic")
    config["batch"] |= {"prompts": 1000, "group_size": 48}
    assert Plan(config).batch_rollouts("main", "arithmetic") == 48_000
    assert Plan(config).run_cost("main", "arithmetic") == before - 2_000


def with_a_second_model(**cell):
    """The laptop experiment with one more model, `wide`, and one more cell, about it alone."""
    config = load("laptop")
    config["models"]["wide"] = config["models"]["main"]
    config["cells"].append({"models": ["wide"], "tasks": ["arithmetic"], "policies": [1], **cell})
    return config


def test_an_override_is_about_its_settings_alone():
    override = {"batch": {"prompts": 500}, "arms": {"grpo": {"settings": {"steps": 7}}}}
    config = with_a_second_model(override=override)
    experiment.check(config, SCHEMA)
    plan = Plan(config)
    assert plan.section("batch", "main", "arithmetic")["prompts"] == 5000
    assert plan.section("batch", "wide", "arithmetic") == {**config["batch"], "prompts": 500}
    assert plan.arm("wide", "arithmetic", "grpo")["settings"]["steps"] == 7
    assert plan.run_cost("main", "arithmetic") == 50_000 + (12 * 64 + 6 * 64 + 3 * 128 + 2 * 256) * 4


def test_an_arm_may_be_tuned_at_one_setting_and_not_at_another():
    config = with_a_second_model(arms=["grpo"])
    assert [job.model for job in Plan(config).tuned if job.arm == "grpo"] == ["main", "wide"]
    config["cells"][3]["override"] = {"arms": {"grpo": {"tune": None}}}
    experiment.check(config, SCHEMA)
    assert [job.model for job in Plan(config).tuned if job.arm == "grpo"] == ["main"]


def test_the_laptop_experiment_never_shows_a_problem_twice():
    config = load("laptop")
    steps = -(-Plan(config).run_cost("main", "arithmetic") // 50)
    assert config["splits"]["arithmetic"]["train"]["problems"] >= 5 * steps


def test_a_host_without_a_sandbox_is_refused_before_anything_runs(monkeypatch):
    def unavailable(backend):
        raise SandboxUnavailable("no sandbox here")

    monkeypatch.setattr("oneshot.tasks.sandboxed.usable_confinement", unavailable)
    experiment.check_host(load("laptop"))  # has no programs to run
    with pytest.raises(ConfigError, match=r"tasks\.programs: no sandbox here \(the tasks of config/laptop\.yaml"):
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
    experiment.check_host(load("laptop"))


def test_a_host_without_a_gpu_is_told_so(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    config = {**load("laptop"), "engine": {"name": "torch", "device": "cuda"}}
    with pytest.raises(ConfigError, match=r"^engine\.device: cuda, but this host has no GPU"):
        experiment.check_host(config)


@pytest.mark.parametrize(
    ("engine", "gpus"),
    [
        ({"name": "torch"}, 0),
        ({"name": "torch", "device": "cuda"}, 1),
        ({"name": "vllm"}, 1),
        ({"name": "vllm", "tensor_parallel": 4}, 4),
    ],
)
def test_jobs_ask_for_the_gpus_of_one_engine(engine, gpus):
    assert Plan({"engine": engine, "cells": []}).num_gpus() == gpus


def test_a_setting_whose_model_is_shared_asks_for_a_gpu_a_process():
    shared = {"models": ["large"], "tasks": ["sums"], "override": {"engine": {"processes": 8}}}
    plan = Plan({"engine": {"name": "vllm"}, "cells": [shared]})
    assert (plan.num_gpus("large", "sums"), plan.num_gpus("small", "sums")) == (8, 1)


def test_a_figure_that_reads_what_nothing_writes_is_refused(tmp_path):
    path = tmp_path / "figures.yaml"
    entry = {"kind": "figure", "reads": ["colours"], "claim": "", "caption": "", "notebooks": [], "minutes": 1}
    path.write_text(yaml.safe_dump({"rainbow": entry}))
    with pytest.raises(ValueError, match=r"rainbow\.reads: no arm or run writes a table 'colours'"):
        catalogue.load(path)
    path.write_text(yaml.safe_dump({"rainbow": {**entry, "reads": ["points"], "sky": 1}}))
    with pytest.raises(ValueError, match=r"rainbow: key 'sky' is missing or unknown"):
        catalogue.load(path)


def test_every_entry_of_the_catalogue_has_its_file():
    drawn = {path.stem for path in (ROOT / "src/oneshot/figures").glob("*.py")}
    assert set(catalogue.load(CONFIG / "figures.yaml").names) <= drawn


def test_figures_are_about_what_arms_write():
    from oneshot.arms import TABLES

    assert set(catalogue.ARM_TABLES) == set(TABLES)


MODELS = {"qwen3", "r1distill7b", "olmo3"}
BENCHMARKS = {"math500", "aime24", "aime25", "mbppplus", "livecodebench_v6"}
ARMS = {"one_shot", "one_shot_probe", "one_batch", "one_batch_right", "one_batch_dpo", "grpo", "reinforce_pp", "gspo"}
ARMS |= {"rl_extra", "randopt", "cooled", "one_shot_random", "one_shot_shuffled"}


def test_the_papers_config_holds_every_model_benchmark_and_arm_of_the_proposal():
    plan = Plan(load("paper"))
    run = {(job.model, job.task, job.arm) for job in plan.jobs}
    assert {(model, task, arm) for model in MODELS for task in BENCHMARKS for arm in ARMS} <= run
    sweep = {"r1distill1b", "qwen3", "r1distill7b", "r1distill14b"}
    assert {(model, "math500", "grpo") for model in sweep} <= run
    for model, task, _ in run:
        assert plan.batch_rollouts(model, task) == 50_000
        learnt, tested = (plan.config["splits"][task][split]["tasks"] for split in ("train", "test"))
        assert not set(learnt) & set(tested)
    assert plan.section("evaluation", "qwen3", "aime25")["samples"] == 32


def test_models_of_a_hub_are_pinned():
    for name, model in load("paper")["models"].items():
        assert len(model["source"]["revision"]) == 40, name
