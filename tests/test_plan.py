"""A changed key re-runs exactly what it touches, and so does changed code."""

import copy
import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from oneshot.baselines import large_steps
from oneshot.workflow import digests, experiment, signatures
from oneshot.workflow.plan import Plan

ROOT = Path(__file__).parent.parent
SETTING = {"model": "main", "task": "arithmetic"}
RUN = {**SETTING, "policy": "1", "run": "0"}
JOBS = {
    "theory": ("00_theory", {}),
    "problems": ("00_problems", {"task": "arithmetic", "policy": "1"}),
    "pretrain": ("00_pretrain", {"model": "main", "policy": "1"}),
    "expectations": ("00_expectations", SETTING),
    "acceptance": ("00_acceptance", {**SETTING, "policy": "1"}),
    "base": ("01_base", RUN),
    "tries": ("01_tries", RUN),
    "sample": ("01_sample", {**RUN, "shard": "0"}),
    "gradient": ("02_gradient", {**RUN, "shard": "0"}),
    "direction": ("03_direction", {**RUN, "arm": "one_shot"}),
    "line_search": ("03_line_search", {**RUN, "arm": "one_shot"}),
    "slope": ("03_slope", RUN),
    "trajectory": ("04_trajectory", RUN),
    "turning": ("04_turning", RUN),
    "curvature": ("04_curvature", RUN),
    "failure": ("08_failure", RUN),
    "scale": ("06_scale", {**SETTING, "policy": "1"}),
    "frontier": ("07_frontier", {}),
    "baseline": ("05_baseline", {**RUN, "arm": "grpo"}),
    "tuning": ("05_tuning", {**SETTING, "arm": "grpo"}),
    "summary": ("10_summary", {}),
}
"""Rule -> its notebook and the wildcards of one of its jobs."""
DRAWS = {"acceptance", "base", "tries", "sample", "line_search", "slope"}
DRAWS |= {"baseline", "turning", "curvature", "tuning", "scale", "failure"}
TOLD = {
    "threads": set(),
    "tasks": {"problems", "pretrain"},
    "mixtures": {"pretrain"},
    "models": {"pretrain"},
    "splits.arithmetic.train": {"problems"},
    "splits.arithmetic.validation.problems": {"problems", "baseline"},
    "splits": {"problems"},
    "acceptance": {"acceptance"},
    "expectations": {"expectations"},
    "sampling": {"acceptance", "base", "tries", "sample", "baseline", "turning", "tuning", "scale"},
    "engine": DRAWS,
    "rewards": {"gradient", "direction", "baseline", "tuning", "failure"},
    "evaluation": {"base", "tries", "line_search", "slope", "baseline", "turning", "curvature", "tuning"},
    "batch.prompts": {"sample", "gradient", "direction", "baseline"},
    "batch": {"sample", "gradient", "direction", "baseline"},
    "line_search.evaluations": {"direction", "line_search", "slope", "trajectory", "curvature", "baseline", "failure"},
    "line_search": {"direction", "line_search", "slope", "trajectory", "curvature", "failure"},
    "arms.one_shot.settings": {"direction", "line_search"},
    "arms.grpo.settings": {"baseline", "tuning"},
    "arms.grpo.tune": {"tuning"},
    "arms.grpo.path": {"baseline"},
    "arms.grpo.method": {"baseline", "tuning"},
    "arms.one_shot.method": set(),
    "arms.": set(),
    "tuning": {"tuning"},
    "theory": {"theory"},
    "diagnostics": {"turning", "curvature"},
    "neighbours": {"scale"},
    "failure": {"failure"},
    "cells": set(),
    "experiment": set(JOBS) - {"problems", "frontier"},
}
"""Prefix of a key -> the rules whose jobs get other parameters when the key changes; the longest prefix counts.

The summary gets the whole config. A change of `cells` adds and removes jobs; one of `experiment` starts a new run."""


def config():
    return experiment.load("smoke", ROOT / "config")


def leaves(node, path=()):
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    else:
        yield path


def told(plan):
    return {rule: plan.parameters(*job) for rule, job in JOBS.items()}


def other(value):
    """Another value of the same kind."""
    if isinstance(value, str):
        return {"binary": "partial", "torch": "vllm", "gradient": "sign"}.get(value, f"{value}x")
    return [*value, value[-1]] if isinstance(value, list) else value * 2 + 1


def change(base, path):
    changed = copy.deepcopy(base)
    node = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = other(node[path[-1]])
    return changed


@pytest.mark.parametrize("path", list(leaves(config())), ids=".".join)
def test_a_changed_key_re_runs_exactly_what_it_touches(path):
    base = config()
    if (
        path in (("arms", "one_shot", "method"), ("arms", "grpo", "method"))
        or path[0] == "cells"
        or path[-1] == "mixture"
    ):
        pytest.skip("changes which jobs there are")
    before, after = told(Plan(base)), told(Plan(change(base, path)))
    changed = {rule for rule in JOBS if before[rule] != after[rule]}
    key = ".".join(path)
    expected = TOLD[max((start for start in TOLD if key.startswith(start)), key=len)]
    assert changed == expected | {"summary"}


def test_nothing_snakemake_records_depends_on_inputs():
    """Snakemake does not record params that take `input`, and would not notice a change of them."""
    text = (ROOT / "Snakefile").read_text()
    recorded = re.findall(r"^        (?:code|settings)=(.*),$", text, re.M)
    assert len(recorded) > 20
    assert all(re.fullmatch(r'""|"\{\}"|(code|settings)\("\w+"\)', value) for value in recorded), recorded
    assert not re.search(r"def (code|settings)\(notebook\):(?:(?!\ndef ).)*lambda wildcards, ", text, re.S)


