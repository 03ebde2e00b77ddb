"""Published benchmarks of programs as tasks: MBPP+ and LiveCodeBench to test on, MBPP's and LeetCode's to train on.

An answer is the program in its last Python block; or, where the model's prompt has opened the block and its end token
closes it, the whole answer, if it is Python. The sandbox runs it on every test. Wrong programs get partial credit for
the tests that they pass, but for those that the prompt shows.
"""

import ast
import warnings
from functools import cached_property

from oneshot.tasks.benchmarks import load_benchmark
from oneshot.tasks.program_rows import fill_in
from oneshot.tasks.published import FromBenchmark
from oneshot.tasks.sandboxed import SandboxedTask
from oneshot.tasks.task import Problem
from oneshot.verifiers import Status, Verdict
from oneshot.verifiers.code import extract_program, pack_tests, reference_of, shared_verifier, unpack_tests
from oneshot.verifiers.program_credit import judge

FENCES = ("```", "~~~")


class PublishedPrograms(SandboxedTask, FromBenchmark):
    """A benchmark of programs."""

    @cached_property
    def problems(self) -> list[Problem]:
        """The problems that have a test and may be used; `left_out` counts the others, and a warning says how many.

        Expected values that a copy leaves out are those of its reference program, which runs in the sandbox.
        """
        rows = load_benchmark(self.name, **self.source, on_bad_row=self._leave_out)
        problems = [filled for problem in rows if (filled := _with_expected(problem))]
        self.left_out += len(rows) - len(problems)
        if self.left_out:
            warnings.warn(f"tasks.{self.name}: left out {self.left_out} problems that cannot be used", stacklevel=2)
        return problems

    @classmethod
    def answer_in(cls, completion: str) -> str:
        """The program, as Python writes it: votes are not split by blanks and comments."""
        try:
            return ast.unparse(ast.parse(program_in(completion) or ""))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ""

    @classmethod
    def judge(cls, problem: Problem, completion: str) -> Verdict:
        program = program_in(completion)
        if program is None:
            return Verdict(Status.UNPARSABLE)
        tests, prelude = unpack_tests(problem.answer)
        shown = [test for test in tests if _shows(problem.prompt, test.call)][:1]
        return judge(prelude + program, tests, shown)


def program_in(completion: str) -> str | None:
    """The program of an answer, or None."""
    if any(fence in completion for fence in FENCES):
        return extract_program(completion)
    try:
        return completion if ast.parse(completion).body else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _shows(prompt: str, function: str) -> bool:
    """Whether a prompt ends on a call of the function: MBPP's shows its first test."""
    return bool(function) and f"{function}(" in prompt.rpartition("\n")[2]


def _with_expected(problem: Problem) -> Problem | None:
    """The problem with an expected value for each of its tests; None if no test has one."""
    tests, prelude = unpack_tests(problem.answer)
    reference = reference_of(problem.answer)
    if reference and tests and all(test.expected is None for test in tests):
        tests = fill_in(tests, reference, shared_verifier())
    return Problem(problem.task, problem.prompt, pack_tests(tests, prelude)) if tests else None
