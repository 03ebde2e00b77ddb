"""House rules that a reader relies on: sizes, arrows between packages, and what an addition costs."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src/oneshot"
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION, MOST_PARAMETERS = 250, 40, 7
FOREIGN_SIGNATURES = {"shared_prefix_attention"}
"""Called by a library, with its parameters."""
FLOORS = (
    ("files", "vectors", "statistics", "prefixes"),
    ("sandbox", "verifiers", "tasks"),
    ("policies", "engines"),
    ("rollouts", "sampling"),
    ("gradients",),
    ("steps",),
    ("arms", "measures"),
    ("diagnostics",),
    ("baselines",),
    ("theory",),
    ("figures",),
    ("workflow",),
)
ABOVE = {"workflow.provenance": 0, "workflow.progress": 0, "arms": 5}
"""Modules that lower floors may import all the same: the stamp that files carry; the format that figures read."""


def floor(name):
    return next(level for level, rooms in enumerate(FLOORS) if name.split(".")[0] in rooms)


def dotted(path):
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


@pytest.fixture(params=MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def module(request):
    return request.param


def test_modules_and_functions_are_small(module):
    text = module.read_text()
    assert text.count("\n") <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name
            taken = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            taken = [name for name in taken if name not in ("self", "cls")]
            assert len(taken) <= MOST_PARAMETERS or node.name in FOREIGN_SIGNATURES, node.name


def test_imports_point_up_the_map(module):
    name = dotted(module)
    if not name:
        return
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("oneshot."):
            imported = node.module.removeprefix("oneshot.")
            assert floor(imported) <= floor(name) or imported in ABOVE, f"{name} imports {imported}"
