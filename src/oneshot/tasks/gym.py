"""Families of reasoning-gym, for pretrained models: its questions, our own exact scorer.

Its scorers reward some wrong answers (a gold answer within a longer text, floors for the right format) and, in some
families, evaluate the model's output as code. Ours reads one word and compares it. The families here have answers of
one word, which is the only right one, and a small model finds it now and then.
"""

import random
import re
from functools import cached_property
from importlib.util import find_spec

from oneshot.tasks.addition import operands
from oneshot.tasks.task import Problem, Task
from oneshot.verifiers import Verdict
from oneshot.verifiers.final_answer import verify_bare_answer

ITEMS = 10**6
"""Length of one family's stream, from which `draw_problems` draws."""


class GymTask(Task):
    """One family. Its settings are the fields of the dataclass with which reasoning-gym configures it."""

    def __init__(self, family: str, **settings):
        self.name, self.settings = family, settings

    @classmethod
    def create(cls, name: str, settings: dict) -> "GymTask":
        return cls(name, **settings)

    @classmethod
    def unavailable(cls) -> str:
        installed = find_spec("reasoning_gym")
        return "" if installed else "reasoning-gym is not installed (pip install -c constraints.txt -e '.[pretrained]')"

    @cached_property
    def items(self):
        from reasoning_gym import create_dataset  # slow to import; only needed to draw problems

        try:
            return create_dataset(self.name, seed=0, size=ITEMS, **self.settings)
        except (TypeError, AssertionError) as error:
            raise ValueError(f"tasks.{self.name}: {error}") from error

    def draw(self, rng: random.Random) -> Problem:
        item = self.items[rng.randrange(ITEMS)]
        return Problem(self.name, item["question"].strip(), item["answer"])

    @classmethod
    def canonical(cls, problem: Problem) -> str:
        """The numbers asked about, as in `addition`; of a question without any, the text quoted last."""
        quoted = re.findall(r'"([^"]*)"', problem.prompt)
        return operands(problem.prompt) or (quoted[-1] if quoted else super().canonical(problem))

    @classmethod
    def gold(cls, problem: Problem) -> str:
        return f" {problem.answer}"

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        return verify_bare_answer(completion, problem.answer)
