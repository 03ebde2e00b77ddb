"""Is this what was expected? Comparison of plain values and of printed text, on the trusted side.

Values are built-in types by construction (`oneshot.sandbox.zygote.decode`), so no `__eq__` of a program is ever run.
"""

import json
import math
from collections import deque
from decimal import Decimal, InvalidOperation
from functools import partial

from oneshot.sandbox.zygote import Other, decode

FLOAT_TOLERANCE = 1e-6
"""Absolute, beside 1e-7 relative: EvalPlus's, applied where the expected value is a float."""


class Malformed(ValueError):
    """The payload of an answer is not in the sandbox's encoding."""


def read_value(payload: bytes):
    """The value a program returned. Malformed for anything the far side's `encode` would not have written."""
    try:
        return decode(json.loads(payload))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise Malformed(str(error)) from error


def same_value(expected, actual, tolerance: float = FLOAT_TOLERANCE, *, tuples_are_lists: bool = False) -> bool:
    """Equal as values of the same kind: True is not 1, a tuple no list, 2.0 is 2, floats within `tolerance`.

    `tuples_are_lists` is for expected values out of JSON, which knows no tuples. NaN matches only an expected NaN.
    """
    same = partial(same_value, tolerance=tolerance, tuples_are_lists=tuples_are_lists)
    if _is_number(expected):
        return _is_number(actual) and _close(expected, actual, tolerance)
    if isinstance(expected, (list, tuple, deque)):
        alike = type(expected) is type(actual) or (tuples_are_lists and isinstance(actual, (list, tuple)))
        return alike and len(expected) == len(actual) and all(map(same, expected, actual))
    if isinstance(expected, dict):
        if not isinstance(actual, dict) or _strict(set(expected)) != _strict(set(actual)):
            return False
        return all(same(expected[key], actual[key]) for key in expected)
    if isinstance(expected, (set, frozenset)):
        return isinstance(actual, (set, frozenset)) and _strict(expected) == _strict(actual)
    return type(expected) is type(actual) and not isinstance(actual, Other) and expected == actual


def same_text(expected: str, actual: str) -> bool:
    """Printed output: lines without surrounding blanks or trailing empty ones; numbers may be written otherwise."""
    lines = [[line.strip() for line in text.rstrip().split("\n")] for text in (expected, actual)]
    if lines[0] == lines[1]:
        return True
    return len(lines[0]) == len(lines[1]) and all(map(_same_line, *lines))


def _same_line(expected: str, actual: str) -> bool:
    if expected == actual:
        return True
    words = expected.split(), actual.split()
    if len(words[0]) != len(words[1]) or max(map(len, (*words[0], *words[1])), default=0) > 1000:
        return False
    try:
        return [Decimal(word) for word in words[0]] == [Decimal(word) for word in words[1]]
    except InvalidOperation:
        return False


def _is_number(value) -> bool:
    return isinstance(value, (int, float, complex)) and not isinstance(value, bool)


def _close(expected, actual, tolerance: float) -> bool:
    if expected == actual:
        return True
    if isinstance(expected, int) or isinstance(actual, complex) != isinstance(expected, complex):
        return False
    if isinstance(expected, complex):
        return _close(expected.real, actual.real, tolerance) and _close(expected.imag, actual.imag, tolerance)
    if math.isnan(expected):
        return isinstance(actual, float) and math.isnan(actual)
    if isinstance(actual, int) and abs(actual) > 1e300:
        return False
    return math.isclose(expected, actual, rel_tol=1e-7, abs_tol=tolerance)


def _strict(value):
    """A hashable stand-in under which True differs from 1."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, tuple):
        return tuple(map(_strict, value))
    if isinstance(value, (set, frozenset)):
        return frozenset(map(_strict, value))
    return value
