"""What intervals of a setting are taken over: its policies, or, where it has one alone, the problems of its test.

An interval over problems says what other problems would give, not what other policies would.
"""

import pandas as pd

from oneshot.arms import IDENTITY
from oneshot.figures.tables import BASE, DECODINGS, SETTING, Tables

COLUMNS = [*SETTING, "unit", "arm", *DECODINGS.values()]


def by_unit(ends: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """Accuracies of arms where they end (`at_last(with_base(points))`), one row for each unit and run: COLUMNS.

    The unit is the policy; or the problem, in settings with one policy, if there are tables of problems.
    """
    alone = ends.groupby(SETTING).policy.transform("nunique") == 1
    if not alone.any() or not tables.paths["by_problem"]:
        return ends.rename(columns={"policy": "unit"})[COLUMNS]
    return pd.concat([by_unit(ends[~alone], tables), _by_problem(ends[alone], tables.of_arms("by_problem"))])


def _by_problem(ends: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """The same accuracies, problem by problem. The base's are those of point 0, which every arm of a run shares."""
    counts = counts.drop_duplicates([*IDENTITY, "point", "problem_id"])
    start = counts[counts.point == 0].assign(arm=BASE)
    counts = pd.concat([counts, start.drop_duplicates([*IDENTITY, "problem_id"])])
    found = counts.merge(ends[[*IDENTITY, "point"]], on=[*IDENTITY, "point"])
    found = found.assign(accuracy=found.correct / found.samples, greedy_accuracy=found.greedy_correct)
    return found.rename(columns={"problem_id": "unit"})[COLUMNS]
