"""Tasks: where problems come from, how they are asked, and which answer is right.

A task is an object with the methods of `Task`. `draw_problems` turns it into problem sets that
are disjoint *by content*: the hash of a problem, not the order in which it was drawn, decides the split
it belongs to, so no seed and no count can leak a test problem into training.
"""

import hashlib
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

from oneshot.provenance import BadFile, atomic_path
from oneshot.verifiers import Verdict

NUM_BUCKETS = 100
"""Content hashes are folded into this many buckets; a split is a range of them."""
FRUITLESS_DRAWS = 20
"""A problem set is given up after this many draws, for each of its problems, in a row without a new one: of equally
likely problems, the last one is missed so with a chance of exp(-20)."""


@dataclass(frozen=True)
class Problem:
    """One question with its gold answer."""

    task: str
    prompt: str
    answer: str

    @cached_property
    def id(self) -> int:
        """63-bit content hash: the same on every machine, the key of everything drawn for this problem."""
        digest = hashlib.sha256(f"{self.task}\n{self.prompt}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    @property
    def bucket(self) -> int:
        return self.id % NUM_BUCKETS


class Task(ABC):
    """What a task must offer."""

    name: str
    ways: ClassVar[dict[str, str]] = {}
    """The ways to answer: name -> opening, the text a completion of that way begins with."""

    @abstractmethod
    def draw(self, rng: random.Random) -> Problem:
        """One random problem."""

    @abstractmethod
    def verify(self, problem: Problem, completion: str) -> Verdict:
        """The binary verifier, with partial credit where the task has any."""

    def verify_many(self, pairs: Iterable[tuple[Problem, str]]) -> list[Verdict]:
        """The verdict on every (problem, completion), in order."""
        return [self.verify(*pair) for pair in pairs]


class TaughtTask(Task):
    """A task that a from-scratch policy is raised on: it also knows how its problems are answered."""

    words: ClassVar[tuple[str, ...]] = ()
    """Words of its prompts and completions that a from-scratch policy has as single tokens."""
    largest_number: ClassVar[int] = 9
    """Numbers up to this one are single tokens (9 or 99)."""

    @abstractmethod
    def demonstrate(self, problem: Problem, way: str, rng: random.Random) -> str:
        """A completion of `problem` in that way, right or wrong as often as the way is."""

    @abstractmethod
    def lesson(self, problem: Problem, rng: random.Random) -> str:
        """A completion that is right: what the first part of pretraining shows, so that skills come before habits."""

    def difficulty(self, problem: Problem) -> float:
        """How hard the problem looks, 0 to 1: decides how often each way is taken in the pretraining mixture."""
        return 0.0


def get_task(name: str, **settings) -> Task:
    """The task of that name with its settings from the config."""
    from oneshot.tasks.addition import Addition
    from oneshot.tasks.arithmetic import Arithmetic
    from oneshot.tasks.gym import FAMILIES, GymTask
    from oneshot.tasks.programs import Programs
    from oneshot.tasks.published import MATHEMATICS, PublishedTask
    from oneshot.tasks.sorting import Sorting

    tasks = {task.name: task for task in (Addition, Arithmetic, Programs, Sorting)}
    tasks |= {family: partial(GymTask, family) for family in FAMILIES}
    tasks |= {benchmark: partial(PublishedTask, benchmark) for benchmark in MATHEMATICS}
    if name not in tasks:
        raise ValueError(f"unknown task '{name}': expected one of {', '.join(sorted(tasks))}")
    return tasks[name](**settings)


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
        if buckets[0] <= problem.bucket < buckets[1] and problem.id not in problems:
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
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(asdict(problem)) + "\n" for problem in problems))


def load_problems(path: str | Path, count: int | None = None) -> list[Problem]:
    """The first `count` problems of the file (all if None); refuses a short file and a bad line by name."""
    problems = []
    for number, line in enumerate(Path(path).read_text().splitlines(), start=1):
        try:
            problems.append(Problem(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise BadFile(f"{path}, line {number}: not a problem (expected task, prompt, answer)") from error
    if len(problems) < (count or 1):
        raise BadFile(f"{path}: {len(problems)} problems, {count or 'at least 1'} needed")
    return problems[:count]
