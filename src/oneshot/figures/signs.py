"""What right answers and wrong ones each add to the gradient, by kind of parameter; means over policies.

Raw, both sums cancel but for noise, as scores have no mean; with advantages they agree, for the same reason.
What is no identity is how well each agrees with itself.
"""

import pandas as pd

from oneshot.figures import style
from oneshot.figures.tables import SETTING, Tables, over_policies

KINDS = ("all", "embeddings", "attention", "rest")
VERSIONS = {"raw": "raw", "advantage": "with advantages"}
HEADS = ("setting", "", *(f"cosine, {kind}" for kind in KINDS), "norm right / wrong", "halves agree, right / wrong")
ONLY_ALL = ["right_norm", "wrong_norm", "right_halves", "wrong_halves"]


def frame(tables: Tables) -> pd.DataFrame:
    """One row for each setting, version and kind: the cosine with its interval over policies, and means of the rest."""
    found = tables.other("signs", ["policy", "version", "kind", "cosine", "chance", *ONLY_ALL])
    rows = over_policies(found, ["version", "kind"], "cosine").rename(columns={"value": "cosine"})
    means = found.groupby([*SETTING, "version", "kind"], sort=False)[["chance", *ONLY_ALL]].mean().reset_index()
    return rows.merge(means, on=[*SETTING, "version", "kind"])


def draw(table: pd.DataFrame) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(HEADS) + " |", "| --- " * len(HEADS) + "|"]
    for (_, model, task, version), rows in table.groupby([*SETTING, "version"], sort=False):
        by_kind = rows.set_index("kind")
        cosines = [
            style.interval_text(by_kind.loc[kind], ("cosine", "low", "high"), 1, 3) if kind in by_kind.index else ""
            for kind in KINDS
        ]
        of_all = by_kind.loc["all"]
        norms = f"{of_all.right_norm:.2g} / {of_all.wrong_norm:.2g}"
        halves = f"{of_all.right_halves:.3f} / {of_all.wrong_halves:.3f}"
        cells = [style.setting_name(model, task), VERSIONS[version], *cosines, norms, halves]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
