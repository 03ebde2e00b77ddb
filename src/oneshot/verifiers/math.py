r"""Mathematical answers: strict extraction, then text, then plain numbers, then computer algebra in a killable process.

`comparing.settle` decides what needs no algebra; `algebra` decides the rest. It runs in worker processes that are kept
alive between calls. Each comparison has a limit on CPU time, so the load of the machine changes no verdict, and a
generous deadline by the clock. A worker that exceeds either is killed and replaced. Workers return only a status,
because printing a parsed answer can itself take forever.
"""

import contextlib
import functools
import multiprocessing
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as DeadlineExceeded
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier

from pebble import ProcessExpired, ProcessPool

from oneshot.verifiers import Status, Verdict
from oneshot.verifiers.boxed import final_answers
from oneshot.verifiers.comparing import number, parts_of, read_gold, same_answer, settle

MEMORY_BYTES = 3 << 30
TASKS_BEFORE_RENEWAL = 2000
STARTING_SECONDS = 30
BAD_GOLD = "bad gold"


class BadGold(ValueError):
    """A gold answer that cannot be read: the problem is at fault, not the completion."""


@dataclass(frozen=True)
class Gold:
    """A gold answer with what the question says about it."""

    text: str
    in_percent: bool = False
    """The question asks for a percentage: `60\\%` then equals the gold answer 60."""


