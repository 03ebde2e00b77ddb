"""What a task is: where its problems come from, how they are asked, and which answer is right."""

import hashlib
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import ClassVar

from oneshot.verifiers import Verdict
from oneshot.verifiers.final_answer import MARK

NUM_BUCKETS = 100
"""Hashes of canonical forms are folded into this many buckets; a split is a range of them."""


@dataclass(frozen=True)
class Problem:
    """One question with its gold answer."""

    task: str
    prompt: str
    answer: str

    @cached_property
    def id(self) -> int:
        """Content hash: the key of everything drawn for this problem."""
        return _hash(f"{self.task}\n{self.prompt}")


class Task(ABC):
    """The interface of a task. The settings of its constructor decide which problems it draws.

    They never decide a verdict: `verify` is a class method, so rollouts can be scored from their problems alone.
    """

    name: str
    ways: ClassVar[dict[str, str]] = {}
    """The ways to answer: name -> opening, the text with which a completion of that way begins."""
    stems: ClassVar[dict[str, str]] = {}
    """Beginnings that the openings of several ways share, by name."""
    limits: ClassVar[dict[str, tuple[float, float]]] = {}
    """Setting -> (smallest, largest) possible value; a setting that is not listed must be at least 1."""

    @classmethod
    def create(cls, name: str, settings: dict) -> "Task":
        """The task with these settings. Raises ValueError, starting with the config key, for a bad one."""
        known = {field.name: field.type for field in fields(cls)} if is_dataclass(cls) else {}
        for key, value in settings.items():
            if key not in known:
                has = ", ".join(known) or "none"
                raise ValueError(f"tasks.{name}.{key}: no such setting: {cls.__name__} has {has}")
            if isinstance(value, bool) or not isinstance(value, (int, known[key])):
                raise ValueError(f"tasks.{name}.{key}: {value!r} is not of type {known[key].__name__}")
            smallest, largest = cls.limits.get(key, (1, math.inf))
            if not smallest <= value <= largest:
                raise ValueError(f"tasks.{name}.{key}: {value} is not between {smallest} and {largest}")
        return cls(**settings)

    @classmethod
    def unavailable(cls) -> str:
        """Why this host cannot run the task, and what to do; empty if it can."""
        return ""

    @abstractmethod
    def draw(self, rng: random.Random) -> Problem:
        """One random problem."""

    @classmethod
    def canonical(cls, problem: Problem) -> str:
        """What is asked, apart from wording and order: problems of one canonical form never land in two splits."""
        return " ".join(problem.prompt.split())

    @classmethod
    def opening(cls, way: str, problem: Problem) -> str:
        """The text with which a completion of `problem` begins in that way, or with that stem."""
        return {**cls.ways, **cls.stems}[way]

    @classmethod
    def bucket(cls, problem: Problem) -> int:
        """The bucket, out of NUM_BUCKETS, that decides to which split a problem belongs."""
        return _hash(cls.canonical(problem)) % NUM_BUCKETS

    @classmethod
    @abstractmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        """The binary verdict, with partial credit where the task has any."""

    @classmethod
    def answer_in(cls, completion: str) -> str:
        """The answer that a completion gives, to compare it with those of others; empty if it gives none."""
        return completion.rpartition(MARK)[2].strip()

    @classmethod
    def gold(cls, problem: Problem) -> str:
        """A right completion, as the key to the problems has it. Raises ValueError if the task has no key."""
        raise ValueError(f"task '{problem.task}': no gold completion can be made from its problems")

    @classmethod
    def verify_many(cls, pairs: Iterable[tuple[Problem, str]]) -> list[Verdict]:
        """The verdict on every (problem, completion), in order."""
        return [cls.verify(*pair) for pair in pairs]


class TaughtTask(Task):
    """A task that from-scratch policies are pretrained on: it can also write answers to its problems."""

    words: ClassVar[tuple[str, ...]] = ()
    """Words of its prompts and completions that a from-scratch policy has as single tokens."""
    largest_number: ClassVar[int] = 9
    """Numbers up to this one are single tokens (9 or 99)."""

    @abstractmethod
    def demonstrate(self, problem: Problem, way: str, rng: random.Random) -> str:
        """A completion of `problem` in that way, right as often as the way is."""

    @abstractmethod
    def lesson(self, problem: Problem, rng: random.Random) -> str:
        """A completion that is right. The first part of pretraining shows only these, so skills come before habits."""

    @classmethod
    def gold(cls, problem: Problem) -> str:
        """A lesson, always the same for a problem."""
        return cls.create(problem.task, {}).lesson(problem, random.Random(problem.id))

    def difficulty(self, problem: Problem) -> float:
        """How hard the problem looks, 0 to 1; decides how often each way is taken in the pretraining mixture."""
        return 0.0


def _hash(text: str) -> int:
    """63 bits, the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
