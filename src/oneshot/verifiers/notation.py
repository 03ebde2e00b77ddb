r"""One notation for LaTeX that means the same: `tidy` brings answers to the form in which they are compared.

Only notation is rewritten, never content. Every rule is a row of a table or one small function: characters, spaces,
type, brackets by name, fractions, mixed and repeating numbers, thousands. Upright text becomes `\text{words}`, with
everything else outside of it: `\text{69 or }70` becomes `69 \text{or} 70`.
"""

import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ", "0123456789+-()n", strict=True))
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-", strict=True))
SIGNS = {
    "−": "-",
    "–": "-",
    "×": r"\times ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "∗": r"\cdot ",
    "÷": r"\div ",
    "±": r"\pm ",
    "∓": r"\mp ",
    "≤": r"\le ",
    "⩽": r"\le ",
    "≥": r"\ge ",
    "⩾": r"\ge ",
    "≠": r"\ne ",
    "∞": r"\infty ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∈": r"\in ",
    "∅": r"\emptyset ",
    "°": r"^\circ ",
    "º": r"^\circ ",
    "π": r"\pi ",
    "θ": r"\theta ",
    "α": r"\alpha ",
    "β": r"\beta ",
    "λ": r"\lambda ",
    "≈": r"\approx ",
    "∠": r"\angle ",
    "△": r"\triangle ",
    "…": r"\ldots ",
    "′": "'",
    "≡": r"\equiv ",
    "→": r"\to ",
}
"""Character -> the command that it stands for."""

SPELLINGS = [  # (pattern, replacement): commands that mean the same as another, or nothing
    (r"\\(?:left|right)\s*\.", ""),
    (r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![a-zA-Z])", ""),
    (r"\\lbrace(?![a-zA-Z])", r"\\{"),
    (r"\\rbrace(?![a-zA-Z])", r"\\}"),
    (r"\\[lr]?vert(?![a-zA-Z])", "|"),
    (r"\\lbrack(?![a-zA-Z])", "["),
    (r"\\rbrack(?![a-zA-Z])", "]"),
    (r"\\(?:display|text|script)style(?![a-zA-Z])|\\(?:no)?limits(?![a-zA-Z])", ""),
    (r"\\(?:bf|rm|it|sf|tt|em|bfseries|tiny|small|normalsize|large|Large|LARGE|huge|Huge)(?![a-zA-Z])", " "),
    (r"\\(?:boldsymbol|pmb|bm|underline|uline|mathbf|mathit|mathsf|mathtt|fbox|boxed|ensuremath)(?![a-zA-Z])", ""),
    (r"\\(?:text)?color\s*\{[\w!]*\}", ""),
    (r"\\pounds(?![a-zA-Z])", "£"),
    (r"\\[hv]?phantom\s*(?:\{[^{}]*\}|[^{}\\])|\\hspace\*?\s*\{[^{}]*\}", " "),
    (r"\\(?:[dtc]|nice|s)frac(?![a-z])", r"\\frac"),
    (r"\\\\\s*\[[\d.]+\s*(?:pt|ex|em|mm|cm)\]", r"\\\\\\\\"),
    (r"\\log\s*_\s*(\w)", r"\\log_{\1}"),
    (r"\\varnothing(?![a-zA-Z])|\\\{\s*\\\}", r"\\emptyset "),
    (r"\\leq?(?:slant)?(?![a-zA-Z])|<=", r"\\le "),
    (r"\\geq?(?:slant)?(?![a-zA-Z])|>=", r"\\ge "),
    (r"\\lt(?![a-zA-Z])", "<"),
    (r"\\gt(?![a-zA-Z])", ">"),
    (r"\\neq?(?![a-zA-Z])|!=|\\not\s*=", r"\\ne "),
    (r"\\(?:[lc]?dots[cb]?)(?![a-zA-Z])|\.\.\.+", r"\\ldots "),
    (r"\\ast(?![a-zA-Z])|\*", r"\\cdot "),
    (r"(?<![\\a-zA-Z])pi(?![a-zA-Z])", r"\\pi "),
    (r"√\s*(\d+|[a-zA-Z])", r"\\sqrt{\1}"),
    (r"√|\\?(?<![a-zA-Z])sqrt(?![a-zA-Z])", r"\\sqrt"),
    (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"\\sqrt\s*([0-9a-zA-Z]|\\(?!frac|sqrt)[a-zA-Z]+)", r"\\sqrt{\1}"),
    (r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![a-z])|\\degree(?![a-zA-Z])", r" \\text{degrees}"),
    (r"\\text\{degrees\}\s*([CF])(?![a-zA-Z])", r"\\text{degrees \1}"),
    (r"\\begin\{(\w+)\*?\}(?:\{[lcr|]*\})?((?:(?!\\begin|\\\\)[^&])*)\\end\{\1\*?\}", r"\2"),
]
NAMES = [(re.compile(pattern), replacement) for pattern, replacement in SPELLINGS]
TEXT = re.compile(r"\\(text[a-z]*|math(?:rm|up)|mbox|hbox|operatorname\*?|emph)\s*\{([^{}]*)\}")
WORDS = re.compile(r"(?<![^\W_])[^\W\d_]+(?:(?:\.?[ '’/-]\s*|\.)[^\W\d_]+)*(?![^\W_])\.?")
CONSTANTS = {"e", "i", "d"}
TRIGONOMETRIC = {"sin", "cos", "tan", "cot", "sec", "csc"}
FUNCTIONS = (TRIGONOMETRIC - {"sec"}) | {"arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "ln", "log", "exp"}
OPERATORS = {"gcd", "lcm", "max", "min", "det", "sec"}
"""Upright without `\\operatorname`, these may be words: a minute, a second."""
IN_DEGREES = re.compile(
    rf"(\\(?:{'|'.join(TRIGONOMETRIC)}))\s*(?P<open>[({{])?\s*([\d.]+)\s*\\text\{{degrees\}}(?(open)\s*[)}}])"
)
THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:(?:\{,\}|,\\!|\\[,;: !]|~| )\d{3})+(?!\d|\s*/)")
PARTED = re.compile(r"(?<![_^\d.])([\d.]+)\s+(?=[\d.])")
"""Two numbers with only a blank between them; not the base and the number of a logarithm."""
SPACES = re.compile(r"(?<!\\)\\[,;:!> ]|\\(?:enspace|thinspace|medspace|thickspace|hfill)(?![a-zA-Z])|~|\s+")


