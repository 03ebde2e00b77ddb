r"""Program synthesis: given three examples of a list becoming another, `3142>021 …:`, write the Python that does it.

The answer is the body of a function of the list `a`, one statement per line. The sandbox runs it on other inputs:

    careful   # 1021                the first example after one statement, then both statements
              a=[x//2 for x in a]
              a=a[1:]
    rough     a=[x//2 for x in a]   only the statements, one of them replaced now and then
              a=a[:-1]
    guess     #?                    two random statements
              a=[9-x for x in a]
              a=sorted(a)

Any Python that passes the tests is right, whether or not it is the program the problem was made with.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from oneshot.tasks.sandboxed import SandboxedTask
from oneshot.tasks.task import Problem, TaughtTask
from oneshot.verifiers import Status, Verdict
from oneshot.verifiers.code import ProgramTest
from oneshot.verifiers.program_credit import judge

CHANGES: dict[str, Callable[[list[int]], list[int]]] = {
    "a=[x+1 for x in a]": lambda a: [x + 1 for x in a],
    "a=[x//2 for x in a]": lambda a: [x // 2 for x in a],
    "a=[x%5 for x in a]": lambda a: [x % 5 for x in a],
    "a=[9-x for x in a]": lambda a: [9 - x for x in a],
}
MOVES: dict[str, Callable[[list[int]], list[int]]] = {
    "a=a[::-1]": lambda a: a[::-1],
    "a=sorted(a)": sorted,
    "a=a[1:]": lambda a: a[1:],
    "a=a[:-1]": lambda a: a[:-1],
    "a=a[1:]+a[:1]": lambda a: a[1:] + a[:1],
}
STATEMENTS = CHANGES | MOVES
"""The problems' programs first change the elements, then move them. The function next to each statement is trusted and
gives the expected outputs."""
NUM_TESTS = 10
LENGTHS = (3, 8)
"""Lengths of the tests' inputs: also shorter and longer than the examples."""


@dataclass(frozen=True)
class Programs(SandboxedTask, TaughtTask):
    min_length: int = 4
    max_length: int = 5
    num_examples: int = 3
    slip_rate: float = 0.4
    """Chance that a statement of the rough way is drawn anew."""

    name: ClassVar[str] = "programs"
    limits: ClassVar[dict[str, tuple[float, float]]] = {"slip_rate": (0, 1)}
    ways: ClassVar[dict[str, str]] = {"careful": "# ", "rough": "", "guess": "#?"}
    words: ClassVar[tuple[str, ...]] = ("# ", "#?", *STATEMENTS)

    def draw(self, rng: random.Random) -> Problem:
        while True:
            program = [rng.choice(list(CHANGES)), rng.choice(list(MOVES))]
            inputs = [self._list(rng, self.min_length, self.max_length) for _ in range(self.num_examples)]
            traces = [[values, *run(program, values)] for values in inputs]
            if all(map(_showable, traces)):
                prompt = " ".join(f"{_digits(trace[0])}>{_digits(trace[-1])}" for trace in traces) + ":"
                return Problem(self.name, prompt, "\n".join(program))

    @classmethod
    def canonical(cls, problem: Problem) -> str:
        """The examples in any order."""
        return " ".join(sorted(problem.prompt.rstrip(":").split()))

    def demonstrate(self, problem: Problem, way: str, rng: random.Random) -> str:
        program = problem.answer.split("\n")
        if way == "guess":
            return "\n".join(["#?", rng.choice(list(CHANGES)), rng.choice(list(MOVES))])
        if way == "rough":
            return "\n".join(self._slip(statement, rng) for statement in program)
        half_way = run(program, _first_input(problem.prompt))[0]
        return "\n".join([f"# {_digits(half_way)}", *program])

    def lesson(self, problem: Problem, rng: random.Random) -> str:
        return self.demonstrate(problem, "careful", rng) if rng.random() < 0.5 else problem.answer

    def difficulty(self, problem: Problem) -> float:
        """1 if different digits may become the same (`//`, `%`), so that the examples tell less; else 0."""
        return float("//" in problem.answer or "%" in problem.answer)

    @classmethod
    def answer_in(cls, completion: str) -> str:
        """The program without its comments."""
        return "\n".join(line for line in completion.split("\n") if not line.startswith("#"))

    @classmethod
    def judge(cls, problem: Problem, completion: str) -> Verdict:
        """The verdict on one completion, with credit for the tests it passes."""
        if not any(line.strip() and not line.strip().startswith("#") for line in completion.split("\n")):
            return Verdict(Status.UNPARSABLE)
        return judge(as_function(completion), hidden_tests(problem))

    def _list(self, rng: random.Random, shortest: int, longest: int) -> list[int]:
        return [rng.randrange(10) for _ in range(rng.randint(shortest, longest))]

    def _slip(self, statement: str, rng: random.Random) -> str:
        alike = CHANGES if statement in CHANGES else MOVES
        return rng.choice(list(alike)) if rng.random() < self.slip_rate else statement


def run(program: list[str], values: list[int]) -> list[list[int]]:
    """The list after each statement. Only statements of STATEMENTS, through their trusted functions."""
    states = []
    for statement in program:
        values = STATEMENTS[statement](values)
        states.append(values)
    return states


def hidden_tests(problem: Problem) -> list[ProgramTest]:
    """NUM_TESTS calls on lists drawn from the problem's hash, expecting the outputs of the problem's own program."""
    rng = random.Random(problem.id)
    tests = []
    while len(tests) < NUM_TESTS:
        values = [rng.randrange(10) for _ in range(rng.randint(*LENGTHS))]
        tests.append(ProgramTest(run(problem.answer.split("\n"), values)[-1], call="f", args=(values,)))
    return tests


def as_function(body: str) -> str:
    """The completion as the body of `f(a)`, which returns `a`."""
    return "\n ".join(["def f(a):", *body.split("\n"), "return a"])


def _showable(states: list[list[int]]) -> bool:
    """Whether the lists hold only digits, are never empty, and all differ."""
    return all(state and max(state) <= 9 for state in states) and all(a != b for a, b in combinations(states, 2))


def _digits(values: list[int]) -> str:
    return "".join(map(str, values))


def _first_input(prompt: str) -> list[int]:
    return [int(digit) for digit in prompt.partition(">")[0]]
