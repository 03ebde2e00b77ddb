"""Several tries: the share of problems that are solved once in k, and that the vote of k answers solves.

A row a setting: pass@k on the left, the vote on the right, against k, for the base and the central arms; the data hold
all. Bands are 95 % t intervals over policies. An arm that is above the base at k = 1 and below it at many has become
surer, and not more able.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.arms import IDENTITY
from oneshot.figures import style
from oneshot.figures.tables import BASE, HEADLINE, RIVAL, Tables, over_policies
from oneshot.files import BadFile

DRAWN = (BASE, HEADLINE, "one_batch", RIVAL)
KINDS = {"pass_at": "solved in k tries", "majority_at": "solved by the vote of k"}


def frame(tables: Tables) -> pd.DataFrame:
    """A row for each run of an arm, kind and k. Raises BadFile if no arm has tried often."""
    columns = [*IDENTITY, "quantity", "value"]
    quantities = pd.concat([tables.of_arms("quantities")[columns], tables.other("tries", columns)[columns]])
    parts = quantities.quantity.str.extract(rf"^({'|'.join(KINDS)})_(\d+)$")
    told = quantities.assign(kind=parts[0], k=parts[1].astype(float)).dropna(subset="kind").drop(columns="quantity")
    if told.empty:
        raise BadFile("no arm has drawn many tries: set evaluation.tries, and run the arms again")
    return told.reset_index(drop=True)


def draw(data: pd.DataFrame) -> Figure:
    settings = style.settings_of(data[data.arm.isin(DRAWN)])
    figure, axes = style.panels([title for title, _ in settings], columns=len(KINDS), height=2.1)
    for (_, rows), row in zip(settings, axes, strict=True):
        for panel, (kind, name) in zip(row, KINDS.items(), strict=True):
            _panel(panel, rows[rows.kind == kind])
            panel.set(xlabel="k", ylabel=name, ylim=(0, 1.05))
    return figure


def _panel(panel: Axes, rows: pd.DataFrame) -> None:
    ends = {}
    for arm, of_arm in rows.groupby("arm", sort=False):
        mean = over_policies(of_arm, ["k"], "value").sort_values("k")
        panel.plot(mean.k, mean.value, "o-", markersize=3, color=style.color(arm))
        style.band(panel, mean.k, mean.low, mean.high, style.color(arm))
        ends[arm] = (mean.k.iloc[-1], mean.value.iloc[-1])
    panel.set_xscale("log", base=2)
    style.label_ends(panel, ends)
