"""What an accuracy costs at least: every arm against what it spent, and the stairs that no other arm beats.

Four panels a setting, one a currency (`oneshot.figures.spending`), for the settings with the most arms. Large points
are where an arm ends, small ones where it could have been stopped, hollow ones arms that were run on fewer policies
than the rival and are not compared; what stands on the stairs is named. Dotted, the base; dashed, NEARLY of the
rival's gain. Accuracies are means over policies, sampled.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.figures import style
from oneshot.figures.spending import CURRENCIES, NEARLY, least, recorded
from oneshot.figures.tables import BASE, RIVAL, SETTING, Tables

MOST_SETTINGS = 2


def frame(tables: Tables) -> pd.DataFrame:
    rows = recorded(tables)
    arms = rows.groupby(SETTING, sort=False).arm.nunique().sort_values(ascending=False, kind="stable")
    chosen = arms[arms > arms.max() / 2].index[:MOST_SETTINGS]
    return rows[pd.MultiIndex.from_frame(rows[SETTING]).isin(chosen)].reset_index(drop=True)


def draw(data: pd.DataFrame) -> Figure:
    settings = style.settings_of(data)
    titles = [title for name, _ in settings for title in (name, "")]
    figure, axes = style.panels(titles, columns=2, height=2.1)
    for place, (_, rows) in enumerate(settings):
        panels = axes[2 * place : 2 * place + 2].flat
        for panel, (currency, name) in zip(panels, CURRENCIES.items(), strict=True):
            _panel(panel, rows, currency)
            panel.set_xlabel(name)
    for row in axes:
        row[0].set_ylabel("test accuracy, sampled")
    return figure


def _panel(panel: Axes, rows: pd.DataFrame, currency: str) -> None:
    base, rival = (rows[rows.arm == arm].value.max() for arm in (BASE, RIVAL))
    panel.axhline(base, color=style.color(BASE), linestyle=":", linewidth=0.8)
    panel.axhline(base + NEARLY * (rival - base), color=style.color(RIVAL), linestyle="--", linewidth=0.8)
    costly = rows[rows[currency] > 0].sort_values(currency)
    for arm, points in costly.groupby("arm", sort=False):
        shade = style.color(arm)
        fill = shade if points.compared.all() else "white"
        panel.plot(points[currency], points.value, ".", color=shade, markerfacecolor=fill, markersize=3)
        end = points.iloc[-1]
        panel.plot(end[currency], end.value, "o", color=shade, markerfacecolor=fill, markersize=4)
    stairs = costly[costly[least(currency)]]
    panel.step(stairs[currency], stairs.value, where="post", color="black", linewidth=0.7, zorder=1)
    panel.set_ylim(0, 1.05)
    style.log_axis(panel)
    named = stairs.drop_duplicates("arm", keep="last")
    style.label_ends(panel, {point.arm: (getattr(point, currency), point.value) for point in named.itertuples()})
