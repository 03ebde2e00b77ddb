"""The rounds of a race between step sizes, and what they cost. Planning needs them: nothing large is imported."""

LEAST = 2
"""So many always stand for another round."""


def rounds(evaluations: int, num_problems: int, shares: list[float]) -> list[tuple[int, int]]:
    """(step sizes that take part, problems that each of them has been asked by its end) of every round.

    The better half of a round stands for the next. `shares` of all problems are asked by the ends of the rounds.
    """
    found, standing = [], evaluations
    for share in shares:
        found.append((standing, max(1, round(share * num_problems))))
        standing = min(standing, max(LEAST, standing // 2))
    return found


def problems_asked(evaluations: int, num_problems: int, shares: list[float]) -> int:
    """Over all rounds and step sizes."""
    total, before = 0, 0
    for standing, problems in rounds(evaluations, num_problems, shares):
        total += standing * (problems - before)
        before = problems
    return total
