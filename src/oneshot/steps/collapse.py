"""Collapse, by rule."""

import pandas as pd


def flag_collapse(path: pd.DataFrame) -> pd.Series:
    """Which rows of a path away from the base have collapsed. The first row is the base; rows go outwards.

    Collapse: accuracy below the base's while entropy has left its path, that is, has rebounded by more than a tenth
    above the lowest value so far, or has fallen under a twentieth of the base's.
    """
    lowest_so_far = path.entropy_nats.cummin()
    rebounded = path.entropy_nats > 1.1 * lowest_so_far
    at_floor = path.entropy_nats < 0.05 * path.entropy_nats.iloc[0]
    return (path.accuracy < path.accuracy.iloc[0]) & (rebounded | at_floor)
