r"""The answers in a completion: the contents of its last boxes, and nothing else.

The rules:

| completion | answers |
|---|---|
| `\boxed{1}` … much text … `\boxed{2}` | 2: earlier boxes are work |
| `\boxed{1}. No, it is \boxed{2}` | 1 and 2: boxes close together are given together, and all of them must be right |
| `\boxed{2}` six times | 2: different answers are counted |
| `\boxed{} … \boxed{2}` | 2: an empty box in front is quoted from the question |
| `\boxed{2} … \boxed{}`, `\boxed{2} … \boxed{3` | none: the last box is the answer, even empty or cut off |
| `<think>\boxed{1}</think> … \boxed{2}` | 2; none without a box after `</think>` |
| `<think>\boxed{1} …` | none: thinking that was cut off |
"""

import re

MAX_CHARACTERS = 300
MAX_NESTING = 20
HEDGE_CHARACTERS = 40
"""Boxes closer together than this are answers given together; earlier boxes are work."""
MAX_ANSWERS = 4
"""Most different answers given together; more are a dump and count as none."""

BOX = re.compile(r"\\boxed\s*\{")


def final_answers(completion: str) -> list[str]:
    r"""The contents of the last closed `\boxed{…}` and of those close before it (`… or …`), each different one once.

    Empty without a box, or if one of them is empty, too long or nested too deep. Takes one pass over the text.
    """
    answers: list[str] = []
    next_start = None
    for start, content, end in reversed(_closed_boxes(completion.rpartition("</think>")[2].partition("<think>")[0])):
        if len(answers) > MAX_ANSWERS or (next_start is not None and next_start - end >= HEDGE_CHARACTERS):
            break
        if content.strip() not in (*answers, *([""] if answers else [])):
            answers.insert(0, content.strip())
        next_start = start
    fit = all(answer and len(answer) <= MAX_CHARACTERS and _nesting(answer) <= MAX_NESTING for answer in answers)
    return answers if fit and len(answers) <= MAX_ANSWERS else []


def _closed_boxes(text: str) -> list[tuple[int, str, int]]:
    """(start, content, end) of every outermost box whose brace is closed; none if the last one never is."""
    openings = {match.end() - 1: match.start() for match in BOX.finditer(text)}
    stack: list[int] = []
    boxes: list[tuple[int, str, int]] = []
    for match in re.finditer(r"\\[\\{}]|[{}]", text) if openings else ():
        if match.group() == "{":
            stack.append(match.start())
        elif match.group() == "}" and stack:
            brace = stack.pop()
            if brace in openings:
                while boxes and boxes[-1][0] > openings[brace]:
                    boxes.pop()  # a box within this one
                boxes.append((openings[brace], text[brace + 1 : match.start()], match.end()))
    return [] if boxes and any(brace in openings and brace > boxes[-1][2] for brace in stack) else boxes


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest
