"""Problem sets, disjoint by content.

The hash of a problem's canonical form decides the split it belongs to, not the order in which it was drawn: no seed, no
count and no rewording can leak a test problem into training.
"""

import json
import random
from dataclasses import asdict
from pathlib import Path

from oneshot.files import BadFile, write_text
from oneshot.tasks.task import NUM_BUCKETS, Problem, Task

FRUITLESS_DRAWS = 20
"""Drawing fails after this many draws per problem in a row without a new problem. If all problems are equally likely,
the last one is missed with a probability of exp(-20)."""


def draw_problems(task: Task, buckets: tuple[int, int], count: int, seed: int) -> list[Problem]:
    """`count` different problems whose hash falls into buckets[0] <= bucket < buckets[1].

    The same arguments give the same problems in the same order, and a smaller count a prefix of them.
    """
    rng = random.Random(f"{task.name}/{seed}")
    problems: dict[int, Problem] = {}
    patience = FRUITLESS_DRAWS * count * NUM_BUCKETS // max(1, buckets[1] - buckets[0])
    fruitless = 0
    while len(problems) < count:
        problem = task.draw(rng)
        if buckets[0] <= task.bucket(problem) < buckets[1] and problem.id not in problems:
            problems[problem.id] = problem
            fruitless = 0
        elif (fruitless := fruitless + 1) > patience:
            raise ValueError(f"task '{task.name}' has fewer than {count} different problems in buckets {buckets}")
    return list(problems.values())


def draw_in_turn(tasks: list[Task], buckets: tuple[int, int], count: int, seed: int) -> list[Problem]:
    """`count` problems of several tasks, one of each in turn, drawn as `draw_problems` draws them."""
    share = -(-count // len(tasks))
    drawn = [draw_problems(task, buckets, share, seed) for task in tasks]
    return [problem for turn in zip(*drawn, strict=True) for problem in turn][:count]


def save_problems(problems: list[Problem], path: str | Path) -> None:
    """JSON lines, one problem each: task, prompt, answer."""
    write_text("".join(json.dumps(asdict(problem)) + "\n" for problem in problems), path, sealed=True)


def load_problems(path: str | Path, count: int | None = None) -> list[Problem]:
    """The first `count` problems of the file (all if None). Raises BadFile for a short file or a bad line."""
    problems = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        try:
            problems.append(Problem(**json.loads(line)))
            if not all(isinstance(value, str) for value in asdict(problems[-1]).values()):
                raise TypeError("not text")
        except (ValueError, TypeError) as error:
            raise BadFile(f"{path}, line {number}: not a problem (expected task, prompt, answer)") from error
    if len(problems) < (count or 1):
        raise BadFile(f"{path}: {len(problems)} problems, {count or 'at least 1'} needed")
    return problems[:count]
