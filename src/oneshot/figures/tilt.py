"""Accuracy against KL to the base, on test problems: no policy can be above the line, which is the exact tilt.

The line comes from the base's pass rates alone (`oneshot.theory.tilt`), every arm from its last chosen point; whiskers
are 95 % t intervals over policies. A panel a setting, and one for each of its tasks if its test mixes several.
"""

from itertools import zip_longest

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.arms import IDENTITY, WHOLE_SPLIT
from oneshot.figures import style
from oneshot.figures.tables import SETTING, Tables, accuracies, at_last
from oneshot.theory.tilt import STRONGEST, pass_rates, smallest_kl, tilted

TILT = "tilt"
"""What stands for an arm in the rows of the line."""
COLUMNS = 2
LINE = np.linspace(0, STRONGEST, 60)
"""The tilts at which it is drawn."""
SURE_NATS = 1.0
"""Where the line becomes dotted: beyond, it hangs on problems that are hardly ever right."""
RUN = [*SETTING, "policy", "run", "asked"]
Rates = tuple[np.ndarray, np.ndarray]
"""Pass rates and their shares of the problems."""


def frame(tables: Tables) -> pd.DataFrame:
    """Every arm's KL and accuracy with the KL that the tilt needs for it, and rows of the tilt, whose point is λ."""
    points, rates = tables.of_arms("points"), base_rates(tables)
    arms = with_smallest_kl(at_last(points[points.split == "test"]), rates)
    lines = [_line(*of_run).assign(**dict(zip(RUN, key, strict=True)), arm=TILT) for key, of_run in rates.items()]
    kept = [*IDENTITY, "asked", "point", "kl_nats", "accuracy", "smallest_kl_nats"]
    return pd.concat([arms, *lines], ignore_index=True)[kept]


def with_smallest_kl(points: pd.DataFrame, rates: dict[tuple, Rates]) -> pd.DataFrame:
    """Points on test problems, with a column `smallest_kl_nats`: the KL that the tilt needs for their accuracy."""
    keys = points[RUN].itertuples(index=False, name=None)
    needed = [smallest_kl(reached, *rates[key]) for reached, key in zip(points.accuracy, keys, strict=True)]
    return points.assign(smallest_kl_nats=needed)


def base_rates(tables: Tables) -> dict[tuple, Rates]:
    """(setting, policy, run, task or all of them) -> the base's pass rates on test problems, and their shares."""
    counts = tables.of_arms("by_problem")
    counts = counts[counts.point == 0].drop_duplicates([*RUN, "problem_id"])
    mixed = counts.groupby(SETTING).asked.transform("nunique") > 1
    parts = pd.concat([counts.assign(asked=WHOLE_SPLIT), counts[mixed]])
    return {key: pass_rates(rows.correct, int(rows.samples.iloc[0])) for key, rows in parts.groupby(RUN, sort=False)}


def _line(rates: np.ndarray, shares: np.ndarray) -> pd.DataFrame:
    kl, accuracy = tilted(rates, shares, LINE)
    return pd.DataFrame({"point": LINE, "kl_nats": kl, "accuracy": accuracy, "smallest_kl_nats": kl})


def draw(data: pd.DataFrame) -> Figure:
    parts = [
        (", ".join(filter(None, (title, task if of_setting.asked.nunique() > 1 else ""))).replace("_", " "), rows)
        for title, of_setting in style.settings_of(pd.concat([style.drawn(data), data[data.arm == TILT]]))
        for task, rows in of_setting.groupby("asked", sort=False)
    ]
    columns = min(len(parts), COLUMNS)
    places = [""] * -(-len(parts) // columns)
    figure, axes = style.panels(places, columns, height=2.2)
    for panel, part in zip_longest(axes.flat, parts):
        if part is None:
            panel.set_visible(False)
            continue
        title, rows = part
        _panel(panel, rows)
        panel.set_title(title, loc="left", fontsize=8)
    for row in axes:
        row[0].set_ylabel("test accuracy, sampled")
    return figure


def _panel(panel: Axes, rows: pd.DataFrame) -> None:
    line = rows[rows.arm == TILT].groupby("point")[["kl_nats", "accuracy"]].mean()
    sure = line[line.kl_nats <= SURE_NATS]
    panel.plot(line.kl_nats, line.accuracy, ":", color=style.PREDICTED)
    panel.plot(sure.kl_nats, sure.accuracy, "-", color=style.PREDICTED)
    ends = {}
    for arm, points in rows[rows.arm != TILT].groupby("arm", sort=False):
        reached = accuracies(points, []).iloc[0]
        style.whisker(panel, points.kl_nats.mean(), reached, style.color(arm))
        ends[arm] = (points.kl_nats.mean(), reached.value)
    panel.set(xlabel="KL to base, nats per sequence", ylim=(0, 1.05))
    style.label_ends(panel, ends)
