r"""Mathematical answers: strict extraction, then text, then plain numbers, then computer algebra in a killable process.

math-verify decides equality where `boxed.settle` cannot. It runs in worker processes kept alive between calls, each
comparison under a limit on CPU time (so that the load of the machine changes no verdict), with a generous deadline
on the clock behind it; a worker that overruns either is killed and replaced. Only a word comes back from a worker:
printing a parsed answer can itself take for ever.
"""

import functools
import logging
import multiprocessing
import resource
import signal
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as DeadlineExceeded

from pebble import ProcessExpired, ProcessPool

from oneshot.verifiers import Status, Verdict
from oneshot.verifiers.boxed import final_answers, settle, tidy

MEMORY_BYTES = 3 << 30
TASKS_BEFORE_RENEWAL = 2000


class BadGold(ValueError):
    """A gold answer that cannot be read: the problem is at fault, not the completion."""


class MathVerifier:
    """A pool of computer-algebra workers, started when first needed; a context manager."""

    def __init__(self, num_workers: int = 2, cpu_seconds: float = 5.0, wall_seconds: float = 60.0):
        self.wall_seconds = wall_seconds
        self._pool = ProcessPool(
            num_workers,
            max_tasks=TASKS_BEFORE_RENEWAL,
            initializer=_start_worker,
            initargs=(cpu_seconds,),
            context=multiprocessing.get_context("spawn"),
        )

    def __enter__(self) -> "MathVerifier":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._pool.stop()
        self._pool.join()

    def verify(self, gold: str, completion: str) -> Verdict:
        return self.verify_many([(gold, completion)])[0]

    def verify_many(self, pairs: Iterable[tuple[str, str]]) -> list[Verdict]:
        """The verdict on every (gold, completion). BadGold if a gold answer needed for one cannot be read."""
        waiting = [[self._begin(gold, answer) for answer in final_answers(completion)] for gold, completion in pairs]
        return [Verdict(self._judge(answers)) for answers in waiting]

    def check_golds(self, golds: dict[str, str]) -> None:
        """BadGold unless every gold answer can be read; golds -> where they are from, to be told if not."""
        texts = {gold: tidy(gold) for gold in golds}
        parsing = {gold: self._schedule(text, text) for gold, text in texts.items()}
        for gold, future in parsing.items():
            try:
                readable = self._finish(texts[gold], texts[gold], future) is Status.CORRECT
            except BadGold:
                readable = False
            if not readable:
                raise BadGold(f"{golds[gold]}: gold answer {gold!r} cannot be read")

    def _judge(self, answers: list) -> Status:
        """Correct if all answers given together are; else what the first that is not came to."""
        if not answers:
            return Status.UNPARSABLE
        statuses = [entry if isinstance(entry, Status) else self._finish(*entry) for entry in answers]
        return next((status for status in statuses if status is not Status.CORRECT), Status.CORRECT)

    def _begin(self, gold: str, answer: str) -> "Status | tuple[str, str, Future]":
        settled = settle(gold, answer)
        if isinstance(settled, bool):
            return Status.CORRECT if settled else Status.WRONG
        return (*settled, self._schedule(*settled))

    def _schedule(self, gold: str, answer: str) -> Future:
        return self._pool.schedule(compare, args=(gold, answer), timeout=self.wall_seconds)

    def _finish(self, gold: str, answer: str, future: Future, tries_left: int = 1) -> Status:
        try:
            found = future.result()
        except ProcessExpired as error:
            return Status.TIMEOUT if error.exitcode == -signal.SIGPROF else Status.MEMORY
        except DeadlineExceeded:  # by the clock: perhaps only the machine was busy
            return self._finish(gold, answer, self._schedule(gold, answer), 0) if tries_left else Status.TIMEOUT
        if found == "bad gold":
            raise BadGold(f"gold answer {gold!r} cannot be read")
        return Status(found)


def _start_worker(cpu_seconds: float) -> None:
    """In the worker: a limit on memory, and the CPU time a comparison may take."""
    global CPU_SECONDS
    CPU_SECONDS = cpu_seconds
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that the timeouts are ours
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    compare("1", "x")  # imports and warms the parser outside any limit


CPU_SECONDS = 5.0


def compare(gold: str, answer: str) -> str:
    """`correct`, `wrong`, `unparsable` or `bad gold`. SIGPROF ends the process, even inside one huge product."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        expected = parse_gold(gold)
        if not expected:
            return "bad gold"
        return _compare(expected, answer)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _compare(expected: list, answer: str) -> str:
    from math_verify import verify

    try:
        given = _parse(answer)
        if not given:
            return "unparsable"
        same = verify(expected, given, timeout_seconds=None, allow_set_relation_comp=True)
    except MemoryError:
        return "memory"
    except Exception:  # a model wrote it: whatever algebra makes of it, it is not the answer
        return "wrong"
    return "correct" if same else "wrong"


@functools.lru_cache(maxsize=10_000)
def parse_gold(gold: str) -> list:
    """The parsed gold answer; empty unless it is a mathematical object or plain words."""
    parsed = _parse(gold)
    readable = any(not isinstance(entry, str) for entry in parsed) or gold.replace(" ", "").isalpha()
    return parsed if readable or r"\text" in gold else []


def _parse(text: str) -> list:
    from math_verify import LatexExtractionConfig, parse

    config = LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False)
    return parse(rf"\boxed{{{text}}}", extraction_config=[config], parsing_timeout=None)
