"""What comes to nearly all of the rival's gain for least, by setting and currency, beside what the rival spends."""

import pandas as pd

from oneshot.figures import style
from oneshot.figures.spending import CURRENCIES, cheapest, recorded
from oneshot.figures.tables import Tables

HEADS = ["setting", "currency", "least spent", "by", "after step", "test accuracy, %", "spent by GRPO", "ratio"]


def frame(tables: Tables) -> pd.DataFrame:
    return cheapest(recorded(tables))


def draw(table: pd.DataFrame) -> str:
    """Markdown, a row for each setting and currency."""
    return "\n".join(style.markdown(HEADS, map(_cells, table.itertuples()))) + "\n"


def _cells(row: tuple) -> list[str]:
    ratio = f"{row.rival_cost / row.cost:,.{0 if row.rival_cost > 10 * row.cost else 1}f}" if row.cost else ""
    about = [style.setting_name(row.model, row.task), CURRENCIES[row.currency], f"{row.cost:,.0f}"]
    return [*about, style.label(row.arm), row.point, f"{100 * row.accuracy:.1f}", f"{row.rival_cost:,.0f}", ratio]
