"""One measurement of SmolLM2 against the same one taken apart, and against the machine.

Apart: sampled and greedy answers drawn one after the other, the worked examples fed with every prompt, and the KL taken
along every sample. Together (`measure`): greedy drawn with the samples, the worked examples computed once, the KL along
the first sample of each problem. Both measure the same policy, one step of AdamW away from the base, on the same
problems; their accuracies are printed and have to agree. One thread. Needs the weights (`make .venv/smollm2`) and a few
minutes. Ends in one JSON line.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from oneshot.engines import torch as torch_engine
from oneshot.engines.torch import TorchEngine
from oneshot.measures.evaluate import Examination, measure, sequence_kl
from oneshot.measures.throughput import measure_sgemm
from oneshot.policies.models import Policy
from oneshot.policies.pretrained import load_pretrained
from oneshot.sampling import GREEDY, Sampling
from oneshot.tasks import get_task
from oneshot.tasks.problem_sets import draw_in_turn
from oneshot.workflow import experiment

SAMPLES = 4
NUDGE = 1e-4
"""The move away from the base, so that the KL has to be computed; the policy answers as before."""
TARGET = 3.0


def apart(exam: Examination, engine: TorchEngine, base: Policy) -> float:
    """The sampled accuracy, measured the long way."""
    usual, torch_engine.shared_prefixes = torch_engine.shared_prefixes, lambda prompts: [()] * len(prompts)
    try:
        sampled = exam.draw(engine)
        replace(exam, sampling=replace(exam.sampling, temperature=GREEDY, group_size=1)).draw(engine)
        sequence_kl(engine.policy, base, sampled, exam.sampling.temperature)
    finally:
        torch_engine.shared_prefixes = usual
    return sampled.reward.mean()


def timed(work, *arguments) -> tuple[float, float]:
    started = time.perf_counter()
    return float(work(*arguments)), time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=96, help="of the three tasks in turn (default 96)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    config = experiment.load("smollm2", Path(__file__).parent.parent / "config")
    model, split = config["models"]["smollm2"], config["splits"]["sums"]["validation"]
    policy, base = (load_pretrained(model["source"], model["prompt"]) for _ in range(2))
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(1 + NUDGE)
    tasks = [get_task(name, **config["tasks"][name]) for name in split["tasks"]]
    problems = draw_in_turn(tasks, tuple(split["buckets"]), chosen.problems, seed=1)
    exam = Examination(problems, "benchmark", "validation", Sampling(1.0, 32, SAMPLES))
    engine = TorchEngine(policy, num_slots=config["engine"]["num_slots"])
    accuracy_apart, seconds_apart = timed(apart, exam, engine, base)
    accuracy, seconds = timed(lambda: measure(exam, engine, base).rows[0]["accuracy"])
    if abs(accuracy - accuracy_apart) > 0.01:
        raise SystemExit(f"the two ways disagree: {accuracy_apart:.3f} apart, {accuracy:.3f} together")
    print(f"apart {seconds_apart:.0f} s, together {seconds:.0f} s; accuracy {accuracy_apart:.3f} and {accuracy:.3f}")
    ratio = seconds_apart / seconds
    found = {"measure_vs_apart": ratio, "seconds": seconds, "sgemm_gflops": measure_sgemm()}
    print(json.dumps({"measured": found, "targets": {"measure_vs_apart": TARGET}, **vars(chosen)}))


if __name__ == "__main__":
    main()
