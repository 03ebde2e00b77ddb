r"""Partial credit: how far a wrong answer got, from 0 to 1, for tasks whose binary reward is too sparse to learn from.

Credit is measured against a reference that the policy never sees. The cheap ways to farm it earn nothing: a constant
answer, a repeated or trivial step, numbers from nowhere, a dump of all values, steps after the answer. It never
replaces the binary reward, which is recorded separately (`oneshot.gradients.rewards`).
"""

import ast
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

MAX_STEPS = 100
CALCULATION = re.compile(r"<<([0-9.+\-*/() ]{1,60})=(-?\d{0,15}\.?\d{1,5})>>")
NUMBER = re.compile(r"\d+(?:\.\d+)?")
EVERYDAY = {Fraction(number) for number in (*range(13), 24, 30, 52, 60, 100, 365, 1000)}
"""Numbers that a step may use besides those it is given: dozens, days, minutes, percents."""


def prefix_credit(reference: Sequence[Any], steps: Sequence[Any]) -> float:
    """The share of the reference's steps that are right before the first wrong one.

    A list with more steps than the reference is padded and earns nothing.
    """
    if len(steps) > len(reference):
        return 0.0
    right = 0
    while right < len(steps) and steps[right] == reference[right]:
        right += 1
    return right / len(reference) if reference else 0.0


def calculation_credit(question: str, completion: str, reference: str) -> float:
    """The share of the reference's calculations (GSM8K's `<<48/2=24>>`) that a completion makes.

    A calculation counts once, and only if it is right, uses a number of the question or of an earlier calculation,
    otherwise uses only everyday numbers, and finds a new number that the reference finds too. The count is divided by
    the length of the longer list, so padding costs. Results that the question already names count on neither side.
    Text after `####` is not read.
    """
    given = _numbers(question)
    wanted = {result for _, result in _calculations(reference)} - given - {None}
    found = [step for step in _calculations(completion) if step[1] not in given]
    known, useful = given, 0
    for operands, result in found:
        if operands & known and operands <= known | EVERYDAY and result is not None and result not in known:
            useful += result in wanted
            known = known | {result}
    return useful / max(len(wanted), len(found)) if wanted else 0.0


def _calculations(text: str) -> list[tuple[set[Fraction], Fraction | None]]:
    """(operands, result) of every annotated calculation before the answer; the result is None if it is wrong."""
    calculations = []
    for expression, result in CALCULATION.findall(text.split("####")[0])[:MAX_STEPS]:
        value = evaluate(expression)
        right = value is not None and _fits(value, result) and re.search(r"[-+*/]", expression.lstrip(" -"))
        calculations.append((_numbers(expression), Fraction(result) if right else None))
    return calculations


def evaluate(expression: str) -> Fraction | None:
    """The exact value of sums and products of plain numbers; None for anything else. Nothing is ever executed."""
    try:
        return _evaluate(ast.parse(expression.strip(), mode="eval").body)
    except (ValueError, SyntaxError, ZeroDivisionError, KeyError, RecursionError, MemoryError):
        return None


def _evaluate(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand)
    if isinstance(node, ast.BinOp):
        operations = {
            ast.Add: Fraction.__add__,
            ast.Sub: Fraction.__sub__,
            ast.Mult: Fraction.__mul__,
            ast.Div: Fraction.__truediv__,
        }
        return operations[type(node.op)](_evaluate(node.left), _evaluate(node.right))
    raise ValueError(f"not a sum or product: {ast.dump(node)}")


def _fits(value: Fraction, written: str) -> bool:
    """Equal, or rounded to the decimals written."""
    decimals = len(written.partition(".")[2])
    return value == Fraction(written) or (
        decimals > 0 and abs(value - Fraction(written)) <= Fraction(1, 2 * 10**decimals)
    )


def _numbers(text: str) -> set[Fraction]:
    return {Fraction(number) for number in NUMBER.findall(text.replace(",", ""))}
