r"""What an answer is: a value, words, a list, a tuple or interval, a union, an equation.

`read` takes an answer apart as far as this needs no algebra. Its rules:

| written | read as |
|---|---|
| `a, b`  `a; b`  `a \text{ and } b`  `a \text{ or } b`  `\{a, b\}` | one list; in order only if of words |
| `(a, b)`  `[a, b)`  `a < x \le b`  `x \in (a, b]` | brackets and ends, in order |
| `x < a \text{ or } x > b`  `I \cup J` | a union |
| `x = 5`  `AB = 5`  `P(A) = 5`  `\text{Area} = 5`  `m + n = 5` | 5, with a name; two names must agree |
| `69 = 70`  `x = y = 70`  `2x = 70`  `x^2 = 9` | no value: an equation, or a chain that equals only itself |
| `a \pm b` | the two values, if there is one `\pm` |
| `10,000` | a number, if no blank follows the comma; in brackets, two numbers |
| `(C)`  `\text{C}`  `C` | the letter, and only the letter: neither c nor the number e |
| words, dots, digits separated by blanks | themselves |
"""

import re
from dataclasses import dataclass, replace

from oneshot.verifiers.naming import depth_behind, outer_signs, split_name, without_lead_in
from oneshot.verifiers.notation import PARTED, closing, compact, tidy
from oneshot.verifiers.units import split_unit

THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)")
BASE = re.compile(r"([+-]?)\(?([0-9A-Z.]+(?: [0-9A-Z.]+)*)\)?\s*_\s*\{?(\d+)\}?")
CONJUNCTION = re.compile(
    r",?\s*(?:\\quad\s*)*(?:\\text\{(and|or)\}|(?<![a-zA-Z\\])(and|or)(?![a-zA-Z]))\s*(?:\\quad\s*)*"
)
ORDER = re.compile(r"(\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])|<|>)")
OTHER_SIGNS = re.compile(
    r"\\(?:not|to|notin|equiv|sim|approx|mid|perp|parallel|cap|setminus|mathbb|forall|subset\w*)\b|\\ldots"
)
CHOICE = re.compile(r"(?:(?:\\text\{)?(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\}?\s*)?\(?([A-Za-z])[).]?\}?")
WORDS = re.compile(r"\\text\b|^[A-Z]{2,}$|^[A-Z][a-z]{2,}$")
"""Upright text that is no unit, names of points, and capitalised words."""


@dataclass(frozen=True)
class Answer:
    """One answer or a part of one. `text` is a value in LaTeX, or the words; `items` are the parts."""

    kind: str
    text: str = ""
    items: tuple["Answer", ...] = ()
    name: str = ""
    unit: str = ""
    percent: bool = False


def read(text: str) -> Answer:
    """The answer that a text gives. Never raises: what is no answer, or cannot be taken apart, has kind `nothing`."""
    try:
        return take_apart(text)
    except Exception:  # a model wrote it; a gold answer that comes to this is reported as unreadable
        return Answer("nothing")


def take_apart(text: str) -> Answer:
    """`read`, except that errors are raised."""
    text = tidy(text)
    if not text or any(character.isdigit() and not character.isascii() for character in text):
        return Answer("nothing")
    text = THOUSANDS.sub(lambda number: _outside(text, number), text)
    parts, conjunctions = _split(text)
    if len(parts) == 1:
        answer = _single(parts[0])
        return answer.items[0] if answer.kind == "list" and len(answer.items) == 1 else answer
    name, parts = _name_of_list(parts)
    items = tuple(item for part in parts for item in _plus_minus(part))
    if conjunctions == {"or"} and {(item.kind, item.name) for item in items} == {("pair", items[0].name or "-")}:
        return Answer("union", items=tuple(replace(item, name="") for item in items), name=items[0].name)
    if "and" in conjunctions and any(ORDER.search(part) for part in parts):
        return Answer("words", text)  # both at once: not the values of a list
    return replace(_listed(items), name=name)


