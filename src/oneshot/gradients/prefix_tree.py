"""Prefix trees: the prefixes that sequences of a group share.

Each group is a tree that branches where its sequences diverge. An example, three completions of one prompt:

    row   tokens     order   shared with its predecessor in that order
    0     7 3 9      0       0
    1     7 4        2       2      (7 3)
    2     7 3 5 1    1       1      (7)

so 3 + 2 + 1 tokens are fed, not 3 + 4 + 2.
"""

from itertools import pairwise

import numpy as np


def branches(sequences: list[np.ndarray], groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort each group's sequences; return the order, and the length of the prefix each shares with its predecessor.

    The order is lexicographic within each group, so what a sequence does not share with its predecessor it shares with
    no earlier one. The second array is in the order of `sequences`.
    """
    keys = [sequence.astype(">i4").tobytes() for sequence in sequences]
    order = sorted(range(len(sequences)), key=lambda row: (groups[row], keys[row]))
    shared = np.zeros(len(sequences), dtype=np.int64)
    for before, row in pairwise(order):
        if groups[before] == groups[row]:
            shared[row] = _common(sequences[before], sequences[row])
    return np.array(order), shared


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """Length of the common prefix."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return int(differs[0]) if len(differs) else length


def paths_of(branch_of: dict[int, np.ndarray], order: np.ndarray, parts_at: np.ndarray) -> list[np.ndarray]:
    """Where each sequence's tokens are: its shared prefix with its predecessor in `order`, then its own branch."""
    nothing = np.empty(0, dtype=np.int64)
    paths = [nothing] * len(order)
    before = nothing
    for one in order:
        before = paths[one] = np.concatenate([before[: parts_at[one]], branch_of.get(one, nothing)])
    return paths
