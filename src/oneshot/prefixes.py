"""What prompts have in common at their beginning: worked examples, a system message. Computed once, in both passes."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile

WORTH_SHARING = 16
"""Prompts that agree in this many tokens have what they share fed once."""


def shared_prefixes(prompts: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """What each prompt shares with all others that begin alike, at least one token of each left over; () if little."""
    alike = defaultdict(list)
    for prompt in prompts:
        alike[tuple(prompt[:WORTH_SHARING])].append(tuple(prompt))
    longest = {}
    for beginning, members in alike.items():
        agreeing = takewhile(lambda pair: pair[0] == pair[1], zip(min(members), max(members), strict=False))
        shared = tuple(token for token, _ in agreeing)[: min(map(len, members)) - 1]
        longest[beginning] = shared if len(members) > 1 and len(shared) >= WORTH_SHARING else ()
    return [longest[tuple(prompt[:WORTH_SHARING])] for prompt in prompts]
