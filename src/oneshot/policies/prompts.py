"""Prompt formats: how a problem is presented to a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class PromptFormat:
    """How a problem is presented to a model. The from-scratch family gets the bare problem."""

    chat: bool = False
    """Through the tokenizer's chat template, with examples as earlier turns; else as plain text."""
    system: str = ""
    instruction: str = ""
    """Appended to every problem; says how to mark the answer."""
    end: str = ""
    """The one token that follows an answer and ends it; the tokenizer's end token if empty. Divides plain text, too."""
    examples: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """Task -> (problem, answer) pairs shown before each of its problems."""
    openings: Mapping[str, str] = field(default_factory=dict)
    """Task -> how each answer to its problems begins, written for the model (a code block, say); the model goes on."""

    def render(self, tokenizer: PreTrainedTokenizerFast, task: str, problem: str) -> str:
        """The text whose continuation is the answer."""
        examples, begun = self.examples.get(task, ()), self.openings.get(task, "")
        if not self.chat:
            shown = [f"{question}{self.instruction}{answer}" for question, answer in examples]
            opening = [self.system] if self.system else []
            return (self.end or "\n\n").join([*opening, *shown, problem + self.instruction + begun])
        turns = [{"role": "system", "content": self.system}] if self.system else []
        for question, answer in examples:
            turns.append({"role": "user", "content": question + self.instruction})
            turns.append({"role": "assistant", "content": answer})
        turns.append({"role": "user", "content": problem + self.instruction})
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) + begun
