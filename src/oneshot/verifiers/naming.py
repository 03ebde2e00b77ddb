r"""What a value is called: `x = 5`, `P(A) = \frac16`, `\text{Area} = 24`, `\text{Answer: } 7`.

A name is made of letters. Arithmetic in front of a sign makes a chain (`69 = 70`); a coefficient or a power makes an
equation that is not solved (`2x = 70`); words that negate or change what follows are no name.
"""

import re

from oneshot.verifiers.notation import compact
from oneshot.verifiers.units import WORD

EQUALS = re.compile(r"(?<![<>:!])=(?!=)")
NAMING = re.compile(rf"{EQUALS.pattern}|\\in(?![a-zA-Z])")
NAME_PARTS = [  # what a name may contain besides letters: (pattern, replacement)
    (WORD, ""),
    (r"_(?:\{\w+\}|\w)|\^\{?-1\}?|'", ""),
    (r"(?<=[a-zA-Z])\s*\([^()]*(?:\([^()]*\))?[^()]*\)", ""),
    (r"\\[a-zA-Z]+", "x"),
]
NOT_IN_NAMES = re.compile(r"\\(?:sqrt|ln|log|exp|sum|prod|int|ne|lim)(?![a-zA-Z])")
CHANGING = """
    about cube double either except false half if incorrect inverse least less maybe minus more most negation negative
    neither never no nor not opposite or reciprocal root square squared times triple twice unless when without wrong
"""
"""Words that negate or change the value that follows them."""
LEAD_IN = re.compile(rf"\s*{WORD}\s*:(?!\s*$)|\s*\\text\{{(?:[Tt]he )?(?:final |Final )?[Aa]nswer(?: is)?\}}(?!\s*$)")


def without_lead_in(text: str) -> str:
    """A part without a leading `the answer is`, or words and a colon."""
    lead = LEAD_IN.match(text)
    return LEAD_IN.sub("", text) if lead and may_name(lead.group(1) or "") else text


def split_name(text: str) -> tuple[str, str]:
    r"""(name, rest) of `name = rest` or `name \in rest`; no name if the left side is arithmetic or an equation."""
    signs = outer_signs(text)
    if len(signs) != 1:
        return "", text
    left, right = text[: signs[0].start()], text[signs[0].end() :].strip()
    words = re.findall(WORD, left)
    if not right or left.lstrip().startswith("-") or not all(map(may_name, words)) or NOT_IN_NAMES.search(left):
        return "", text
    for pattern, replacement in NAME_PARTS:
        left = re.sub(pattern, replacement, left)
    if re.search(r"[\d!^]", left) or not (words or re.search("[a-zA-Z]", left)):
        return "", text
    return compact(text[: signs[0].start()]), right


def outer_signs(text: str) -> list[re.Match]:
    """Signs of equality and of membership outside all brackets."""
    return [sign for sign in NAMING.finditer(text) if not depth_behind(text[: sign.start()])]


def depth_behind(text: str) -> int:
    """The number of brackets that a text leaves open."""
    return sum((character in "([{") - (character in ")]}") for character in text)


def may_name(words: str) -> bool:
    """Whether words can name a value."""
    return not set(CHANGING.split()) & set(words.casefold().split()) and len(words.split()) <= 6
