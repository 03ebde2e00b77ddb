"""How many groups of a batch say anything, under each reward function: a group without two rewards has no gradient."""

import pandas as pd

from oneshot.figures import style
from oneshot.figures.tables import SETTING, Tables, over_policies


def frame(tables: Tables) -> pd.DataFrame:
    rows = tables.other("informative", ["policy", "run", "groups", "of", "rewards", "informative"])
    return rows.assign(share=rows.informative / rows.of)


def draw(data: pd.DataFrame) -> str:
    """Markdown with a row for each setting and kind of group, and a column for each reward function."""
    names = list(dict.fromkeys(data.rewards))
    means = over_policies(data, ["groups", "rewards"], "share")
    counts = data.groupby([*SETTING, "groups"], sort=False).of.mean()
    lines = [f"| setting | groups | of |{''.join(f' {name} |' for name in names)}", "| --- " * (3 + len(names)) + "|"]
    for (experiment, model, task, groups), rows in means.groupby([*SETTING, "groups"], sort=False):
        found = rows.set_index("rewards").to_dict("index")
        told = [style.interval_text(found[name], ["value", "low", "high"], 100, 1) for name in names]
        head = (style.setting_name(model, task), groups, f"{counts[experiment, model, task, groups]:,.0f}")
        lines.append(f"| {' | '.join((*head, *told))} |")
    return "\n".join(lines) + "\n"
