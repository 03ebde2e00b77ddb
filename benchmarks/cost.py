"""The formulas of `make cost` (oneshot.workflow.cost) against measured seconds, on a core.

Three rates are taken from three measurements: moving weights, from a single rollout; computing, from a wave of 512; a
pass, from 512 rollouts. From them follow waves and passes of other sizes, and whole ways of using 512 rollouts: in one
phase and one step, or in many of either. Random weights, so that rollouts run to their longest. A formula is to be
within 25 % of what was measured. Ends in one JSON line.
"""

import argparse
import json
import platform
import time

import pandas as pd
import torch

from oneshot.engines.torch import TorchEngine
from oneshot.gradients.one_pass import accumulate_gradient
from oneshot.measures.throughput import measure_sgemm
from oneshot.policies.models import Policy, build_policy
from oneshot.sampling import Draw, Sampling, draw_rollouts
from oneshot.tasks.arithmetic import Arithmetic
from oneshot.tasks.problem_sets import draw_problems
from oneshot.workflow import cost

SIZE = {"hidden": 384, "layers": 8, "heads": 6, "feed_forward": 1152}
TASK = Arithmetic(num_terms=12, largest=9, max_term=2)
GROUP, LONGEST = 8, 32
WHOLE, WAVES, PASSES, PHASES = 512, (8, 32, 128), (32, 128), (4, 16)
TARGETS = {"off_by": 0.25}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2, help="measurements of each, best taken (default 2)")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    policy = build_policy(SIZE, seed=0)
    parameters = sum(weight.numel() for weight in policy.model.parameters())
    size = cost.Size(parameters, 4 * parameters, 2 * SIZE["layers"] * SIZE["hidden"] * 4)
    batch = draw(policy, WHOLE)
    lengths = cost.Lengths(batch.prompt_tokens.map(len).mean(), batch.tokens.map(len).mean(), GROUP)
    host = measured_host(policy, size, lengths, batch, repeats)
    rows = []
    for number in WAVES:
        worked_out = cost.drawing_seconds(number, size, host, lengths, 1)
        rows.append(("draw", number, drawn(policy, number, repeats), worked_out))
    for number in PASSES:
        worked_out = cost.learning_seconds(number, size, host, lengths, 1)
        rows.append(("pass", number, passed(policy, batch.head(number), repeats), worked_out))
    for phases in (1, *PHASES):
        way = cost.Way("", phases, WHOLE // phases, phases, WHOLE // phases, ())
        worked_out = cost.seconds(way, size, host, lengths, 1)
        rows.append((f"{phases} phases and steps", WHOLE, gone(policy, way, repeats), worked_out))
    found = pd.DataFrame(rows, columns=["what", "rollouts", "measured_s", "worked_out_s"])
    found["ratio"] = found.worked_out_s / found.measured_s
    print(found.round(3).to_string(index=False))
    off_by = float((found.ratio - 1).abs().max())
    print(f"off by {off_by:.0%} at most, target {TARGETS['off_by']:.0%}")
    about = {"torch": torch.__version__, "python": platform.python_version(), "sgemm_gflops": measure_sgemm()}
    print(json.dumps({"rows": found.to_dict("records"), "off_by": off_by, "targets": TARGETS, **about}))


def draw(policy: Policy, number: int, longest: int = LONGEST) -> pd.DataFrame:
    """Rollouts of as many problems as groups go into that number; a group may be smaller than GROUP."""
    group = min(GROUP, number)
    problems = draw_problems(TASK, (60, 80), number // group, seed=0)
    return draw_rollouts(TorchEngine(policy), problems, Draw("benchmark", "cost"), Sampling(1.0, longest, group))


def measured_host(
    policy: Policy, size: cost.Size, lengths: cost.Lengths, batch: pd.DataFrame, repeats: int
) -> cost.Host:
    """A core, by three measurements; its memory holds all rollouts at once."""
    alone, wave, one_pass = drawn(policy, 1, repeats), drawn(policy, WHOLE, repeats), passed(policy, batch, repeats)
    alone_bytes, wave_bytes = (
        lengths.completion * (size.weight_bytes + number * size.cache_bytes * (lengths.prompt + lengths.completion / 2))
        for number in (1, WHOLE)
    )
    moving = alone_bytes / alone
    computed = 2 * size.parameters * (WHOLE * lengths.completion + WHOLE / GROUP * lengths.prompt)
    learnt = 6 * size.parameters * WHOLE * (lengths.completion + lengths.prompt / GROUP)
    return cost.Host(1, computed / (wave - wave_bytes / moving), moving, learnt / one_pass, 1e15)


def drawn(policy: Policy, number: int, repeats: int) -> float:
    return best(lambda: draw(policy, number), repeats)


def passed(policy: Policy, rollouts: pd.DataFrame, repeats: int) -> float:
    weighted = rollouts.assign(weight=1.0)
    return best(lambda: accumulate_gradient(policy, weighted, temperature=1.0), repeats)


def gone(policy: Policy, way: cost.Way, repeats: int) -> float:
    def go() -> None:
        for _ in range(way.phases):
            accumulate_gradient(policy, draw(policy, way.drawn).assign(weight=1.0), temperature=1.0)

    return best(go, repeats)


def best(action, repeats: int) -> float:
    """Seconds of the fastest of some repeats."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
