"""Does it work better in larger models? What arms reach, what the step is like, and how many experts are near.

A block of six panels for each task that is asked of several sizes of model (the first task, if none is), each against
the number of weights. Above: test accuracy; shares of GRPO's gain, with the slope of one-shot's; α*. Below: the noise
scale of the gradient; the density of neighbours that are 5 points better at the task, one line a σ; and how far tasks
disagree on which neighbours are good. Whiskers are 95 % intervals over policies: Fieller's for shares, otherwise t.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from oneshot.diagnostics.experts import AT_HOME, density, specialism
from oneshot.figures import style
from oneshot.figures.tables import (
    BASE,
    HEADLINE,
    RIVAL,
    SETTING,
    Tables,
    at_last,
    gain_recovered,
    over_policies,
    with_base,
)
from oneshot.statistics import slope_interval

ARMS = (BASE, HEADLINE, "one_batch", RIVAL)
COMPARED = (HEADLINE, "one_batch")
MARGIN = 0.05
NOISE = "noise_scale"
POLICY = [*SETTING, "policy"]
SHADES = "Purples_d"
"""The palette of σ, the smallest first."""


def frame(tables: Tables) -> pd.DataFrame:
    """Rows POLICY, parameters, quantity, of (an arm, or a σ), value."""
    points = at_last(with_base(tables.points[tables.points.split == "test"]))
    points = points[points.arm.isin(ARMS)]
    noise = tables.of_arms("quantities").query("arm == @HEADLINE and quantity == @NOISE")
    parts = [
        points.assign(quantity="accuracy", of=points.arm, value=points.accuracy),
        points[points.arm == HEADLINE].assign(quantity="alpha", of=HEADLINE, value=lambda rows: rows.point),
        noise.assign(of=HEADLINE),
        _neighbours(tables),
    ]
    rows = pd.concat(parts, ignore_index=True)[[*POLICY, "quantity", "of", "value"]]
    sizes = tables.other("acceptance", ["policy", "parameters"])
    sizes = sizes[[*SETTING, "policy", "parameters"]].drop_duplicates()
    return rows.merge(sizes, on=[*SETTING, "policy"])


def _neighbours(tables: Tables) -> pd.DataFrame:
    scores = tables.other("neighbours", ["policy", "sigma", "neighbour", "asked", "trained", "accuracy"])
    rows = []
    for key, of_run in scores.groupby([*POLICY, "sigma"], sort=False):
        head = dict(zip([*POLICY, "of"], key, strict=True))
        by_task = of_run.pivot(index="neighbour", columns="asked", values="accuracy")
        trained = by_task[of_run[of_run.trained].asked.unique()].mean(axis=1)
        away = by_task.drop(index=AT_HOME)
        dense = density(trained[away.index], trained[AT_HOME], MARGIN)
        rows.append({**head, "quantity": "density", "value": dense})
        rows.append({**head, "quantity": "specialism", "value": specialism(away)})
    return pd.DataFrame(rows)


def draw(data: pd.DataFrame) -> Figure:
    tasks = list(_swept(data))
    figure, axes = style.panels([name for name, _ in tasks for _ in range(2)], columns=3, height=1.9)
    for place, (_, rows) in enumerate(tasks):
        accuracy, share, alpha, noise, dense, apart = axes[2 * place : 2 * place + 2].flat
        axes[2 * place + 1][0].set_title("", loc="left")
        of = {quantity: part for quantity, part in rows.groupby("quantity")}
        accuracy.set(ylabel="test accuracy, sampled", ylim=(0, 1.02))
        _lines(accuracy, of["accuracy"], {arm: style.color(arm) for arm in ARMS})
        _shares(share, of["accuracy"])
        _lines(alpha, of["alpha"], {HEADLINE: style.color(HEADLINE)}, labelled=False)
        alpha.set_ylabel("α*, multiples of α_base")
        _lines(noise, of[NOISE], {HEADLINE: style.color(HEADLINE)}, labelled=False)
        noise.set(ylabel="noise scale, rollouts", yscale="log")
        for plain in (noise.yaxis.set_major_formatter, noise.yaxis.set_minor_formatter):
            plain(FuncFormatter(lambda rollouts, _: f"{rollouts:,g}"))
        for panel, quantity in ((dense, "density"), (apart, "specialism")):
            sigmas = sorted(of[quantity].of.unique())
            _lines(panel, of[quantity], dict(zip(sigmas, sns.color_palette(SHADES, len(sigmas)), strict=True)))
        dense.set_ylabel(f"share {100 * MARGIN:.0f} points better")
        apart.set_ylabel("specialism D")
        for panel in axes[2 * place + 1]:
            panel.set_xlabel("weights, millions")
    return figure


def _swept(data: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(title, rows) of the tasks that are asked of the most models."""
    models = data.groupby(["experiment", "task"], sort=False).model.nunique()
    chosen = models[models == models.max()].index
    for experiment, task in chosen if models.max() > 1 else chosen[:1]:
        yield task.replace("_", " "), data[(data.experiment == experiment) & (data.task == task)]


def _lines(panel: Axes, rows: pd.DataFrame, shades: dict, labelled: bool = True) -> None:
    ends, colors = {}, {}
    for of, shade in shades.items():
        found = rows[rows.of == of].dropna(subset="value")
        if found.empty:
            continue
        means = over_policies(found, ["parameters"], "value").sort_values("parameters")
        _line(panel, means, shade)
        name = of if isinstance(of, str) else f"σ {of:g}"
        ends[name], colors[name] = (means.parameters.iloc[-1], means.value.iloc[-1]), shade
    _against_weights(panel)
    if labelled:
        style.label_ends(panel, ends, colors)


def _shares(panel: Axes, accuracy: pd.DataFrame) -> None:
    ends = {}
    for arm in (arm for arm in COMPARED if {arm, RIVAL, BASE} <= set(accuracy.of)):
        rows, singles = [], []
        for parameters, of_size in accuracy.groupby("parameters"):
            by_policy = of_size.groupby(["of", "policy"]).value.mean().unstack("of").reindex(columns=ARMS)
            value, low, high = gain_recovered(by_policy[arm], by_policy[RIVAL], by_policy[BASE])
            rows.append({"parameters": parameters, "value": value, "low": low, "high": high})
            single = (by_policy[arm] - by_policy[BASE]) / (by_policy[RIVAL] - by_policy[BASE])
            singles += [(parameters, one) for one in single.dropna()]
        means = pd.DataFrame(rows).dropna(subset="value")
        if means.empty:
            continue
        _line(panel, means, style.color(arm))
        ends[arm] = (means.parameters.iloc[-1], means.value.iloc[-1])
        if arm == HEADLINE and accuracy.parameters.nunique() > 2:
            slope, low, high = slope_interval(np.log10([size for size, _ in singles]), [one for _, one in singles])
            told = f"{slope:+.2f} [{low:+.2f}, {high:+.2f}]\nper tenfold size"
            panel.text(0.03, 0.03, told, transform=panel.transAxes, fontsize=7, color=style.color(arm))
    _against_weights(panel)
    panel.set(ylabel="share of GRPO's gain", ylim=(0, 1.25))
    if ends:
        style.label_ends(panel, ends)


def _against_weights(panel: Axes) -> None:
    style.log_axis(panel)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda weights, _: f"{weights / 1e6:g}"))


def _line(panel: Axes, means: pd.DataFrame, shade: object) -> None:
    panel.plot(means.parameters, means.value, "-", color=shade)
    for _, reached in means.iterrows():
        style.whisker(panel, reached.parameters, reached, shade)
