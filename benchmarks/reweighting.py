"""Can the batch itself say which step size is best? Re-weighted rollouts of the base against fresh ones.

The direction is that of the odd blocks of the batch; the even ones are held out. At every step size of the grid the
accuracy on problems of the held-out part is measured twice: by fresh rollouts, and by those of the base, weighted by
their ratios, V = Σ ρ_i r_i / Σ ρ_i. The effective sample size says how many of them still count. One thread. Ends in
one JSON line: the mean error where the effective share is above some floors, and how many of the step sizes that is.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from oneshot.diagnostics.forced import forced_logprobs, of_rollouts
from oneshot.engines.torch import TorchEngine
from oneshot.gradients.block_sums import load_gradient
from oneshot.gradients.ratios import effective_sample_size
from oneshot.measures.evaluate import sequence_kl
from oneshot.policies.models import fingerprint, load_policy
from oneshot.rollouts import load_batch
from oneshot.sampling import Draw, Sampling, draw_rollouts
from oneshot.steps.line_search import base_step, measure_curvature, moved
from oneshot.tasks.problem_sets import load_problems

PROTOCOL = Path(__file__).parent.parent / "config/protocol.yaml"
FLOORS = (0.5, 0.2, 0.1, 0.05, 0.0)
"""Effective shares of the held-out rollouts."""


def compare(run: Path, results: Path, problems_held_out: int, search: dict) -> pd.DataFrame:
    """One row per step size: accuracy by fresh rollouts and by re-weighted ones, effective share, KL."""
    model, task, number = run.relative_to(results).parts[:3]
    policy = load_policy(results / "policies" / model / number)
    base = load_policy(results / "policies" / model / number)
    shards = sorted(run.glob("gradient/shard*.safetensors"))
    gradient = load_gradient(shards, fingerprint(policy.model))
    batch, origin = load_batch(sorted(run.glob("rollouts/shard*.parquet")))
    blocks = np.arange(len(batch)) // gradient.rollouts_per_block
    held_out = batch[blocks % 2 == 0]
    held_out = held_out[held_out.problem_id.isin(held_out.problem_id.unique()[:problems_held_out])]
    known = {problem.id: problem for problem in load_problems(results / "problems" / task / number / "train.jsonl")}
    asked = [known[id] for id in held_out.problem_id.unique()]
    direction, temperature = gradient.mean(gradient.block_ids[1::2]), origin["temperature"]
    probe = batch.sample(min(search["probe_rollouts"], len(batch)), random_state=0)

    def kl_at(step: float) -> float:
        with moved(policy.model, direction, step):
            return sequence_kl(base, policy, probe, temperature).mean().item()

    alpha = base_step(measure_curvature(kl_at, direction), search["target_kl_nats"])
    engine, rows, rewards = TorchEngine(policy), [], torch.tensor(held_out.reward.to_numpy())
    drawn_R = torch.tensor(held_out.logprobs.map(np.sum).to_numpy())
    for multiple in (0.0, *search["multiples"]):
        with moved(policy.model, direction, multiple * alpha):
            rules = Sampling(temperature, origin["max_new_tokens"], len(held_out) // len(asked))
            fresh = draw_rollouts(engine, asked, Draw("reweighting", "fresh", 0), rules)
            now_R = of_rollouts(forced_logprobs(policy, held_out, temperature), held_out)
            logs = (now_R - drawn_R).double()
            kl = sequence_kl(policy, base, fresh[fresh.sample_id == 0], temperature).mean().item()
        told = (logs.softmax(dim=0) * rewards).sum().item()
        share = effective_sample_size(logs)
        rows.append({"multiple": multiple, "fresh": fresh.reward.mean(), "told": told, "share": share, "kl_nats": kl})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results/ladder"), help="of an experiment")
    parser.add_argument("--problems", type=int, default=400, help="of the held-out part (default 400)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    search = yaml.safe_load(PROTOCOL.read_text())["line_search"]
    found = []
    for run in sorted(chosen.results.glob("*/*/policy*/run0")):
        if not list(run.glob("gradient/shard*.safetensors")):
            continue
        found.append(compare(run, chosen.results, chosen.problems, search).assign(run=str(run)))
        print("/".join(run.parts[-4:-1]), found[-1].round(3).to_string(index=False), sep="\n", flush=True)
    every = pd.concat(found).query("multiple > 0")
    every["error"] = (every.told - every.fresh).abs()
    best = every.loc[every.groupby("run").fresh.idxmax()]
    measured = {
        f"share above {floor:g}": {
            "error in points": round(100 * every.error[every.share > floor].mean(), 1),
            "of the step sizes": round((every.share > floor).mean(), 2),
            "of the best ones": round((best.share > floor).mean(), 2),
        }
        for floor in FLOORS
    }
    print(json.dumps({"measured": measured, "policies": len(found), "results": str(chosen.results)}))


if __name__ == "__main__":
    main()