@lru_cache(maxsize=20_000)
def tidy(text: str) -> str:
    """The same answer in the notation in which answers are compared."""
    if text.isdigit() and text.isascii():
        return text
    text = _doubled_backslashes(text if text.isascii() else _characters(text))
    text = THOUSANDS.sub(lambda number: re.sub(r"\D", "", number.group()), re.sub(r"(?<!\\)\$", "", text))
    text = re.sub(r"(?<=\d)\{,\}(?=\d)", ".", text)
    text = re.sub(r"\\qquad|\\quad", r"\\quad ", SPACES.sub(_blank, text))
    for pattern, replacement in NAMES:
        text = pattern.sub(replacement, text)
    text = _brace_fractions(_upright(text))
    text = IN_DEGREES.sub(r"\1(\\frac{\3\\pi}{180})", text)
    return _trim(_numbers(text))


def _characters(text: str) -> str:
    text = _runs(text, SUPERSCRIPTS, "^")
    text = _runs(text, SUBSCRIPTS, "_")
    text = re.sub(r"(\d*)\s*([¼-¾⅐-⅞])", _vulgar_fraction, text)
    for character, command in SIGNS.items():
        text = text.replace(character, command)
    return unicodedata.normalize("NFKC", text).replace("−", "-").replace("⁄", "/")


def _runs(text: str, table: dict[str, str], mark: str) -> str:
    def braced(run: re.Match) -> str:
        characters = "".join(table[character] for character in run.group())
        return mark + (characters if len(characters) == 1 else f"{{{characters}}}")

    return re.sub(f"[{''.join(table)}]+", braced, text)