def test_a_parameter_that_nothing_is_called_is_refused(monkeypatch):
    monkeypatch.setattr(signatures, "parameters", lambda notebook: ("policy", "shrad"))
    with pytest.raises(ValueError, match=r"01_sample\.ipynb: nothing is called 'shrad'"):
        Plan(config()).parameters("01_sample", {"policy": "1"})


def test_a_mistyped_input_is_refused():
    known = {"policy_path", "train_path", "acceptance_path"}
    signatures.check_files("01_sample", known)
    with pytest.raises(ValueError, match=r"01_sample\.ipynb: no parameter 'polcy_path': it has acceptance_path"):
        signatures.check_files("01_sample", known | {"polcy_path"})
    with pytest.raises(ValueError, match=r"01_sample\.ipynb: parameter 'train_path' is not passed"):
        signatures.check_files("01_sample", known - {"train_path"})


def modules(rule):
    notebook, wildcards = JOBS[rule]
    return digests.modules_of(notebook, tuple(Plan(config()).picked(notebook, wildcards)))


def test_a_rule_runs_the_modules_that_its_names_pick_and_no_others():
    assert "oneshot.tasks.arithmetic" in modules("sample") & modules("problems") & modules("pretrain")
    assert "oneshot.engines.torch" in modules("baseline")
    assert "oneshot.baselines.small_steps" in modules("baseline")
    for rule in JOBS:
        found = modules(rule)
        assert not {name for name in found if name.startswith("oneshot.workflow")}, rule
        strangers = {
            "tasks.programs",
            "tasks.gym",
            "tasks.published",
            "engines.vllm",
            "sandbox.zygote",
            "verifiers.boxed",
        }
        assert not {f"oneshot.{name}" for name in strangers} & found, rule
    assert not any(
        name.startswith(("oneshot.baselines", "oneshot.engines"))
        for name in modules("gradient") - {"oneshot.engines", "oneshot.engines.protocol"}
    )
    runs = set(JOBS) - {"frontier", "summary"}
    assert not any(name.startswith("oneshot.figures") for rule in runs for name in modules(rule))


def test_a_figure_runs_its_own_file_alone():
    plan = Plan(config())
    found = {name: set(plan.picked("09_figures", {"figure": name})) for name in ("central", "landscape")}
    assert found == {"central": {"oneshot.figures.central"}, "landscape": {"oneshot.figures.landscape"}}


def test_a_restyle_redraws_and_computes_nothing():
    """The look is in the digest of the figures alone."""
    styled = {rule for rule in JOBS if "oneshot.figures.names" in modules(rule)}
    assert styled <= {"summary"}
    assert "oneshot.figures.names" in digests.modules_of("09_figures", ("oneshot.figures.central",))


def test_digests_see_code_and_nothing_else(tmp_path, monkeypatch):
    """Comments, layout and docstrings are not code; a changed constant is."""
    path = tmp_path / "module.py"

    def dump(text):
        path.write_text(text)
        digests._module_dump.cache_clear()
        return digests._module_dump("module")

    monkeypatch.setattr(digests, "module_path", lambda module: path)
    before = dump('"""Why."""\nB = 1\n"""What B is."""\n')
    assert dump('"""Because."""\nB   =  1  # a remark\n') == before
    assert dump("B = 2") != before
    assert dump('TASKS = {"a": "b:C"}\nB = 1') == before
    digests._module_dump.cache_clear()


def test_the_package_s_digest_sees_what_computes_and_no_drawing(monkeypatch):
    seen, dump = [], digests._module_dump
    monkeypatch.setattr(digests, "_module_dump", lambda module: seen.append(module) or dump(module))
    before = digests.package_digest()
    assert {"oneshot.baselines.reuse", "oneshot.tasks.gym", "oneshot.engines.vllm"} <= set(seen)
    assert not any(name.startswith(("oneshot.figures", "oneshot.workflow")) for name in seen)
    monkeypatch.setattr(
        digests, "_module_dump", lambda module: dump(module) + (module == "oneshot.baselines.reuse") * "1"
    )
    assert digests.package_digest() != before


def test_a_registry_s_entry_counts_where_it_is_picked():
    one, other = (digests.job_digest("05_baseline", [f"oneshot.tasks.sorting:{name}"]) for name in ("Sorting", "Other"))
    assert one != other


def test_many_tables_are_named_in_few_words():
    paths = ["a/b/points.csv", "a/b/steps.csv", "a/slope.csv"]
    assert signatures.by_folder(paths) == {"a/b": ["points", "steps"], "a": ["slope"]}


def test_lines_for_ipython_are_no_code_and_a_broken_cell_is_named():
    assert signatures.parse("%timeit 1+1\n!ls\nx = 1", "01_sample").body[0].targets[0].id == "x"
    with pytest.raises(SyntaxError, match=r"notebooks/01_sample\.ipynb: invalid syntax: x = = 1"):
        signatures.parse("x = = 1", "01_sample")


def test_parameters_reach_a_notebook_as_they_were(tmp_path):
    values = Plan(config()).parameters(*JOBS["baseline"])
    assert yaml.safe_load(yaml.safe_dump(values, default_flow_style=True, width=2**30)) == values
    assert values["settings"]["learning_rate"] == 3e-4
    assert values["budget"] == 400 * 10 + (8 * 32 + 4 * 32 + 2 * 64) * 2


def test_settings_of_a_base_class_are_settings():
    found = signatures.settings("oneshot.baselines.large_steps")
    assert list(found) == [field.name for field in fields(large_steps.Settings)]
    assert {name for name, needed in found.items() if needed} == {
        "target_kl_nats",
        "multiples",
        "evaluations",
        "shares",
    }
