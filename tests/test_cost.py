"""What an experiment would cost: closed forms, the counts of recorded runs, and the memory of the paper's models."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from oneshot.figures.tables import at_last
from oneshot.files import BadFile, read_csv
from oneshot.gradients.chunks import CHUNK_TOKENS
from oneshot.gradients.memory import gradient_memory, short_chunk
from oneshot.workflow import cost, experiment, measured
from oneshot.workflow.plan import Plan

ROOT = Path(__file__).parent.parent
PAPER = experiment.load("paper", ROOT / "config")
SIZE = cost.Size(parameters=1000, weight_bytes=2000.0, cache_bytes=10.0)
HOST = cost.Host(gpus=1, drawing_flops=1e6, drawing_bytes=1e4, learning_flops=2e6, cache_bytes=4000.0)
LENGTHS = cost.Lengths(prompt=20, completion=80, group=4)


def test_drawing_by_hand():
    """Memory holds 4 rollouts of 100 tokens: 6 are a wave of 4 and one of 2."""
    full, rest = (80 * ((2000 + wave * 10 * 60) / 1e4 + 2 * 1000 * wave / 1e6) for wave in (4, 2))
    prompts = 2 * 1000 * (2 * 20) / 1e6
    assert cost.drawing_seconds(6, SIZE, HOST, LENGTHS, 1) == pytest.approx(full + rest + prompts)
    assert cost.drawing_seconds(12, SIZE, HOST, LENGTHS, 2) == pytest.approx(full + rest + prompts)


def test_steps_follow_one_another_and_what_is_in_them_does_not():
    learning = 6 * 1000 * (8 * 80 + 2 * 20) / 2e6
    assert cost.learning_seconds(8, SIZE, HOST, LENGTHS, 1) == pytest.approx(learning)
    assert cost.learning_seconds(8, SIZE, HOST, LENGTHS, 4) == pytest.approx(learning / 4)
    way = cost.Way("grpo", phases=5, drawn=8, steps=5, differentiated=8, searched=(4,))
    drawing = 5 * cost.drawing_seconds(8, SIZE, HOST, LENGTHS, 1) + cost.drawing_seconds(4, SIZE, HOST, LENGTHS, 1)
    assert cost.seconds(way, SIZE, HOST, LENGTHS, 1) == pytest.approx(drawing + 5 * learning)
    assert way.rollouts == 44


@pytest.mark.parametrize(("name", "task"), [("code", "programs"), ("ladder", "contexts_64"), ("smollm2", "sums")])
def test_ways_are_counted_as_recorded_runs_have_counted_themselves(name, task):
    """Phases, steps and rollouts as the ledger has them; FLOPs from the length of a rollout that one arm tells."""
    plan = Plan(experiment.load(name, ROOT / "config"))
    with measured.reference(ROOT) as results:
        tables = measured.tables_in(results, ROOT, ("points", "acceptance"), only=task, experiments=(name,))
        parameters = int(tables.other("acceptance", ["parameters"]).parameters.max())
        found = at_last(tables.points[tables.points.split == "test"]).groupby("arm").median(numeric_only=True)
    model = next(job.model for job in plan.jobs if job.task == task)
    expected = {way.arm: way for way in cost.ways(plan, model, task)}
    first, told = expected["one_shot"], found.loc["one_shot"]
    tokens = told.flops / parameters / (2 * first.rollouts + 6 * first.drawn)
    lengths = cost.Lengths(prompt=tokens, completion=0, group=1)
    for arm in expected.keys() & set(found.index):
        way, told = expected[arm], found.loc[arm]
        assert way.phases == told.sampling_phases
        assert way.rollouts == pytest.approx(told.rollouts, abs=way.differentiated)
        assert way.steps == told.gradient_steps or arm == "one_batch"  # which may have ended where it was best
        if way.steps == told.gradient_steps:
            assert cost.flops(way, cost.Size(parameters, 0, 0), lengths) == pytest.approx(told.flops, rel=0.25)


def test_memory_and_disk_of_a_published_size():
    """4.02 billion parameters in BF16: half a GPU for the engine and its weights, and the policy and the base; on disk
    five blocks, five shards' reward gradients and a direction in FP32, or two steps of a path in FP16."""
    found = cost.table(PAPER).query("model == 'qwen3' and task == 'math500'").set_index("arm")
    assert found.gpu_gb.tolist() == pytest.approx([0.5 * 141 + 2 * 8.045] * 3, rel=1e-3)
    assert found.disk_gb.tolist() == pytest.approx([11 * 16.09, 16.09, 16.09], rel=1e-3)


def test_what_is_missing_is_named():
    with pytest.raises(BadFile, match="laptop: its config has no section `cost`"):
        cost.table(experiment.load("laptop", ROOT / "config"))
    with pytest.raises(BadFile, match=r"cost\.shapes\.qwen3: missing"):
        cost.table({**PAPER, "cost": {**PAPER["cost"], "shapes": {}}})
    size = cost.Size(14_770_033_664, 29.5e9, 1)
    with pytest.raises(BadFile, match=r"0\.2 of 1 GPUs do not hold the weights"):
        cost.host_of(PAPER["cost"]["gpus"], {"gpu_memory_utilization": 0.2}, size)


def test_the_record_is_that_of_the_config():
    recorded = read_csv(ROOT / cost.RECORD, ["model"])
    found = cost.table(PAPER)
    assert list(recorded) == list(found)
    numbers = found.select_dtypes("number").columns
    assert np.allclose(recorded[numbers], found[numbers], rtol=1e-8, equal_nan=True)


@pytest.mark.parametrize("model", PAPER["models"])
def test_a_gpu_holds_policy_and_base_and_engine(model):
    """The counts of parameters are the published ones, and what is on a GPU while it draws leaves it a twentieth."""
    published = {"qwen3": 4.02, "r1distill7b": 7.62, "olmo3": 7.30, "r1distill1b": 1.78, "r1distill14b": 14.77}
    size = cost.size_of(PAPER["cost"]["shapes"][model], "bfloat16")
    assert size.parameters / 1e9 == pytest.approx(published[model], abs=0.005)
    plan = Plan(PAPER)
    for task in {job.task for job in plan.jobs if job.model == model}:
        engine = plan.section("engine", model, task)
        held = 2 * size.weight_bytes / cost.GB + engine["gpu_memory_utilization"] * PAPER["cost"]["gpus"]["memory_gb"]
        assert held <= 0.96 * PAPER["cost"]["gpus"]["memory_gb"]


@pytest.mark.slow  # layers of full width are made
@pytest.mark.parametrize("model", PAPER["models"])
def test_and_policy_and_base_and_a_pass(model):
    """While it learns, the engine sleeps; autograd keeps the activations of one chunk, or of the longest answer."""
    config = AutoConfig.for_model(**PAPER["cost"]["shapes"][model])
    needed = gradient_memory(config, short_chunk(4, prompt=32, completion=33), dtype=torch.bfloat16)
    longest = PAPER["cost"]["prompt_tokens"] + PAPER["sampling"]["max_new_tokens"]
    kept = needed.activations * max(CHUNK_TOKENS, longest) / (32 + 4 * 32)
    held = 2 * needed.weights + needed.largest_gradient + needed.logits + kept
    assert held / cost.GB <= 0.96 * PAPER["cost"]["gpus"]["memory_gb"]