def _vulgar_fraction(match: re.Match) -> str:
    above, below = unicodedata.normalize("NFKC", match.group(2)).split("⁄")
    fraction = rf"\frac{{{above}}}{{{below}}}"
    return f"({match.group(1)}+{fraction})" if match.group(1) else fraction


def _doubled_backslashes(text: str) -> str:
    r"""Drop a `\\` at the end, and undo the double escape of `\\frac` except in a matrix, where `\\` separates rows."""
    text = re.sub(r"(?:\\\\)+\s*$", "", text)
    return text if r"\begin" in text else re.sub(r"\\\\(?=[a-zA-Z])", r"\\", text)


def _blank(space: re.Match) -> str:
    return "" if space.group() == r"\!" else " "


def _upright(text: str) -> str:
    r"""Upright words as `\text{words}`, functions and the constants e, i and d as mathematics, the rest unchanged."""
    for _ in range(3):  # groups may be nested
        text = TEXT.sub(_upright_group, text)
    return text


def _upright_group(group: re.Match) -> str:
    command, content = group.group(1), group.group(2).strip()
    if content in CONSTANTS:
        return content
    if (content in FUNCTIONS and command != "text") or (content in OPERATORS and command.startswith("operatorname")):
        return f"\\{content} "
    words = WORDS.sub(lambda words: r"\text{" + words.group() + "}", content)
    return f" {words} "


def _brace_fractions(text: str) -> str:
    r"""Add the braces that `\frac12` and `\frac\pi 2` leave out."""
    token = r"\s*([0-9a-zA-Z]|\\(?!frac|sqrt)[a-zA-Z]+)"
    text = re.sub(rf"\\frac{token}", r"\\frac{\1}", text)
    for match in reversed(list(re.finditer(r"\\frac\s*(?=\{)", text))):
        end = closing(text, match.end())
        second = re.compile(token).match(text, end) if end else None
        if second:
            text = f"{text[:end]}{{{second.group(1)}}}{text[second.end() :]}"
    return text


def closing(text: str, start: int) -> int:
    """The index after the last bracket of the group that opens at `start`; 0 if it never closes."""
    depth = 0
    for index in range(start, len(text)):
        depth += text[index] in "([{"
        depth -= text[index] in ")]}"
        if not depth:
            return index + 1
    return 0


def _numbers(text: str) -> str:
    """Repeating decimals and mixed numbers as sums of fractions, 1.2e6 as a product."""
    text = re.sub(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*(?:\{(\d+)\}|(\d))", _repeating, text)
    text = re.sub(r"(?<![\d.}/^_a-zA-Z])(\d+)\s*\\frac\{(\d+)\}\{(\d+)\}(?!!)", r"(\1+\\frac{\2}{\3})", text)
    text = re.sub(r"(?<![\d.}/^_a-zA-Z])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])", r"(\1+\\frac{\2}{\3})", text)
    return re.sub(r"(?<![a-zA-Z\\])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?!\w)", r"\1\\cdot 10^{\2}", text)


def _repeating(match: re.Match) -> str:
    whole, once, again = match.group(1) or "0", match.group(2), match.group(3) or match.group(4)
    value = Fraction(int(whole + once + again) - int(whole + once), (10 ** len(again) - 1) * 10 ** len(once))
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _trim(text: str) -> str:
    """Remove what surrounds an answer: blanks, a full stop, braces, a sign of rounding, a number sign."""
    steps: list[Callable[[str], str]] = [
        str.strip,
        lambda text: re.sub(r"^(?:\\quad\s*)+|(?:\s*\\quad)+$", "", text),
        lambda text: re.sub(r"^(?:\\approx|\\therefore|=|\\#)\s*", "", text),
        lambda text: text[:-1] if text.endswith((".", ";")) and not text.endswith(r"\;") else text,
        lambda text: text[1:-1] if text.startswith("{") and closing(text, 0) == len(text) else text,
    ]
    before = None
    while text != before:
        before = text
        for step in steps:
            text = step(text)
    return re.sub(r"\s+", " ", text)


def compact(text: str) -> str:
    """Without blanks, except for a wide one between two numbers."""
    return PARTED.sub(r"\1\\quad ", text).replace(" ", "")
