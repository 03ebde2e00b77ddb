r"""Equality of two values by computer algebra, exact: no rounding to a few decimals, whatever the size.

latex2sympy2 (the parser of math-verify) reads LaTeX, sympy computes. Rational numbers are compared exactly, other
numbers to 100 significant digits. Expressions with letters must agree to 40 digits at several points of either sign.
Equations must be a constant multiple of each other. math-verify's own comparison is not used: it strips units out of
sums, ignores the case of letters, rounds to 15 decimals, and finds two equations equal that it cannot solve.
"""

import random
import re
from functools import lru_cache

import sympy
from latex2sympy2_extended import NormalizationConfig, latex2sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig
from sympy.core.function import AppliedUndef

from oneshot.verifiers.comparing import ZERO_EQUALS, number
from oneshot.verifiers.notation import PARTED

DIGITS, TOLERANCE = 120, sympy.Float("1e-100", 120)
POINT_DIGITS, POINT_TOLERANCE = 60, sympy.Float("1e-40", 60)
NUM_POINTS, LEAST_POINTS = 6, 3

AS_WRITTEN = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=False, nits=False, boxed="none", equations=False
)
CASE_COUNTS = ConversionConfig(lowercase_symbols=False, interpret_as_mixed_fractions=False)
UNREADABLE = re.compile(rf"(?<![a-zA-Z'])'|\\text|[?@#%]|{PARTED.pattern}")
"""What the parser would skip, or read as words: primes, text, blanks between digits."""


class Unreadable(ValueError):
    """A value that the parser does not understand."""


def same_by_algebra(gold: str, given: str) -> bool:
    """Whether two values in LaTeX, or two equations marked `0=`, are equal. Raises Unreadable if one cannot be read."""
    first, second = (_value(text.removeprefix(ZERO_EQUALS)) for text in (gold, given))
    if gold.startswith(ZERO_EQUALS):
        return _is_multiple(first, second)
    if first == second:
        return True
    if isinstance(first, sympy.MatrixBase) or isinstance(second, sympy.MatrixBase):
        return _same_matrix(first, second)
    if not isinstance(first, sympy.Expr) or not isinstance(second, sympy.Expr):
        return False
    return _same_function(first, second) if first.free_symbols | second.free_symbols else _same_number(first, second)


@lru_cache(maxsize=10_000)
def parse(text: str) -> sympy.Basic | None:
    """The value of a text, evaluated; None if it cannot be read. Decimals are exact, i is the imaginary unit."""
    if (rational := number(text)) is not None:
        return sympy.Rational(rational.numerator, rational.denominator)
    if UNREADABLE.search(text):
        return None
    text = re.sub("([a-zA-Z])('+)", _primed, text)
    try:
        parsed = latex2sympy(text, is_real=None, normalization_config=AS_WRITTEN, conversion_config=CASE_COUNTS)
    except MemoryError:
        raise
    except Exception:  # the parser raises errors of any type
        return None
    return None if parsed is None else _exact(parsed)


def _primed(letter: re.Match) -> str:
    """x' as a letter of its own: the parser drops the prime."""
    return f"{letter.group(1)}_{{{'9' * (3 + len(letter.group(2)))}}}"


def _value(text: str) -> sympy.Basic:
    if (parsed := parse(text)) is None:
        raise Unreadable(text)
    return parsed


def _exact(parsed: sympy.Basic) -> sympy.Basic | None:
    if isinstance(parsed, (sympy.MatrixBase, sympy.MatrixExpr)):
        return sympy.ImmutableMatrix(sympy.Matrix(parsed.doit()))
    if isinstance(parsed, sympy.FiniteSet) and len(parsed.args) == 1:
        parsed = parsed.args[0]
    if not isinstance(parsed, sympy.Expr):
        return None
    exact = {value: sympy.Rational(str(value)) for value in parsed.atoms(sympy.Float)}
    exact |= {applied: sympy.Symbol(str(applied)) for applied in parsed.atoms(AppliedUndef)}
    return parsed.xreplace(exact).xreplace({sympy.Symbol("i"): sympy.I}).doit()


def _same_matrix(first: sympy.Basic, second: sympy.Basic) -> bool:
    if not all(isinstance(matrix, sympy.MatrixBase) for matrix in (first, second)) or first.shape != second.shape:
        return False
    return all(a == b or _same_function(a, b) for a, b in zip(first, second, strict=True))


def _same_number(first: sympy.Expr, second: sympy.Expr) -> bool:
    if first.is_Rational and second.is_Rational:
        return False  # equal ones were found equal before
    values = [value.evalf(DIGITS) for value in (first, second)]
    if not all(_is_finite(value) for value in values):
        return False
    return _close(*values, TOLERANCE) or (
        _close(values[0] + 1, values[1] + 1, TOLERANCE) and _difference_is_zero(first, second)
    )


def _difference_is_zero(first: sympy.Expr, second: sympy.Expr) -> bool:
    return sympy.simplify(first - second) == 0


def _same_function(first: sympy.Expr, second: sympy.Expr) -> bool:
    """Agreement at random points: an identity holds at all of them, anything else fails to within 40 digits."""
    pairs = [pair for pair in _at_points(first, second) if all(map(_is_finite, pair))]
    if any(not _close(*pair, POINT_TOLERANCE) for pair in pairs):
        return False
    return len(pairs) >= LEAST_POINTS or _difference_is_zero(first, second)


def _is_multiple(first: sympy.Expr, second: sympy.Expr) -> bool:
    """Whether one equation's difference of sides is a constant, not zero, times the other's."""
    if not all(isinstance(side, sympy.Expr) and side.free_symbols for side in (first, second)):
        return False
    pairs = [pair for pair in _at_points(first, second) if all(map(_is_finite, pair)) and all(pair)]
    ratios = [above / below for above, below in pairs]
    return len(ratios) >= LEAST_POINTS and all(_close(ratios[0], ratio, POINT_TOLERANCE) for ratio in ratios)


def _at_points(first: sympy.Expr, second: sympy.Expr) -> list[tuple[sympy.Expr, sympy.Expr]]:
    """Both expressions at the same points: the first ones all positive, the others of either sign."""
    rng = random.Random(0)
    symbols = sorted(first.free_symbols | second.free_symbols, key=str)
    pairs = []
    for index in range(NUM_POINTS):
        signs = [1 if index < NUM_POINTS // 2 else rng.choice((-1, 1)) for _ in symbols]
        if index == NUM_POINTS - 1:
            signs = [-1 for _ in symbols]
        point = {
            symbol: sign * sympy.Rational(rng.randint(100, 3000), 997)
            for symbol, sign in zip(symbols, signs, strict=True)
        }
        pairs.append(tuple(side.subs(point).evalf(POINT_DIGITS) for side in (first, second)))
    return pairs


def _is_finite(value: sympy.Expr) -> bool:
    return bool(value.is_number and value.is_finite and not value.has(sympy.nan))


def _close(first: sympy.Expr, second: sympy.Expr, tolerance: sympy.Float) -> bool:
    return bool(abs(first - second) <= tolerance * max(abs(first), abs(second)))
