"""Chunks: which rollouts go through one forward and backward pass together."""

from collections.abc import Iterator

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


def _groups_by_length(rollouts: pd.DataFrame, rows: np.ndarray) -> Iterator:
    """Each group's prompt length and, for its rollouts in tree order, rows, tokens fed alone and tokens added."""
    completions = [np.asarray(tokens[:-1]) for tokens in rollouts.tokens.iloc[rows]]
    problems = rollouts.problem_id.to_numpy()[rows]
    order, shared = branches(completions, pd.factorize(problems)[0])
    fed = np.array([len(completion) for completion in completions])
    prompts = rollouts.prompt_tokens.map(len).to_numpy()[rows]
    frame = pd.DataFrame({"problem": problems, "prompt": prompts, "fed": fed, "added": fed - shared, "row": rows})
    groups = frame.iloc[order].groupby("problem", sort=False)
    lists = groups.agg(
        prompt=("prompt", "first"), longest=("fed", "max"), fed=("fed", list), added=("added", list), rows=("row", list)
    )
    return lists.sort_values(["prompt", "longest"], kind="stable").itertuples()
