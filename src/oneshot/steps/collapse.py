"""Collapse, defined by a rule."""

import pandas as pd


def flag_collapse(path: pd.DataFrame) -> pd.Series:
    """Which rows of a path away from the base have collapsed. The first row is the base; later rows are further out.

    Collapse: accuracy is below the base's, and entropy is off its path: more than a tenth above the lowest value so
    far, or below a twentieth of the base's.
    """
    lowest_so_far = path.entropy_nats.cummin()
    rebounded = path.entropy_nats > 1.1 * lowest_so_far
    at_floor = path.entropy_nats < 0.05 * path.entropy_nats.iloc[0]
    return (path.accuracy < path.accuracy.iloc[0]) & (rebounded | at_floor)
