"""Configs, problem files and the sandbox's stream, with anything in them: refused in one line, or taken."""

import contextlib
import copy
import json
import math
import re
import time

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from projects import ROOT
from trials import seeded, times

from oneshot.files import BadFile
from oneshot.sandbox.frames import FRAME, READY
from oneshot.sandbox.reports import as_program, read_report
from oneshot.tasks.problem_sets import load_problems, save_problems
from oneshot.tasks.task import Problem
from oneshot.verifiers.values import Malformed, read_value
from oneshot.workflow import experiment, signatures
from oneshot.workflow.plan import Plan, leaves

pytestmark = pytest.mark.slow
SCHEMA = yaml.safe_load((ROOT / "config/schema.yaml").read_text())
CONFIGS = {name: experiment.load(name, ROOT / "config") for name in ("smoke", "laptop", "smollm2", "paper")}
NUMBERS = st.integers(-3, 10**7) | st.floats() | st.sampled_from([0, 1, -1, 1e-9, 1e12, math.inf, math.nan])
WORDS = st.sampled_from(["", "x", "gradient", "one_shot", "grpo", "main", "arithmetic", "torch", "all", "ü\n"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
FREELY = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def places(node, path=()):
    """The path of every key and list item."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        yield (*path, key)
        yield from places(value, (*path, key))


PLACES = {name: list(places(config)) for name, config in CONFIGS.items()}


def refusal(expected, call, *arguments):
    """What is said against the arguments; nothing if they are taken. Any other error is a failure."""
    try:
        call(*arguments)
    except expected as error:
        return str(error)
    return ""


def changed(data):
    """A config in which something is replaced, left out or added."""
    name = data.draw(st.sampled_from(list(CONFIGS)))
    config = copy.deepcopy(CONFIGS[name])
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(PLACES[name]))
        with contextlib.suppress(KeyError, IndexError, TypeError):  # the first change has taken it away
            node = config
            for key in path[:-1]:
                node = node[key]
            if data.draw(st.booleans()):
                node[path[-1]] = data.draw(ANYTHING)
            elif isinstance(node, dict) and data.draw(st.booleans()):
                node[data.draw(WORDS)] = data.draw(ANYTHING)
            else:
                del node[path[-1]]
    return config


@settings(max_examples=times(400, 5_000), **FREELY)
@given(st.data())
def test_a_config_is_refused_by_key_or_plans(data):
    config = changed(data)
    if complaint := refusal(experiment.ConfigError, experiment.check, config, SCHEMA):
        assert "\n" not in complaint
        assert re.split(r"[.\[:]", complaint)[0] in {"config", *SCHEMA["properties"], *config}
        return
    assert all(math.isfinite(value) for _, value in leaves(config) if isinstance(value, float))
    plan = Plan(config)
    for job in plan.jobs[:3]:
        run = {"model": job.model, "task": job.task, "policy": str(job.policy), "run": str(job.run)}
        for notebook in ("01_base", "02_gradient", "03_slope", "05_tuning"):
            wildcards = {**run, "arm": job.arm, "shard": "0"}
            assert set(plan.parameters(notebook, wildcards)) <= set(signatures.parameters(notebook))


@settings(max_examples=times(300, 5_000), **FREELY)
@given(st.binary(max_size=40), st.integers(0, 10**6), st.booleans())
def test_a_problem_file_is_refused_by_line_or_holds_problems(tmp_path_factory, noise, place, as_json):
    path = tmp_path_factory.mktemp("fuzzed") / "train.jsonl"
    save_problems([Problem("arithmetic", f"{n}+1=", str(n + 1)) for n in range(20)], path)
    content = path.read_bytes()
    if as_json:
        row = json.loads(content.splitlines()[0]) | {"answer": [noise.hex(), place, None][place % 3]}
        noise, place = json.dumps(row).encode() + b"\n", 0
    place %= len(content)
    path.write_bytes(content[:place] + noise + content[place + len(noise) :])
    if complaint := refusal(BadFile, load_problems, path):
        assert str(path) in complaint
        assert "\n" not in complaint
    else:
        read = load_problems(path)
        assert all(isinstance(text, str) for problem in read for text in (problem.prompt, problem.answer))


def test_whatever_a_child_sends_is_a_report():
    """Streams that are frames nearly everywhere, for seconds or for ten minutes of a core."""
    rng, end, streams = seeded(0), time.process_time() + times(5, 600), 0
    kinds = [b"V", b"E", b"M", b"I", b"L", b"O", READY, b"X", b"\0"]
    while time.process_time() < end:
        frames = bytearray()
        for index in range(rng.integers(0, 6)):
            payload = rng.bytes(rng.integers(0, 30))
            size = len(payload) if rng.random() < 0.9 else int(rng.integers(0, 2**32))
            frames += FRAME.pack(size, index if rng.random() < 0.9 else 7, kinds[rng.integers(len(kinds))]) + payload
        if len(frames) and rng.random() < 0.3:
            frames[rng.integers(len(frames))] ^= 1 << rng.integers(8)
        verdict = {"end": "exit", "code": int(rng.integers(-15, 2)), "cpu_seconds": 0.1}
        report = read_report(verdict, bytes(frames), rng.bytes(rng.integers(0, 50)), int(rng.integers(1, 5)))
        assert as_program(report, 40).end in ("exit", "protocol")
        for _, payload in report.answers:
            with contextlib.suppress(Malformed):
                read_value(payload)
        streams += 1
    assert streams > 1000
