r"""How many policies near θ0 are experts, and at how many tasks? Two numbers of the scores of θ0's neighbours.

    density        δ(m) = P[v_i ≥ v_0 + m]
    specialism     D = 1 - mean correlation, over pairs of tasks, of the ranks that they give to the neighbours

D is 0 if all tasks rank the neighbours alike, 1 if they have nothing to do with each other, and at most M / (M - 1) for
M tasks. Both are Gan and Isola's (2026, 2603.12228), who report that they rise with the size of the model. D is taken
within one σ: across several, tasks agree that far neighbours are bad, which says nothing about experts.
"""

import numpy as np
import pandas as pd

AT_HOME = 0
"""The number of θ0 among its neighbours."""


def density(scores: pd.Series, home: float, margin: float) -> float:
    """δ(m): the share of neighbours that are at least `margin` better than θ0, whose score is `home`."""
    return float((scores >= home + margin - 1e-9).mean())


def specialism(scores: pd.DataFrame) -> float:
    """D of neighbours [N] on tasks [M], a column each; nan with fewer than two tasks that tell neighbours apart."""
    telling = scores.loc[:, scores.nunique() > 1]
    if telling.shape[1] < 2:
        return float("nan")
    agreement = telling.rank(pct=True).corr().to_numpy()
    return float(1 - agreement[~np.eye(len(agreement), dtype=bool)].mean())