class MathVerifier:
    """A pool of computer-algebra workers, started when first needed; a context manager."""

    def __init__(self, num_workers: int = 2, cpu_seconds: float = 5.0, wall_seconds: float = 60.0):
        self.wall_seconds = wall_seconds
        self._num_workers, self._in_use = num_workers, False
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPool(
            num_workers,
            max_tasks=TASKS_BEFORE_RENEWAL,
            initializer=_start_worker,
            initargs=(cpu_seconds, context.Barrier(num_workers)),
            context=context,
        )

    def __enter__(self) -> "MathVerifier":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers once all of them are up: one that is still starting would find no pool to join."""
        meeting = [self._pool.schedule(_meet) for _ in range(self._num_workers if self._in_use else 0)]
        deadline = time.monotonic() + STARTING_SECONDS
        for future in meeting:
            with contextlib.suppress(threading.BrokenBarrierError, ProcessExpired, DeadlineExceeded):
                future.result(max(0.0, deadline - time.monotonic()))
        self._pool.stop()
        self._pool.join()

    def verify(self, gold: str | Gold, completion: str) -> Verdict:
        return self.verify_many([(gold, completion)])[0]

    def verify_many(self, pairs: Iterable[tuple[str | Gold, str]]) -> list[Verdict]:
        """The verdict on every (gold, completion). Raises BadGold if a gold answer that is needed cannot be read.

        After `check_golds`, no completion raises.
        """
        waiting = [self._begin(_gold(gold), final_answers(completion)) for gold, completion in pairs]
        return [Verdict(self._judge(answers)) for answers in waiting]

    def check_golds(self, golds: dict[str, str]) -> None:
        """Raise BadGold unless every gold answer can be read. `golds`: gold answer -> its origin, for the message."""
        for gold in self.unreadable(golds):
            raise BadGold(f"{golds[gold]}: gold answer {gold!r} cannot be read")

    def unreadable(self, golds: Iterable[str]) -> list[str]:
        """The gold answers that cannot be read, checked in the form in which they are compared."""
        checking = {gold: None if is_plain(gold) else self._schedule(is_readable, gold) for gold in golds}
        return [
            gold
            for gold, future in checking.items()
            if future and self._outcome((is_readable, gold), future) != Status.CORRECT
        ]

    def _judge(self, answers: list) -> Status:
        """Correct if all answers given together are; else the status of the first that is not."""
        if not answers:
            return Status.UNPARSABLE
        statuses = [entry if isinstance(entry, Status) else self._finish(*entry) for entry in answers]
        return next((status for status in statuses if status is not Status.CORRECT), Status.CORRECT)

    def _begin(self, gold: Gold, answers: list[str]) -> list:
        return [self._settle(gold, answer) for answer in _together(gold, answers)]

    def _settle(self, gold: Gold, answer: str) -> "Status | tuple[tuple, Future]":
        settled = settle(gold.text, answer, gold.in_percent)
        if settled is not None:
            return Status.CORRECT if settled else Status.WRONG
        task = (compare, gold.text, answer, gold.in_percent)
        return task, self._schedule(*task)

    def _schedule(self, function: Callable[..., str], *args: str | bool) -> Future:
        self._in_use = True
        return self._pool.schedule(limited, args=(function, *args), timeout=self.wall_seconds)

    def _finish(self, task: tuple, future: Future) -> Status:
        found = self._outcome(task, future)
        if found == BAD_GOLD:
            raise BadGold(f"gold answer {task[1]!r} cannot be read")
        return Status(found)

    def _outcome(self, task: tuple, future: Future, tries_left: int = 1) -> str:
        try:
            return future.result()
        except ProcessExpired as error:
            return Status.TIMEOUT if error.exitcode == -signal.SIGPROF else Status.MEMORY
        except DeadlineExceeded:  # by the clock: perhaps only the machine was busy
            return self._outcome(task, self._schedule(*task), 0) if tries_left else Status.TIMEOUT


def _gold(gold: str | Gold) -> Gold:
    return gold if isinstance(gold, Gold) else Gold(gold)


def _together(gold: Gold, answers: list[str]) -> list[str]:
    """Answers in separate boxes are joined to one list if the gold answer is a list of as many."""
    if len(answers) > 1:
        expected, *given = (read_gold(text) for text in (gold.text, *answers))
        lists = [answer.kind in ("list", "sequence") for answer in (expected, *given)]
        if lists == [True] + [False] * len(expected.items) and len(answers) == len(expected.items):
            return [", ".join(answers)]
    return answers


def is_plain(gold: str) -> bool:
    """Whether a gold answer can be read without algebra: a rational number, perhaps with a unit, or a letter."""
    answer = read_gold(gold)
    return answer.kind in ("letter", "base") or (answer.kind == "value" and number(answer.text) is not None)


def _start_worker(cpu_seconds: float, all_up: Barrier) -> None:
    """In the worker: set the limits on memory and on the CPU time of a comparison."""
    global CPU_SECONDS, ALL_UP
    CPU_SECONDS, ALL_UP = cpu_seconds, all_up
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    compare("x^2+1", "1+x^{2}")  # imports and warms the parser outside any limit


CPU_SECONDS = 5.0
ALL_UP: Barrier | None = None


def _meet() -> None:
    """In the worker: wait for all the others. A waiting worker takes no other task, so each takes part once."""
    ALL_UP.wait(STARTING_SECONDS)


def limited(function: Callable[..., str], *args: str | bool) -> str:
    """In the worker: call `function` under the CPU limit. SIGPROF ends the process, even inside one huge product."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        return function(*args)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def compare(gold: str, answer: str, in_percent: bool = False) -> str:
    """`correct`, `wrong`, `unparsable`, `memory` or `bad gold`."""
    from oneshot.verifiers.algebra import Unreadable, same_by_algebra

    if is_readable(gold) == BAD_GOLD:
        return BAD_GOLD
    try:
        return Status.CORRECT if same_answer(gold, answer, same_by_algebra, in_percent) else Status.WRONG
    except Unreadable:
        return Status.UNPARSABLE
    except MemoryError:
        return Status.MEMORY
    except Exception:  # a model wrote it: whatever algebra makes of it, it is not the answer
        return Status.WRONG


@functools.lru_cache(maxsize=10_000)
def is_readable(gold: str) -> str:
    """`correct` if every part of a gold answer is words or can be read as mathematics, else `bad gold`."""
    from oneshot.verifiers.algebra import parse

    answer = read_gold(gold)
    words = answer.kind != "words" or any(character.isalnum() for character in answer.text)
    try:
        readable = answer.kind != "nothing" and words and all(parse(part) is not None for part in parts_of(answer))
    except MemoryError:
        raise
    except Exception:  # too much for the algebra: it could not be compared either
        readable = False
    return Status.CORRECT if readable else BAD_GOLD
