"""Comparison of plain values and of printed text with what was expected, on the trusted side.

Values are built-in types by construction (`oneshot.sandbox.encoding.decode`), so no `__eq__` of a program is ever run.
"""

import json
import math
import re
from collections import deque
from decimal import Decimal
from fractions import Fraction
from functools import partial

from oneshot.sandbox.encoding import Other, decode

FLOAT_TOLERANCE = 1e-6
"""Absolute, next to 1e-7 relative: EvalPlus's, applied if the expected value is a float."""
PRINTED = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
"""A printed number: ASCII digits, no underscores, no infinities."""
MAX_NUMBER_CHARACTERS = 1000


class Malformed(ValueError):
    """The payload of an answer is not in the sandbox's encoding."""


def read_value(payload: bytes):
    """The value that a program returned. Raises Malformed for anything that `encode` would not have written."""
    try:
        return decode(json.loads(payload))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ArithmeticError) as error:
        raise Malformed(str(error)) from error


def same_value(expected, actual, tolerance: float = FLOAT_TOLERANCE, *, tuples_are_lists: bool = False) -> bool:
    """Equal as values of the same kind: True is not 1, a tuple is no list, 2.0 is 2, floats agree within `tolerance`.

    `tuples_are_lists` is for expected values from JSON, which has no tuples and only text keys: the key "0" then also
    matches the whole number 0. NaN matches only an expected NaN.
    """
    same = partial(same_value, tolerance=tolerance, tuples_are_lists=tuples_are_lists)
    if _is_number(expected):
        return _is_number(actual) and _close(expected, actual, tolerance)
    if isinstance(expected, (list, tuple, deque)):
        alike = type(expected) is type(actual) or (tuples_are_lists and isinstance(actual, (list, tuple)))
        return alike and len(expected) == len(actual) and all(map(same, expected, actual))
    if isinstance(expected, dict):
        if tuples_are_lists and isinstance(actual, dict):
            actual = _as_json_has_it(expected, actual)
        if not isinstance(actual, dict) or _strict(set(expected)) != _strict(set(actual)):
            return False
        return all(same(expected[key], actual[key]) for key in expected)
    if isinstance(expected, (set, frozenset)):
        return isinstance(actual, (set, frozenset)) and _strict(expected) == _strict(actual)
    return type(expected) is type(actual) and not isinstance(actual, Other) and expected == actual


def same_text(expected: str, actual: str, tolerance: float = 0.0) -> bool:
    """Printed output, by LiveCodeBench's rules: blanks around lines and empty lines around the whole do not count.

    In lines of numbers alone, notation and spacing may differ (1.50 is 1.5, 2.0 is 2). In other lines, only numbers
    with a decimal point may be written differently. If such a number is expected, `tolerance` applies, absolute or
    relative; whole numbers must always be exact.
    """
    lines = [[line.strip() for line in text.strip().split("\n")] for text in (expected, actual)]
    if lines[0] == lines[1]:
        return True
    return len(lines[0]) == len(lines[1]) and all(map(partial(_same_line, tolerance=tolerance), *lines))


def _same_line(expected: str, actual: str, tolerance: float) -> bool:
    if expected == actual:
        return True
    words = expected.split(), actual.split()
    if len(words[0]) != len(words[1]):
        return False
    numbers_alone = all(map(PRINTED.fullmatch, words[0]))
    if not numbers_alone and re.findall(r"\s+", expected) != re.findall(r"\s+", actual):
        return False
    return all(
        wanted == word or ((numbers_alone or "." in wanted) and _same_number(wanted, word, tolerance))
        for wanted, word in zip(*words, strict=True)
    )


def _same_number(expected: str, actual: str, tolerance: float) -> bool:
    """Equal as decimals, exactly or, where `expected` has a decimal point, within the tolerance."""
    if max(len(expected), len(actual)) > MAX_NUMBER_CHARACTERS:
        return False
    if not (PRINTED.fullmatch(expected) and PRINTED.fullmatch(actual)):
        return False
    wanted, number = Decimal(expected), Decimal(actual)
    near = bool(tolerance) and "." in expected
    return wanted == number or (near and abs(wanted - number) <= Decimal(tolerance) * max(1, abs(wanted)))


def _is_number(value) -> bool:
    return isinstance(value, (int, float, complex, Fraction)) and not isinstance(value, bool)


def _close(expected, actual, tolerance: float) -> bool:
    if expected == actual:
        return True
    if isinstance(expected, (int, Fraction)) or isinstance(actual, complex) != isinstance(expected, complex):
        return False
    if isinstance(expected, complex):
        return _close(expected.real, actual.real, tolerance) and _close(expected.imag, actual.imag, tolerance)
    if math.isnan(expected):
        return isinstance(actual, float) and math.isnan(actual)
    if isinstance(actual, (int, Fraction)) and abs(actual) > 1e300:
        return False
    return math.isclose(expected, actual, rel_tol=1e-7, abs_tol=tolerance)


def _as_json_has_it(expected: dict, actual: dict) -> dict:
    """A dict with its keys as JSON would write them, if they stay distinct and are those expected; else unchanged."""
    written = {_json_key(key): value for key, value in actual.items()}
    return written if len(written) == len(actual) and written.keys() == expected.keys() else actual


def _json_key(key):
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    return str(key) if isinstance(key, int) and abs(key) < 1 << 64 else key


def _strict(value):
    """A hashable stand-in under which True differs from 1."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, tuple):
        return tuple(map(_strict, value))
    if isinstance(value, (set, frozenset)):
        return frozenset(map(_strict, value))
    return value
