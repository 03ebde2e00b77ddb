"""What tasks have in common whose answers are programs: they are judged in the sandbox, each answer once."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from oneshot.sandbox import SandboxUnavailable
from oneshot.sandbox.workers import usable_confinement
from oneshot.tasks.task import Problem, Task
from oneshot.verifiers import Verdict
from oneshot.verifiers.code import shared_verifier

MAX_KNOWN = 200_000
"""Verdicts that are kept."""


class SandboxedTask(Task):
    """A task that judges an answer by running it. A verdict is kept: it is always the same, and a confident policy
    repeats its answers."""

    known: ClassVar[dict[tuple[int, str], Verdict]]
    """(problem's hash, completion) -> its verdict, for each class of tasks."""

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        cls.known = {}

    @classmethod
    def unavailable(cls) -> str:
        try:
            usable_confinement("auto")
        except SandboxUnavailable as error:
            return f"{error} (the tasks of config/laptop.yaml and config/smoke.yaml run no programs)"
        return ""

    @classmethod
    @abstractmethod
    def judge(cls, problem: Problem, completion: str) -> Verdict:
        """The verdict on one completion."""

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        return cls.verify_many([(problem, completion)])[0]

    @classmethod
    def verify_many(cls, pairs: Iterable[tuple[Problem, str]]) -> list[Verdict]:
        """Verdicts in order; what has not been judged before is judged by all workers at once."""
        asked = [((problem.id, completion), (problem, completion)) for problem, completion in pairs]
        if len(cls.known) > MAX_KNOWN:
            cls.known.clear()
        new = {key: pair for key, pair in asked if key not in cls.known}
        verdicts = shared_verifier().sandbox.map(lambda pair: cls.judge(*pair), new.values())
        cls.known.update(zip(new, verdicts, strict=True))
        return [cls.known[key] for key, _ in asked]
