r"""Do right and wrong answers pull apart? The gradient as the sum of what each of them adds.

    raw        g⁺ = (1/N) Σ_right ∇ log π      g⁻ = (1/N) Σ_wrong ∇ log π
    advantage  g⁺ = (1/N) Σ_right A ∇ log π    g⁻ = (1/N) Σ_wrong A ∇ log π      A < 0 for wrong ones: they add up to g

An identity decides most of what is found. Scores have no mean, E[∇ log π] = 0, so that in every group what the right
answers pull towards the wrong ones push away from: raw, g⁺ + g⁻ is noise, and the two are opposite as far as that noise
is small. With advantages both point the same way for the same reason. What is not identity is how noisy each is: which
of the two, alone, would have told as much.
"""

import pandas as pd

from oneshot.diagnostics.angles import ALL, by_kind
from oneshot.gradients.block_sums import Gradient
from oneshot.gradients.one_pass import Blocks, accumulate_gradient
from oneshot.gradients.weights import weigh
from oneshot.policies.models import Policy
from oneshot.vectors import norm

VERSIONS = ("raw", "advantage")


def decompose(policy: Policy, rollouts: pd.DataFrame, temperature: float, blocks: int = 2) -> pd.DataFrame:
    """A row for each version and kind of parameter: cosine of g⁺ and g⁻, chance, norms, and how well halves agree.

    Only groups with both right and wrong answers count, as in the gradient.
    """
    weighted, rows = weigh(rollouts), []
    mixed = weighted.weight != 0
    for version in VERSIONS:
        weights = weighted.weight if version == "advantage" else mixed.astype(float)
        right, wrong = (
            accumulate_gradient(
                policy,
                rollouts.assign(weight=weights.where(rollouts.reward == reward, 0.0)),
                temperature=temperature,
                blocks=Blocks.finest(rollouts, blocks),
            )
            for reward in (1, 0)
        )
        halves = {"right_halves": _halves(right), "wrong_halves": _halves(wrong)}
        for kind, found, chance in by_kind(right.mean(), wrong.mean()):
            row = {"version": version, "kind": kind, "cosine": found, "chance": chance}
            of_all = {"right_norm": norm(right.mean()), "wrong_norm": norm(wrong.mean()), **halves}
            rows.append({**row, **(of_all if kind == ALL else {})})
    return pd.DataFrame(rows)


def _halves(gradient: Gradient) -> float:
    ids = gradient.block_ids
    return gradient.subset_cosine(ids[::2], ids[1::2])
