"""Prefixes that prompts share (worked examples, a system message). Sampling and gradient compute each of them once."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile

WORTH_SHARING = 16
"""Shortest prefix, in tokens, that is worth sharing."""


def shared_prefixes(prompts: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """For each prompt, the prefix shared by all prompts with the same first WORTH_SHARING tokens; () if none is.

    A shared prefix leaves every prompt at least one token and is itself at least WORTH_SHARING tokens long.
    """
    alike = defaultdict(list)
    for prompt in prompts:
        alike[tuple(prompt[:WORTH_SHARING])].append(tuple(prompt))
    longest = {}
    for beginning, members in alike.items():
        agreeing = takewhile(lambda pair: pair[0] == pair[1], zip(min(members), max(members), strict=False))
        shared = tuple(token for token, _ in agreeing)[: min(map(len, members)) - 1]
        longest[beginning] = shared if len(members) > 1 and len(shared) >= WORTH_SHARING else ()
    return [longest[tuple(prompt[:WORTH_SHARING])] for prompt in prompts]
