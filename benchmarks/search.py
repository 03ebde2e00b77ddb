"""The race between step sizes against a full comparison: how good is its choice, and what does it cost?

Every step size of the grid is tried on all validation problems, along the headline direction of every policy of an
experiment that has been run. Then problems are drawn anew with replacement, many times, and both searches choose from
the same answers: the race, and the best of a full comparison. Each also chooses by the peak of a smooth curve through
its accuracies, in place of the best of them. Regret is what the choice lacks to the best of the grid
on the real problems, in points of accuracy. One thread. Ends in one JSON line.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from oneshot.engines.torch import TorchEngine
from oneshot.measures.evaluate import Examination
from oneshot.policies.models import fingerprint, load_policy
from oneshot.sampling import Sampling
from oneshot.steps.directions import load_direction
from oneshot.steps.line_search import moved
from oneshot.steps.rounds import problems_asked
from oneshot.steps.search import race, winner
from oneshot.tasks.problem_sets import load_problems

PROTOCOL = Path(__file__).parent.parent / "config/protocol.yaml"
SAMPLES = 4
NEAR = 3.0
"""The curve goes through accuracies at step sizes up to this factor from the best."""


def right_answers(arm: Path, results: Path, multiples: list[float], longest: int) -> np.ndarray:
    """Right answers of SAMPLES: [step sizes, problems], the base first."""
    model, task, policy_folder = arm.relative_to(results).parts[:3]
    policy = load_policy(results / "policies" / model / policy_folder)
    problems = load_problems(results / "problems" / task / policy_folder / "validation.jsonl")
    direction = load_direction(arm / "direction.safetensors", fingerprint(policy.model))
    scale = pd.read_csv(arm / "scale.csv").set_index("quantity").value
    exam = Examination(problems, "benchmark", "validation", Sampling(1.0, longest, SAMPLES))
    engine, counts = TorchEngine(policy), []
    for multiple in (0.0, *multiples):
        with moved(policy.model, direction, multiple * scale["alpha_base"]):
            counts.append(exam.draw(engine).groupby("problem_id", sort=False).reward.sum().to_numpy())
    return np.array(counts)


def peak(landscape: pd.DataFrame) -> float:
    """The step size where a parabola in log α, weighted by problems asked, is highest; without one, the best."""
    best = winner(landscape)
    near = landscape[
        (landscape.multiple >= best / NEAR) & (landscape.multiple <= best * NEAR) & (landscape.multiple > 0)
    ]
    if len(near) < 4:
        return best
    places = np.log(near.multiple)
    curve = np.polyfit(places, near.accuracy, 2, w=np.sqrt(near.problems))
    return best if curve[0] >= 0 else near.multiple.iloc[np.polyval(curve, places).argmax()]


def regrets(counts: np.ndarray, multiples: list[float], shares: list[float], draws: int) -> dict[str, float]:
    """Mean regret of both searches, points, choosing by the best and by the peak of a curve."""
    rng, truly = np.random.default_rng(0), counts.mean(axis=1) / SAMPLES
    places = {multiple: place for place, multiple in enumerate((0.0, *multiples))}
    lost = {name: [] for name in ("race", "full", "race, peak", "full, peak")}
    for _ in range(draws):
        drawn = counts[:, rng.integers(0, counts.shape[1], counts.shape[1])] / SAMPLES

        def evaluate(multiple, problems, drawn=drawn):
            return {"accuracy": drawn[places[multiple], :problems].mean()}

        how = {"num_evaluations": len(places), "num_problems": counts.shape[1]}
        for name, by in (("race", shares), ("full", [1.0])):
            landscape = race(evaluate, multiples, shares=by, **how)
            for label, chosen in ((name, winner(landscape)), (f"{name}, peak", peak(landscape))):
                lost[label].append(truly.max() - truly[places[chosen]])
    return {name: 100 * float(np.mean(values)) for name, values in lost.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results/ladder"), help="of an experiment")
    parser.add_argument("--longest", type=int, default=19, help="tokens of the longest answer (default 19)")
    parser.add_argument("--draws", type=int, default=200, help="sets of problems drawn anew (default 200)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    search = yaml.safe_load(PROTOCOL.read_text())["line_search"]
    multiples, shares = search["multiples"], search["shares"]
    rows = {}
    for arm in sorted(chosen.results.glob("*/*/policy*/run0/arms/one_shot")):
        counts = right_answers(arm, chosen.results, multiples, chosen.longest)
        share = problems_asked(len(counts), counts.shape[1], shares) / counts.size
        name = "/".join(arm.relative_to(chosen.results).parts[1:3])
        rows[name] = {**regrets(counts, multiples, shares, chosen.draws), "share of the rollouts": share}
        print(name, {key: round(value, 2) for key, value in rows[name].items()}, flush=True)
    means = pd.DataFrame(rows).T.mean().round(3).to_dict()
    print(json.dumps({"measured": means, "policies": len(rows), **{k: str(v) for k, v in vars(chosen).items()}}))


if __name__ == "__main__":
    main()