def _in_base(sign: str, digits: str, base: str) -> Answer:
    digits = digits.replace(" ", "").lstrip("0") or "0"
    if base == "10" and digits.isdigit():
        return Answer("value", sign + digits)
    if re.search("[A-Z]", digits) and int(base[:3]) < 11:
        return Answer("value", f"{sign}{digits}_{{{base}}}")
    return Answer("base", f"{sign}{digits}_{base}")


def _outside(text: str, number: re.Match) -> str:
    """A number without the commas of its thousands, unless a bracket is open."""
    before = re.sub(r"(?<!\\)[{}]", "", text[: number.start()])
    return number.group() if depth_behind(before) else number.group().replace(",", "")


def _split(text: str) -> tuple[list[str], set[str]]:
    """(parts between commas, semicolons, wide blanks, `and` and `or` outside brackets; which of the words are used)."""
    parts, depth, start, index, used = [], 0, 0, 0, set()
    while index < len(text):
        conjunction = CONJUNCTION.match(text, index) if not depth else None
        wide = 5 if not depth and text.startswith(r"\quad", index) else 0
        if conjunction or wide or (not depth and text[index] in ",;"):
            parts.append(text[start:index])
            used |= {conjunction.group(1) or conjunction.group(2)} if conjunction else set()
            index = start = conjunction.end() if conjunction else index + max(wide, 1)
            continue
        depth += (text[index] in "([{") - (text[index] in ")]}")
        index += 1
    parts.append(text[start:])
    kept = [part.strip() for part in parts]
    return ([part for part in kept if part] if r"\quad" in text else kept), used


def _name_of_list(parts: list[str]) -> tuple[str, list[str]]:
    """(name, parts): `x = 1, x = -2`, `x = 1, -2` and `x_1 = 1, x_2 = -2` have one name; else names stay in parts."""
    halves = [split_name(part) for part in parts]
    names = [re.sub(r"_\{?\w+\}?", "", name) for name, _ in halves]
    if names[0] and all(name in ("", names[0]) for name in names):
        return names[0], [body for _, body in halves]
    return "", parts


def _listed(items: tuple[Answer, ...]) -> Answer:
    words = all(item.kind in ("words", "letter") for item in items)
    return Answer("sequence" if words else "list", items=items)


def _plus_minus(text: str) -> list[Answer]:
    if text.count(r"\pm") != 1 or text.startswith("\\{"):
        return [_single(text)]
    signs = ("+", "-"), ("-", "+")
    return [_single(re.sub(r"^\+\s*", "", text.replace(r"\pm", a).replace(r"\mp", b))) for a, b in signs]


def _single(text: str) -> Answer:
    """One part that no comma divides."""
    text = without_lead_in(text)
    name, body = split_name(text)
    if body.count(r"\pm") == 1 and not body.startswith("\\{"):
        return replace(_listed(tuple(_plus_minus(body))), name=name)
    if name:
        return replace(_body(body), name=name)
    signs = outer_signs(text)
    if not signs:
        return _body(text)
    if len(signs) > 1 or "=" not in signs[0].group() or not re.search("[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", text)):
        return Answer("words", text)
    sides = text[: signs[0].start()], text[signs[0].end() :]
    return Answer("equation", items=tuple(Answer("value", side.strip()) for side in sides))


def _body(text: str) -> Answer:
    """A part without its name."""
    text = tidy(text)
    if (base := BASE.fullmatch(text)) and re.search(r"\d", base.group(2)):
        return _in_base(*base.groups())
    if OTHER_SIGNS.search(text) or PARTED.search(text):
        return Answer("words", text)
    if ORDER.search(text) or r"\ne " in text + " ":
        return _inequality(text)
    if r"\cup" in text:
        return Answer("union", items=tuple(_body(part) for part in text.split(r"\cup")))
    if matrix := re.fullmatch(r"\[?\s*\\begin\{(?:[pbB]?matrix|array)\}(?:\{[lcr|]*\})?(.*?)\\end\{\w+\}\s*\]?", text):
        return replace(_matrix(matrix.group(1)), text=text)
    if inner := _inside(text):
        return _bracketed(text, inner)
    if ":" in text:
        value, unit = split_unit(text)
        return Answer("ratio", items=tuple(_value(part.strip()) for part in value.split(":")), unit=unit)
    return _value(text)


