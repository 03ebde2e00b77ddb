"""Published benchmarks of mathematics as tasks: drawn into problem sets by hash, as every task is; boxed answers.

A problem is put to a model as its prompt format says, which is where the model is told to box its answer. Benchmarks of
programs are read by `oneshot.tasks.benchmarks` but are no tasks yet.
"""

import atexit
import functools
import random
import re
from collections.abc import Iterable
from functools import cached_property

from oneshot.tasks.benchmarks import BadRow, load_benchmark
from oneshot.tasks.task import Problem, Task
from oneshot.verifiers import Verdict
from oneshot.verifiers.math import BadGold, MathVerifier

GOLD_OF_GSM8K = "####"
"""Behind it stands the final number of a worked answer."""


class PublishedTask(Task):
    """One benchmark, from a commit of its hub repository or a local file: `load_benchmark`'s arguments."""

    def __init__(self, name: str, **source: str):
        self.name, self.source, self.left_out = name, source, 0

    @classmethod
    def create(cls, name: str, settings: dict) -> "PublishedTask":
        if set(settings) not in ({"revision"}, {"path"}):
            raise ValueError(f"tasks.{name}: needs `revision`, a commit of its hub repository, or `path`, a local file")
        if not re.fullmatch("[0-9a-f]{40}", settings.get("revision", 40 * "0")):
            raise ValueError(f"tasks.{name}.revision: '{settings['revision']}' is no commit, and branches move")
        return cls(name, **settings)

    @cached_property
    def problems(self) -> list[Problem]:
        """Those that have a gold answer; the others are counted in `left_out`."""
        return load_benchmark(self.name, **self.source, on_bad_row=self._leave_out)

    def draw(self, rng: random.Random) -> Problem:
        """One of the problems whose gold answer the verifier can read."""
        while self.problems:
            problem = rng.choice(self.problems)
            try:
                shared_verifier().check_golds({gold(problem): self.name})
            except BadGold:
                self.problems.remove(problem)
                self.left_out += 1
            else:
                return problem
        raise ValueError(f"tasks.{self.name}: none of its {self.left_out} rows has a gold answer that can be read")

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        return cls.verify_many([(problem, completion)])[0]

    @classmethod
    def verify_many(cls, pairs: Iterable[tuple[Problem, str]]) -> list[Verdict]:
        return shared_verifier().verify_many((gold(problem), completion) for problem, completion in pairs)

    def _leave_out(self, row: BadRow) -> None:
        self.left_out += 1


def gold(problem: Problem) -> str:
    """The gold answer alone."""
    return problem.answer.rpartition(GOLD_OF_GSM8K)[2].strip()


@functools.cache
def shared_verifier() -> MathVerifier:
    """One verifier for all tasks of this process, closed when it ends."""
    verifier = MathVerifier()
    atexit.register(verifier.close)
    return verifier
