r"""The answer in a completion, and what can be settled about it without algebra.

The answer is the content of the last closed `\boxed{…}` after the last `</think>`, and of boxes right beside it:
nothing else in a completion is read. `settle` then compares it with the gold as text and as plain numbers, refuses
what computer algebra is known to wave through (equation chains, dropped bases, other units, other letter case, other
brackets), and writes the rest in a form that computer algebra reads rightly.
"""

import re
import unicodedata
from decimal import Decimal

MAX_CHARACTERS = 300
MAX_NESTING = 20
HEDGE_CHARACTERS = 40
"""Boxes this close together are given as answers together; further back, they are work."""
MAX_ANSWERS = 4

BOX = re.compile(r"\\boxed\s*\{")
INTEGER = re.compile(r"[+-]?\d+")
DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)")
TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox|operatorname)\s*\{([^{}]*)\}")
COMMAND = re.compile(r"\\[a-zA-Z]+")
WORDS = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z.]{2,}\s*$")
BASE = re.compile(r"_\{?(\d+)\}?$")
UNEVALUATED = re.compile(r"\\(?:sum|prod|int|lim|binom|dbinom|tbinom|max|min|gcd|lcm)(?![a-zA-Z])")
CONSTANTS = {"e", "i", "E", "I"}


def final_answers(completion: str) -> list[str]:
    r"""The last closed `\boxed{…}` and those that stand close before it (`… or …`): all of them must be right.

    Empty without a box, or if one of them is empty, too long or too deep. One pass over the text, however long it is.
    """
    answers: list[str] = []
    next_start = None
    for start, content, end in reversed(_closed_boxes(completion.rpartition("</think>")[2])):
        if len(answers) > MAX_ANSWERS or (next_start is not None and next_start - end >= HEDGE_CHARACTERS):
            break
        answers.insert(0, content.strip())
        next_start = start
    fit = all(answer and len(answer) <= MAX_CHARACTERS and _nesting(answer) <= MAX_NESTING for answer in answers)
    return answers if fit and len(answers) <= MAX_ANSWERS else []


def _closed_boxes(text: str) -> list[tuple[int, str, int]]:
    """(start, content, end) of every outermost box whose brace is closed."""
    openings = {match.end() - 1: match.start() for match in BOX.finditer(text)}
    stack: list[int] = []
    boxes: list[tuple[int, str, int]] = []
    for match in re.finditer(r"\\[{}]|[{}]", text) if openings else ():
        if match.group() == "{":
            stack.append(match.start())
        elif match.group() == "}" and stack:
            brace = stack.pop()
            if brace in openings:
                while boxes and boxes[-1][0] > openings[brace]:
                    boxes.pop()  # boxed within this one
                boxes.append((openings[brace], text[brace + 1 : match.start()], match.end()))
    return boxes


def settle(gold: str, answer: str) -> bool | tuple[str, str]:
    """True or False where text, plain numbers or a guard decide; else both, rewritten, for computer algebra."""
    gold, answer = tidy(gold), tidy(answer)
    if not answer or any(character.isdigit() and not character.isascii() for character in answer):
        return False
    if _compact(gold) == _compact(answer):
        return True
    if (base := _base(gold)) != _base(answer):
        return False
    if base:
        return _same_number(gold[: gold.rindex("_")], answer[: answer.rindex("_")]) is True
    gold, answer = _without_units(gold, answer)
    if gold is None or _refused(gold, answer):
        return False
    if _compact(gold) == _compact(answer):
        return True
    same = _same_number(gold, answer)
    return (gold, answer) if same is None else same


