"""Published benchmarks as tasks: drawn into problem sets by hash, as every task is.

Of mathematics here, with boxed answers: the model's prompt format tells it to box its answer. Of programs in
`oneshot.tasks.published_programs`.
"""

import atexit
import functools
import random
import re
import warnings
from collections.abc import Iterable
from functools import cached_property

from oneshot.tasks.benchmarks import BadRow, load_benchmark
from oneshot.tasks.task import Problem, Task
from oneshot.verifiers import Verdict
from oneshot.verifiers.boxed import final_answers
from oneshot.verifiers.math import Gold, MathVerifier

GOLD_OF_GSM8K = "####"
"""It precedes the final number of a worked answer."""


ASKS_FOR_PERCENTAGE = re.compile(
    r"\b(?:what|which|how many)(?:'s| is| was| are| were| will be| would be)?(?: [a-z'-]+){0,3}? percent(?:age)?\b"
    r"|\b(?:as|in) (?:a |the )?(?:nearest )?(?:whole )?percent(?:age)?\b"
    r"|\b(?:find|determine|calculate|compute|express)(?: [a-z'-]+){1,3}? percent(?:age)?\b",
    re.IGNORECASE,
)
"""Matches a question whose answer may carry `%` though its gold answer does not: 107 of GSM8K's 8,792, 15 of MATH's,
none of AIME's. Only the question says so; the verifier sees only an answer."""


class FromBenchmark(Task):
    """One benchmark, from a commit of its hub repository or a local file: `load_benchmark`'s arguments."""

    def __init__(self, name: str, **source: str):
        self.name, self.source, self.left_out = name, source, 0

    @classmethod
    def create(cls, name: str, settings: dict) -> "FromBenchmark":
        if set(settings) not in ({"revision"}, {"path"}):
            raise ValueError(f"tasks.{name}: needs `revision`, a commit of its hub repository, or `path`, a local file")
        if not re.fullmatch("[0-9a-f]{40}", settings.get("revision", 40 * "0")):
            raise ValueError(f"tasks.{name}.revision: '{settings['revision']}' is no commit, and branches move")
        return cls(name, **settings)

    @cached_property
    def problems(self) -> list[Problem]:
        """The problems that can be judged; the others are counted in `left_out`."""
        raise NotImplementedError

    def draw(self, rng: random.Random) -> Problem:
        """One of the problems."""
        if not self.problems:
            raise ValueError(f"tasks.{self.name}: none of its {self.left_out} rows has a gold answer that can be read")
        return rng.choice(self.problems)

    def _leave_out(self, row: BadRow) -> None:
        self.left_out += 1


class PublishedTask(FromBenchmark):
    """A benchmark of mathematics."""

    @cached_property
    def problems(self) -> list[Problem]:
        """The problems whose gold answers the verifier can read; the others are counted in `left_out`.

        All gold answers are checked before the first problem is drawn. A warning lists those that cannot be read.
        """
        problems = load_benchmark(self.name, **self.source, on_bad_row=self._leave_out)
        unreadable = set(shared_verifier().unreadable({gold(problem).text for problem in problems}))
        readable = [problem for problem in problems if gold(problem).text not in unreadable]
        self.left_out += len(problems) - len(readable)
        if unreadable:
            named = ", ".join(map(repr, sorted(unreadable)))
            warnings.warn(f"tasks.{self.name}: left out, for their gold answers cannot be read: {named}", stacklevel=2)
        return readable

    @classmethod
    def answer_in(cls, completion: str) -> str:
        return " and ".join(final_answers(completion))

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        return cls.verify_many([(problem, completion)])[0]

    @classmethod
    def verify_many(cls, pairs: Iterable[tuple[Problem, str]]) -> list[Verdict]:
        return shared_verifier().verify_many((gold(problem), completion) for problem, completion in pairs)


def gold(problem: Problem) -> Gold:
    """The gold answer alone, and whether the question asks for a percentage."""
    answer = problem.answer.rpartition(GOLD_OF_GSM8K)[2].strip()
    return Gold(answer, in_percent=bool(ASKS_FOR_PERCENTAGE.search(problem.prompt)))


@functools.cache
def shared_verifier() -> MathVerifier:
    """One verifier for all tasks of this process, closed when it ends."""
    verifier = MathVerifier()
    atexit.register(verifier.close)
    return verifier
