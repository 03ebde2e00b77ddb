"""Digests of code: what must have changed for a finished job to run again.

A job's digest covers the code cells of its notebook, the modules of this package that they import, transitively, and
the entries that config and wildcards pick by name from a registry (a task, an engine, a method, a figure) with their
modules. What counts is the syntax tree without docstrings and registries: prose, comments, layout, outputs, parameter
defaults and a new entry in a registry re-run nothing.
`oneshot.workflow` is left out, because it decides how jobs are started and not what they compute.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from oneshot.workflow.signatures import code_cells, module_path, parse

PACKAGE = "oneshot"
LEFT_OUT, DRAWN = f"{PACKAGE}.workflow", f"{PACKAGE}.figures"
REGISTRIES = {"CONTEXTS", "ENGINES", "GYM_FAMILIES", "MATHEMATICS", "METHODS", "PROGRAMS", "TASKS"}
"""Tables of names: of these a job depends on the entries that it picks."""


def job_digest(notebook: str, picked: Iterable[str] = ()) -> str:
    """16 hex digits over the code that a job runs; `picked`: entries `module` or `module:attribute` of registries."""
    tree, picked = parse("\n".join(code_cells(notebook)[1:]), notebook), tuple(picked)
    state = hashlib.sha256(ast.dump(_bare(tree)).encode())
    for entry in sorted(set(picked)):
        state.update(entry.encode())
    for module in sorted(modules_of(notebook, picked)):
        state.update(_module_dump(module).encode())
    return state.hexdigest()[:16]


def package_digest() -> str:
    """The same over every module of the package, whatever a job picks, but for those that draw or start jobs."""
    folder = Path(module_path(PACKAGE)).parent
    names = (".".join((PACKAGE, *path.relative_to(folder).with_suffix("").parts)) for path in folder.rglob("*.py"))
    modules = sorted(name for name in names if not name.startswith((LEFT_OUT, DRAWN)))
    return hashlib.sha256("".join(map(_module_dump, modules)).encode()).hexdigest()[:16]


def modules_of(notebook: str, picked: tuple[str, ...] = ()) -> set[str]:
    """The modules of this package that a notebook's job runs."""
    tree = parse("\n".join(code_cells(notebook)[1:]), notebook)
    found, pending = set(), [*_imported(tree), *(entry.partition(":")[0] for entry in picked)]
    while pending:
        module = pending.pop()
        if module not in found:
            found.add(module)
            pending.extend(_imports_of(module))
    return found


@cache
def _imports_of(module: str) -> tuple[str, ...]:
    return tuple(_imported(ast.parse(module_path(module).read_text())))


@cache
def _module_dump(module: str) -> str:
    return ast.dump(_bare(ast.parse(module_path(module).read_text())))


def _imported(tree: ast.Module) -> set[str]:
    """Modules of this package named by import statements, at any depth (also inside functions)."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    ours = {name for name in names if name.split(".")[0] == PACKAGE and not name.startswith(LEFT_OUT)}
    return {name for name in ours if _is_module(name)}


@cache
def _is_module(name: str) -> bool:
    location = Path(module_path(PACKAGE)).parent.joinpath(*name.split(".")[1:])
    return location.with_suffix(".py").is_file() or (location / "__init__.py").is_file()


def _bare(tree: ast.Module) -> ast.Module:
    """The tree without docstrings, other bare strings and registries."""
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [part for part in body if not (_is_text(part) or _is_registry(part))] or [ast.Pass()]
    return tree


def _is_registry(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and {getattr(target, "id", "") for target in node.targets} <= REGISTRIES


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
