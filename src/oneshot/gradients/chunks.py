"""Chunks: which rollouts go through one forward and backward pass together."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from oneshot.gradients.prefix_tree import branches

CHUNK_TOKENS = 3072
"""Packed tokens in one forward and backward pass: few enough to stay in a core's cache. Changes g by rounding only."""


def group_chunks(rollouts: pd.DataFrame, chosen: np.ndarray, chunk_tokens: int) -> Iterator[np.ndarray]:
    """Row numbers of the chosen rollouts, group by group, in chunks of at most `chunk_tokens` tokens when packed.

    Groups of similar prompt and completion lengths share a chunk. A group that is too large is cut, and each part feeds
    the prompt again; a single rollout that is too large is a chunk by itself. Tokens that rollouts share count once.
    """
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return
    chunk: list[int] = []
    tokens = 0
    for group in _groups_by_length(rollouts, rows):
        if chunk and tokens + group.prompt + sum(group.added) > chunk_tokens:
            yield np.array(chunk)
            chunk, tokens = [], 0
        tokens += group.prompt
        for row, fed, added in zip(group.rows, group.fed, group.added, strict=True):
            if tokens + added > chunk_tokens and chunk:
                yield np.array(chunk)
                chunk, tokens, added = [], group.prompt, fed
            chunk.append(row)
            tokens += added
    yield np.array(chunk)


class _Group(NamedTuple):
    """Rollouts of one prompt, in tree order."""

    prompt: int
    """Tokens of the prompt."""
    rows: list[int]
    fed: list[int]
    """Tokens of each completion that are fed when it is alone."""
    added: list[int]
    """Tokens of each that its predecessor does not share."""


def _groups_by_length(rollouts: pd.DataFrame, rows: np.ndarray) -> list[_Group]:
    """The chosen rollouts' groups, by prompt length and longest completion."""
    completions = [np.asarray(tokens[:-1]) for tokens in rollouts.tokens.iloc[rows]]
    groups = pd.factorize(rollouts.problem_id.to_numpy()[rows])[0]
    order, shared = branches(completions, groups)
    fed = np.array([len(completion) for completion in completions])
    added = fed - shared
    prompts = rollouts.prompt_tokens.iloc[rows].map(len).to_numpy()
    found = [
        _Group(prompts[one[0]], rows[one].tolist(), fed[one].tolist(), added[one].tolist())
        for one in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    ]
    return sorted(found, key=lambda group: (group.prompt, max(group.fed)))
