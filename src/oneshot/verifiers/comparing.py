r"""Is this the gold answer? Answers are read by `oneshot.verifiers.reading` and compared part by part.

Values are compared by a function that is passed in: `plainly`, for exact rational numbers, or the computer algebra of
`oneshot.verifiers.algebra` for the rest. The rules:

| gold | answer | |
|---|---|---|
| `5 \text{cm}` | `5`, `5 \text{centimeters}` | right: a unit may be left out, or written differently |
| `5` | `5 \text{cm}` | right |
| `5 \text{cm}` | `5 \text{m}`, `5 \text{cm}^2` | wrong: another unit |
| `60\%` | `60\%`, `60`, `0.6`, `\frac35` | right: the sign says that all of these are meant |
| `60`, the question asks for a percentage | `60`, `60\%` | right; `0.6` is wrong |
| `60`, otherwise | `60\%` | wrong: that is 0.6 |
| `\frac35` | `0.6`, `60\%` | right |
| `\frac13` | `0.3333333`, `0.333\ldots` | wrong: only the exact value is right |
| `\text{east}` | `\text{East}` | right: case counts only for single letters and capitals that name points |
| `2, 3` | `2, 2, 3` | wrong: each value as often as in the gold |
| `\text{C}, \text{A}` | `\text{A}, \text{C}` | wrong: the order of words may count, that of numbers does not |
| `x = 5` | `5`; `y = 5` | right; wrong |
| `x + y = 5` | `2x + 2y = 10`; `5` | right: a multiple of the same equation; wrong |
| `5050` | `\sum_{i=1}^{100} i` | wrong: not evaluated |
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from oneshot.verifiers.naming import EQUALS
from oneshot.verifiers.notation import closing, compact, tidy
from oneshot.verifiers.reading import Answer, read

Same = Callable[[str, str], bool]
"""Whether two values in LaTeX are equal. An equation is given as the difference of its sides, marked `0=`."""

DECIMAL = re.compile(r"\d+\.?\d*|\.\d+")
POWER_OF_TEN = re.compile(r"(\d+\.?\d*|\.\d+)\\(?:cdot|times)10\^\{?([+-]?\d{1,3})\}?")
UNEVALUATED = re.compile(r"\\(?:sum|prod|int|lim|binom|dbinom|tbinom|max|min|gcd|lcm)(?![a-zA-Z])")
COMMAND = re.compile(r"\\[a-zA-Z]+")
ZERO_EQUALS = "0="


class NeedsAlgebra(Exception):
    """Text and plain numbers cannot decide."""


@lru_cache(maxsize=10_000)
def read_gold(text: str) -> Answer:
    """Read a gold answer: like `read`, but `0.56 = 56\\%` means its last part, and `x + y = 5` is an equation."""
    answer = read(text)
    if answer.kind == "words" and EQUALS.search(answer.text) and not re.search("[a-zA-Z]{2}", answer.text):
        return read(EQUALS.split(answer.text)[-1])
    return _as_equation(answer) if re.search(r"[+-]", answer.name) else answer


def settle(gold: str, answer: str, in_percent: bool = False) -> bool | None:
    """True or False if text, plain numbers or a rule decide; None if it takes algebra."""
    try:
        return same_answer(gold, answer, plainly, in_percent)
    except NeedsAlgebra:
        return None


def same_answer(gold: str, answer: str, same: Same, in_percent: bool = False) -> bool:
    """Whether `answer` is the gold answer; `in_percent` says that the question asks for a percentage."""
    given = read(answer)
    if given.kind == "nothing":
        return False
    return compact(tidy(gold)) == compact(tidy(answer)) or _same(read_gold(gold), given, same, in_percent)


def _same(gold: Answer, given: Answer, same: Same, in_percent: bool = False) -> bool:
    if "equation" in (gold.kind, given.kind):
        return _same_equation(gold, given, same)
    if "words" in (gold.kind, given.kind):
        return _same_words(gold, given)
    if {gold.kind, given.kind} == {"matrix", "value"} and r"\begin" in gold.text and r"\begin" in given.text:
        return _guarded(gold.text, given.text, same)  # a number times a matrix
    if gold.kind != given.kind or (gold.name and given.name and gold.name != given.name):
        return False
    if gold.kind in ("letter", "base"):
        return gold.text == given.text
    if gold.kind == "value":
        return _same_value(gold, given, same, in_percent)
    if gold.kind in ("list", "union"):
        return _same_in_any_order(gold.items, given.items, same)
    if gold.kind in ("matrix", "row"):
        return _same_in_order(gold.items, given.items, same)
    if gold.text != given.text or (gold.unit and given.unit and gold.unit != given.unit):
        return False  # other brackets, another relation, morning and evening
    return _same_in_order(gold.items, given.items, same)


def _same_value(gold: Answer, given: Answer, same: Same, in_percent: bool) -> bool:
    if gold.unit and given.unit and gold.unit != given.unit:
        return False
    if gold.percent and not given.percent:
        return _guarded(gold.text, given.text, same) or _guarded(_hundredth(gold.text), given.text, same)
    if given.percent and not gold.percent and not in_percent:
        return _guarded(gold.text, _hundredth(given.text), same)
    return _guarded(gold.text, given.text, same)


def _guarded(gold: str, given: str, same: Same) -> bool:
    """`same`, except for what algebra would wrongly accept: a sum not yet evaluated, letters in another case."""
    if compact(gold) == compact(given):
        return True
    if UNEVALUATED.search(given) and not UNEVALUATED.search(gold):
        return False
    letters, expected = (set(re.findall("[a-zA-Z]", COMMAND.sub(" ", text))) for text in (given, gold))
    if letters != expected and {c.lower() for c in letters} == {c.lower() for c in expected}:
        return False
    return same(gold, given)


def _same_equation(gold: Answer, given: Answer, same: Same) -> bool:
    """Equality of equations. One may be solved for a letter (`y = 2x`), but a gold value (`x = 5`) is no equation."""
    solved = next((answer for answer in (gold, given) if answer.kind != "equation"), None)
    if solved and (solved.kind != "value" or not solved.name or (solved is gold and not _has_letters(gold.text))):
        return False
    sides = [_difference(_as_equation(answer)) for answer in (gold, given)]
    return _guarded(ZERO_EQUALS + sides[0], ZERO_EQUALS + sides[1], same)


def _as_equation(answer: Answer) -> Answer:
    if answer.kind != "value":
        return answer
    return Answer("equation", items=(Answer("value", answer.name), Answer("value", answer.text)))


def _difference(equation: Answer) -> str:
    left, right = (item.text for item in equation.items)
    return f"{left}-({right})"


def _has_letters(text: str) -> bool:
    return bool(re.search("[a-zA-Z]", COMMAND.sub(" ", text)))


def _same_in_order(gold: Sequence[Answer], given: Sequence[Answer], same: Same) -> bool:
    return len(gold) == len(given) and all(_same_part(a, b, same) for a, b in zip(gold, given, strict=True))


def _same_in_any_order(gold: Sequence[Answer], given: Sequence[Answer], same: Same) -> bool:
    """Each part of the gold is found once. Equality is transitive, so the first match will do."""
    left = list(given)
    for part in gold if len(gold) == len(given) else ():
        found = next((index for index, other in enumerate(left) if _same_part(part, other, same)), None)
        if found is None:
            return False
        del left[found]
    return len(gold) == len(given)


def _same_part(gold: Answer, given: Answer, same: Same) -> bool:
    """Parts that are named must be named on both sides: `x = 1, y = 2` is not `2, 1`."""
    return bool(gold.name) == bool(given.name) and _same(gold, given, same)


def _same_words(gold: Answer, given: Answer) -> bool:
    if gold.items or given.items:
        return False
    texts = [_plain(answer.text) for answer in (gold, given)]
    mixed_case = all(re.search("[a-z]{2}", text) for text in texts)
    upright_word = r"\text" in gold.text and re.search("[a-z]", texts[0]) and len(texts[0]) > 1
    if mixed_case or upright_word:
        texts = [text.casefold() for text in texts]
    return texts[0] == texts[1]


def _plain(text: str) -> str:
    words = re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", text)
    return re.sub(r"\s*([^\w\s])\s*|\s+", lambda blank: blank.group(1) or " ", words).strip(" .")


def _hundredth(text: str) -> str:
    return rf"\frac{{{text}}}{{100}}"


def plainly(gold: str, given: str) -> bool:
    """Equality of two plain rational numbers, exact. NeedsAlgebra if either is something else."""
    numbers = number(gold), number(given)
    if None in numbers:
        raise NeedsAlgebra
    return numbers[0] == numbers[1]


@lru_cache(maxsize=100_000)
def number(text: str) -> Fraction | None:
    r"""The value of an integer, decimal, fraction, mixed number or power of ten; None for anything else."""
    text = compact(text)
    if text.startswith(("-", "+")):
        value = number(text[1:]) if text[1:2] not in ("-", "+") else None
        return None if value is None else -value if text[0] == "-" else value
    if DECIMAL.fullmatch(text):
        return Fraction(Decimal(text))
    if power := POWER_OF_TEN.fullmatch(text):
        return Fraction(Decimal(power.group(1))) * Fraction(10) ** int(power.group(2))
    if text.startswith("(") and closing(text, 0) == len(text):
        whole, plus, rest = text[1:-1].partition("+")
        parts = [number(whole), number(rest)] if plus else [number(whole)]
        return None if None in parts else sum(parts)
    return _fraction(text)


def _fraction(text: str) -> Fraction | None:
    above, _, below = text.partition("/")
    if text.startswith(r"\frac{"):
        end = closing(text, 5)
        if not end or text[end : end + 1] != "{" or closing(text, end) != len(text):
            return None
        above, below = text[6 : end - 1], text[end + 1 : -1]
    elif not (DECIMAL.fullmatch(above) and DECIMAL.fullmatch(below)):
        return None
    parts = number(above), number(below)
    return None if None in parts or not parts[1] else parts[0] / parts[1]


def parts_of(answer: Answer) -> list[str]:
    """Every value of a gold answer that algebra may need to read; empty for words."""
    if answer.kind == "equation":
        return [_difference(answer)]
    return ([answer.text] if answer.kind == "value" else []) + [
        text for item in answer.items for text in parts_of(item)
    ]
