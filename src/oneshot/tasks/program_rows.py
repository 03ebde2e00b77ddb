"""Rows of published benchmarks of programs, MBPP+, LeetCode and LiveCodeBench, as problems with their tests.

Tests come as scripts, as asserts or packed. Scripts are parsed, never run.
"""

import ast
import json
import re
from dataclasses import replace
from typing import Any

from oneshot.tasks.livecodebench import livecodebench_test, unpack_private_tests
from oneshot.tasks.task import Problem
from oneshot.verifiers.code import CodeVerifier, ProgramTest, pack_tests
from oneshot.verifiers.preludes import LIVECODEBENCH_PRELUDE


def read_mbppplus(row: dict) -> Problem:
    """MBPP+ as on the hub: a script with inputs and results as literals. It is parsed, never run.

    If it holds no results, they are None here, and `fill_in` takes them from the reference program.
    """
    script = ast.parse(row["test"])
    named = {node.targets[0].id: node.value for node in script.body if isinstance(node, ast.Assign)}
    checks = next(node for node in script.body if isinstance(node, ast.FunctionDef) and node.name == "assertion")
    loop = ast.unparse(script.body[-1])
    function, tolerance = re.search(r"assertion\((\w+)\(\*inp\), .*, ([\d.e-]+)\)$", loop).groups()
    inputs = _literal(named["inputs"])
    results = _literal(named["results"]) if "results" in named else [None] * len(inputs)
    check = ast.unparse(checks)
    oracle = "set" if "set(out)" in check else "found" if "is not None" in check else "equal"
    tests = [
        ProgramTest(result, call=function, args=tuple(args), oracle=oracle, tolerance=float(tolerance) or 1e-6)
        for args, result in zip(inputs, results, strict=True)
    ]
    prompt = f"{row['prompt']}\n{ast.literal_eval(str(row['test_list']))[0]}"
    return Problem("", prompt, pack_tests(tests, reference="" if "results" in named else row["code"]))


def fill_in(tests: list[ProgramTest], reference: str, verifier: CodeVerifier) -> list[ProgramTest]:
    """The same tests, expecting what the reference program returns (three tasks of MBPP+ come without results).

    Tests that the reference itself does not answer within the verifier's limits are left out.
    """
    expected = verifier.outputs(reference, tests)
    return [replace(tests[index], expected=value) for index, value in expected.items()]


def read_leetcode(row: dict) -> Problem:
    """LeetCode's problems as rLLM has them: a function of asserts about `candidate`, and what that stands for."""
    script = row["tests"]["functional"]
    function = re.search(r"check\(Solution\(\)\.(\w+)\)", script).group(1)
    return Problem("", row["problem"], pack_tests(asserted_tests(script, function), LIVECODEBENCH_PRELUDE))


def asserted_tests(script: str, candidate: str = "") -> list[ProgramTest]:
    """The tests in a script's asserts of the form `f(literals) == literal`; others are left out. It is never run.

    `candidate` is the function that a call of `candidate` is of. Raises ValueError if no assert has that form.
    """
    tests = []
    for node in ast.walk(ast.parse(script)):
        try:
            comparison = node.test if isinstance(node, ast.Assert) else None
            call, (expected,) = comparison.left, comparison.comparators
            (equal,), name = comparison.ops, call.func.id
            args = [*call.args, *(keyword.value for keyword in call.keywords)]
            values = tuple(_literal(argument) for argument in args)
            tests += [ProgramTest(_literal(expected), call=candidate or name, args=values)] * isinstance(equal, ast.Eq)
        except (AttributeError, TypeError, ValueError):
            continue
    if not tests:
        raise ValueError("no assert of the form f(literals) == literal")
    return tests


def read_livecodebench(row: dict) -> Problem:
    """LiveCodeBench: public and private tests, standard input or calls of a method."""
    tests = json.loads(row["public_test_cases"]) + unpack_private_tests(row["private_test_cases"])
    function = json.loads(row["metadata"] or "{}").get("func_name", "")
    prompt = row["question_content"] + (f"\n\n{row['starter_code']}" if row["starter_code"] else "")
    return Problem(
        "", prompt, pack_tests([livecodebench_test(test, function) for test in tests], LIVECODEBENCH_PRELUDE)
    )


def _literal(node: ast.expr) -> Any:
    """The value of a literal that may contain the names inf and nan."""

    class Names(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return ast.Constant(float(name.id)) if name.id in ("inf", "nan") else name

    return ast.literal_eval(Names().visit(node))