def tidy(text: str) -> str:
    """Notation that says the same in fewer ways: spaces, thousands, dollars, colours, roots, mixed numbers, 1.2e6."""
    text = unicodedata.normalize("NFKC", text).replace("−", "-").replace("–", "-").replace("×", r"\times ")
    text = re.sub(r"√\s*(\d+|\{[^{}]*\}|\([^()]*\)|[a-zA-Z])", r"\\sqrt{\1}", text).replace("π", r"\pi ")
    text = re.sub(
        r"\\color\{\w*\}|\\textcolor\{\w*\}|\\displaystyle|\\left(?![a-z])|\\right(?![a-z])|\\\$|\$", "", text
    )
    text = re.sub(r"\\[dt]frac(?![a-z])", r"\\frac", text)
    text = re.sub(r"(?<=\d)(?:\{,\}|,\\!|\\,|\\ )(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"\\[,;:!]|\\quad|~", " ", text)
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", text.strip()):
        text = text.replace(",", "")
    text = re.sub(r"\^\{?\\circ\}?|\\degree|°", r" \\text{degrees}", text)
    text = re.sub(r"^\s*\\approx", "", text).strip().rstrip(".").strip()
    text = re.sub(r"^\{([^{}]*)\}$|^\\text\{([^{}]*)\}$", r"\1\2", text).strip()
    if mixed := re.fullmatch(r"([+-]?)(\d+)\s+(\d+)\s*/\s*(\d+)", text):
        sign, whole, above, below = mixed.groups()
        text = f"{sign}({whole}+\\frac{{{above}}}{{{below}}})"
    return re.sub(r"(?<![a-zA-Z\\])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?!\w)", r"\1\\times 10^{\2}", text)


def _refused(gold: str, answer: str) -> bool:
    """What computer algebra would accept and should not."""
    if "=" in answer and "=" not in gold:
        left, _, right = answer.partition("=")
        if "=" in right or not re.fullmatch(r"[a-zA-Z](_\{?\w+\}?)?(\([a-z]\))?|\\[a-z]+", left.strip()):
            return True
    if (":" in gold) != (":" in answer) or _outer(gold) != _outer(answer):
        return True
    if _elements(gold).count(r"\{") != _elements(answer).count(r"\{"):
        return True
    if UNEVALUATED.search(answer) and not UNEVALUATED.search(gold):
        return True
    letters, expected = _letters(answer), _letters(gold)
    return letters != expected and {c.lower() for c in letters} == {c.lower() for c in expected}


def _elements(text: str) -> str:
    """A set without its outer braces: a list says the same."""
    return text[2:-2] if text.startswith(r"\{") and text.endswith(r"\}") else text


def _outer(text: str) -> str:
    r"""The brackets around a tuple, set or interval; a list without any counts as a set, a lone value has none.

    Brackets are only told apart where a comma shows that they enclose a collection.
    """
    depth, commas = 0, 0
    body = text.split("=")[-1].strip()
    for character in body:
        depth += (character in "([{") - (character in ")]}")
        commas += character == "," and depth <= 1
    if not commas or r"\begin" in body or r"\cup" in body:
        return ""
    kind = body[0] + body[-1] if body[0] in "([" else "{}"
    return "{}" if kind not in ("()", "[]", "(]", "[)") else kind


def _without_units(gold: str, answer: str) -> tuple[str | None, str]:
    """Both without units and percent signs; None if they name different units. One side may leave its unit out."""
    expected, given = _units(gold), _units(answer)
    if expected and given and expected != given:
        return None, answer
    if "percent" in given and "percent" not in expected:
        return gold, f"({_strip_units(answer)})/100"
    return (_strip_units(gold) or gold, _strip_units(answer) or answer) if _strip_units(gold) else (gold, answer)


def _units(text: str) -> str:
    words = [word.strip().lower() for word in TEXT.findall(text)]
    words += [match.group().strip().lower() for match in [WORDS.search(text)] if match]
    if re.search(r"\\?%", text):
        words.append("percent")
    return " ".join(re.sub(r"[^a-z]|(?<=ch)es$|s$", "", word) for word in words if re.search("[a-z]", word))


def _strip_units(text: str) -> str:
    stripped = WORDS.sub("", TEXT.sub("", re.sub(r"\\?%", "", text)))
    stripped = re.sub(r"\^\{?[23]\}?\s*$", "", stripped) if TEXT.search(text) and stripped != text else stripped
    return stripped.strip()


def _same_number(gold: str, answer: str) -> bool | None:
    """Equality of plain integers and decimals, exact; None where either is something else."""
    texts = [re.sub(r"\s", "", text) for text in (gold, answer)]
    if not all(DECIMAL.fullmatch(text) for text in texts):
        return None
    return Decimal(texts[0]) == Decimal(texts[1])


def _base(text: str) -> str:
    match = BASE.search(text)
    return match.group(1) if match and re.match(r"[+-]?[\dA-F.]+_", text) else ""


def _letters(text: str) -> set[str]:
    return set(re.findall(r"[a-zA-Z]", COMMAND.sub(" ", TEXT.sub(" ", text)))) - CONSTANTS


def _compact(text: str) -> str:
    return re.sub(r"\s", "", text)


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest
