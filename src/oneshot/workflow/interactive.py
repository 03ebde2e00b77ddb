"""A landscape to move about in: accuracy along α for every arm, setting and policy, as a page that needs no network."""

from pathlib import Path

import altair
import pandas as pd

from oneshot.figures import style
from oneshot.figures.landscape import frame
from oneshot.figures.tables import DECODINGS, Tables, by_decoding
from oneshot.files import write_text

KINDS = ("points", "steps", "slope")
"""What `oneshot.figures.landscape` reads."""
HEAD = """<head>
  <meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
  <title>Accuracy along α</title>
  <style>
    body { margin: 0 auto; max-width: 68rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; }
    #vis.vega-embed { flex-direction: column; } #vis .chart-wrapper { order: 2; width: 100%; }
    #vis .vega-bindings label { margin-right: .4rem; }
  </style>"""
PLACE = '<div class="vega-visualization" id="vis"></div>'
"""Where altair's page has the chart."""
TICKS = [0, 0.5, 1, 2, 4, 8, 16, 32]
HELP = "Choose a setting and a decoding; click an arm to see it alone, point to read a value, drag and scroll to move."


def landscape(tables: Tables | None, folder: Path) -> bool:
    """Write `explore.html` with the landscape in these tables. Returns whether there is one."""
    if tables is None:
        return False
    write_text(page(frame(tables)), folder / "explore.html")
    return True


def page(data: pd.DataFrame) -> str:
    """The page: choose setting, decoding and arms; hover a point for what was measured there."""
    points = by_decoding(data[data.split == "validation"])
    points = points.assign(
        setting=style.setting_names(points), arm=points.arm.map(style.label), alpha=points.point, policy=points.policy
    )[["setting", "arm", "policy", "run", "decoding", "alpha", "accuracy", "entropy_nats", "kl_nats"]]
    arms = list(dict.fromkeys(data.arm))
    scale = altair.Scale(domain=[style.label(arm) for arm in arms], range=[style.color(arm) for arm in arms])
    setting = altair.selection_point(
        fields=["setting"],
        bind=altair.binding_select(options=sorted(points.setting.unique()), name="setting "),
        value=points.setting.iloc[0],
    )
    decoding = altair.selection_point(
        fields=["decoding"],
        bind=altair.binding_radio(options=list(DECODINGS), name="decoded "),
        value=next(iter(DECODINGS)),
    )
    chosen = altair.selection_point(fields=["arm"], bind="legend")
    below = altair.Legend(title=None, orient="bottom", columns=2, labelLimit=0)
    chart = (
        altair.Chart(points.round(4))
        .mark_line(point=True)
        .encode(
            x=altair.X("alpha:Q", title="α / α_base").scale(type="symlog").axis(values=TICKS),
            y=altair.Y("accuracy:Q", title="validation accuracy").scale(domain=[0, 1]),
            color=altair.Color("arm:N", scale=scale, legend=below),
            detail=["policy:N", "run:N"],
            opacity=altair.condition(chosen, altair.value(0.9), altair.value(0.06)),
            tooltip=["arm", "policy", "run", "alpha", "accuracy", "entropy_nats", "kl_nats"],
        )
        .add_params(setting, decoding, chosen)
        .transform_filter(setting)
        .transform_filter(decoding)
        .properties(width="container", height=380)
        .interactive()
    )
    whole = chart.to_html(inline=True, embed_options={"actions": False})
    before, _, after = whole.replace("<head>", HEAD, 1).rpartition(PLACE)
    return f"{before}<p>{HELP}</p>\n{PLACE}{after}"
