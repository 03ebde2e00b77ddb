"""The program in a completion: the last fenced block that is an answer.

Only the text after the thoughts is read, as for boxed answers. Of the closed blocks, the last one tagged as Python
counts. If there is none, the last one without a tag counts, preferably one that looks like a program. Blocks in other
languages never count, and neither does a block that is cut off at the end of a completion.
"""

import re
from dataclasses import dataclass, field

MAX_CHARACTERS = 1_000_000
"""How much of a completion is read, from its end."""
OPENING = re.compile(r"^(?P<before>[^`~]*)(?P<fence>`{3,}|~{3,})(?P<info>[^`~]*)$")
MARKS = re.compile(r"(?:[\s>*+\-.)0-9]|</?\w+>)*")
"""What may precede any fence on its line: list marks, quotation marks, tags. Words may precede only a Python fence."""
TAG = re.compile(r"</?\w+>|<[|｜][^<>]*[|｜]>")
"""A tag, or a token that ends a turn."""
PYTHON = re.compile(r"\{?\.?(?:python|py|pypy)(?![a-z])|\S+\.py$", re.IGNORECASE)
STATEMENT = re.compile(
    r"^[ \t]*(?:import|from|def|class|for|while|if|print|return|@)\b|\w\(|[^=!<>]=[^=]", re.MULTILINE
)
QUOTES = re.compile(r"'''|\"\"\"")


@dataclass
class Block:
    """A fenced block: its fence, what follows it, how far it is indented, and its lines so far."""

    fence: str
    info: str
    indent: int
    lines: list[str] = field(default_factory=list)
    in_text: bool = False
    """Whether its last line is in a triple-quoted text, where a fence means nothing."""
    fence_in_text: int | None = None
    """Index in `lines` of the first fence in such a text."""

    @property
    def text(self) -> str:
        return "".join(f"{self._outdented(line)}\n" for line in self.lines)

    def _outdented(self, line: str) -> str:
        return line[min(self.indent, len(line) - len(line.lstrip(" \t"))) :]

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.in_text ^= len(QUOTES.findall(line)) % 2 == 1


def extract_program(completion: str) -> str | None:
    """The program of a completion, or None."""
    blocks = closed_blocks(answer_part(completion)[-MAX_CHARACTERS:].replace("\r\n", "\n"))
    tagged = [block.text for block in blocks if PYTHON.match(block.info)]
    bare = [block.text for block in blocks if not block.info]
    likely = list(filter(STATEMENT.search, bare))
    choices = (list(filter(str.strip, tagged)), likely, bare, tagged)
    return next((texts[-1] for texts in choices if texts), None)


def answer_part(completion: str) -> str:
    """The text after the last `</think>`, up to a `<think>` that is not closed."""
    return completion.rpartition("</think>")[2].partition("<think>")[0]


def closed_blocks(text: str) -> list[Block]:
    """Every fenced block that is closed, in order. A fence that opens a tagged block drops an unclosed one."""
    lines, blocks, block, number = text.split("\n"), [], None, 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if block is None:
            block = opened(line)
        elif closes(line, block):
            blocks.append(block)
            block = None
        elif not block.in_text and (again := opened(line)) and again.info and again.fence == block.fence:
            block = again
        else:
            block.add(line)
        if number == len(lines) and block and block.fence_in_text is not None:
            # the triple-quoted text never ended, so it was none, and its first fence closed the block
            number -= len(block.lines) - block.fence_in_text - 1
            del block.lines[block.fence_in_text :]
            blocks.append(block)
            block = None
    return blocks


def opened(line: str) -> Block | None:
    """The block that a line opens, if it opens one."""
    match = OPENING.match(line)
    if not match or not (MARKS.fullmatch(match["before"]) or PYTHON.match(match["info"].strip())):
        return None
    indent = 0 if match["before"].strip() else len(match["before"])
    return Block(match["fence"], match["info"].strip(), indent)


def closes(line: str, block: Block) -> bool:
    """Whether a line closes the block. A fence directly after code does; the code is added to the block."""
    line = without_tags(line)
    if not line.endswith(block.fence):
        return False
    code = line.rstrip(block.fence[0])
    if not code.strip():
        if block.in_text and block.fence_in_text is None:
            block.fence_in_text = len(block.lines)
        return not block.in_text
    if block.in_text or len(QUOTES.findall(code)) % 2:
        return False
    block.add(code)
    return True


def without_tags(line: str) -> str:
    """A line without the blanks and tags, such as `</answer>`, at its end."""
    line = line.rstrip()
    for _ in range(3):
        start = line.rfind("<")
        if start < 0 or not TAG.fullmatch(line, start):
            break
        line = line[:start].rstrip()
    return line