def _inside(text: str) -> str:
    r"""The content of brackets around the whole text; `\{` and `\langle` are brackets too."""
    if not text:
        return ""
    start = 1 if text.startswith("\\{") else 0
    if text[start] in "([{" and closing(text, start) == len(text):
        return text[start + 1 : -2 if text.endswith("\\}") else -1].strip()
    return ""


def _bracketed(text: str, inner: str) -> Answer:
    parts, _ = _split(inner)
    kind = ("{" if text.startswith("\\{") else text[0]) + text[-1]
    if len(parts) == 1 and kind == "()":
        return _single(parts[0])
    if kind == "{}":
        return _listed(tuple(item for part in parts for item in _plus_minus(part)))
    if len(parts) == 1:
        return Answer("words", text)
    return Answer("pair" if len(parts) == 2 else "tuple", kind, tuple(_single(part) for part in parts))


def _matrix(content: str) -> Answer:
    rows = [row.split("&") for row in re.split(r"\\\\", content) if row.strip()]
    return Answer(
        "matrix", items=tuple(Answer("row", items=tuple(_single(tidy(cell)) for cell in row)) for row in rows)
    )


def _inequality(text: str) -> Answer:
    r"""`a < x \le b` as an interval named x; with algebra on both sides, or `\ne`, a relation of its sides."""
    if r"\ne" in text:
        sides = [part.strip() for part in re.split(r"\\ne(?![a-zA-Z])", text)]
        return Answer("relation", "!=", tuple(Answer("value", side) for side in sides))
    parts = [part.strip() for part in ORDER.split(text)]
    if len(parts) not in (3, 5) or not all(parts):
        return Answer("words", text)
    if parts[1] in (">", r"\ge"):
        parts = [{">": "<", r"\ge": r"\le"}.get(part, part) for part in reversed(parts)]
    if any(sign in (">", r"\ge") for sign in parts[1::2]):
        return Answer("words", text)
    if len(parts) == 5 and split_name(f"{parts[2]}=0")[0]:
        low, left, variable, right, high = parts
    elif len(parts) == 3 and split_name(f"{parts[0]}=0")[0]:
        low, left, variable, right, high = r"-\infty", "<", *parts
    elif len(parts) == 3 and split_name(f"{parts[2]}=0")[0]:
        low, left, variable, right, high = *parts, "<", r"\infty"
    else:
        return Answer("relation", parts[1], tuple(Answer("value", part) for part in parts[::2]))
    kind = ("(" if left == "<" else "[") + (")" if right == "<" else "]")
    return Answer("pair", kind, (_value(low), _value(high)), name=compact(variable))


def _value(text: str) -> Answer:
    """One value with its unit, one letter, or words."""
    percent = re.search(r"\s*(?:\\?%|\\text\{(?:percent|per cent|pct)\}|(?<=\d)\s*percent)\s*$", text)
    value, unit = split_unit(text[: percent.start()] if percent else text)
    value = re.sub(r"\\text\{([^\W\d_])\}", r"\1", value).strip().removeprefix("+").strip()
    letter = CHOICE.fullmatch(value)
    if letter and letter.group(1) not in "ei" and not unit and not percent:
        return Answer("letter", letter.group(1))
    if WORDS.search(value) or not value:
        return Answer("words", text) if text else Answer("nothing")
    if value in (r"\emptyset",):
        return Answer("words", value)
    return Answer("value", value, unit=unit, percent=bool(percent))
