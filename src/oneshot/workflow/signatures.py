"""Signatures read from source: what a notebook, a dataclass or a constructor takes, without importing it.

The DAG is planned before anything runs, and importing torch takes seconds, so names are read by `ast`.
"""

import ast
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from oneshot.files import project_root


def module_path(module: str) -> Path:
    """The file of a module of the installed package."""
    return Path(find_spec(module).origin)


@cache
def code_cells(notebook: str) -> tuple[str, ...]:
    """The code of a notebook, cell by cell, the parameters first."""
    path = project_root() / "notebooks" / f"{notebook}.ipynb"
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{path}: {len(tagged)} cells tagged 'parameters', expected 1")
    rest = [cell for cell in cells if cell is not tagged[0]]
    return tuple("".join(cell["source"]) for cell in (*tagged, *rest))


def parse(code: str, name: str) -> ast.Module:
    """The syntax tree of notebook code, without lines for IPython. Raises SyntaxError that names the notebook."""
    lines = ["" if line.lstrip()[:1] in ("%", "!") else line for line in code.split("\n")]
    try:
        return ast.parse("\n".join(lines))
    except SyntaxError as error:
        raise SyntaxError(f"notebooks/{name}.ipynb: {error.msg}: {(error.text or '').strip()}") from None


@cache
def parameters(notebook: str) -> tuple[str, ...]:
    """The names in a notebook's parameters cell: its signature."""
    tree = parse(code_cells(notebook)[0], notebook)
    return tuple(target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)


def check_files(notebook: str, names: set[str]) -> None:
    """Raise ValueError for an input without a parameter (papermill would only warn), or the reverse."""
    wanted = {name for name in parameters(notebook) if name.endswith(("_path", "_paths", "_folders"))}
    if unknown := names - wanted:
        raise ValueError(
            f"notebooks/{notebook}.ipynb: no parameter '{min(unknown)}': it has {', '.join(sorted(wanted))}"
        )
    if missing := wanted - names:
        raise ValueError(f"notebooks/{notebook}.ipynb: parameter '{min(missing)}' is not passed")


def by_folder(paths: list[str]) -> dict[str, list[str]]:
    """Folder -> the names, without endings, of those of the files that are in it."""
    folders: dict[str, list[str]] = {}
    for path in map(Path, paths):
        folders.setdefault(str(path.parent), []).append(path.stem)
    return folders


@cache
def settings(module: str, class_name: str = "Settings") -> dict[str, bool]:
    """The fields of a dataclass in that module: name -> whether it must be given; those of its bases first."""
    tree = ast.parse(module_path(module).read_text())
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    homes = {alias.name: node.module for node in imports for alias in node.names}
    fields = {}
    for base in found.bases:
        fields |= settings(homes.get(base.id, module), base.id)
    return fields | {node.target.id: node.value is None for node in found.body if isinstance(node, ast.AnnAssign)}


@cache
def constructor(module: str, class_name: str) -> tuple[str, ...]:
    """The parameters of a class's constructor, without self and policy."""
    methods = (node for node in _class(module, class_name).body if isinstance(node, ast.FunctionDef))
    init = next(node for node in methods if node.name == "__init__").args
    return tuple(argument.arg for argument in (*init.args, *init.kwonlyargs) if argument.arg not in ("self", "policy"))


@cache
def constant(module: str, name: str, default=None):
    """The literal that a module assigns to that name at its top level, or `default`; of a dictionary, its keys."""
    for node in ast.parse(module_path(module).read_text()).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            if isinstance(node.value, ast.Dict):
                return tuple(key.value for key in node.value.keys)
            return ast.literal_eval(node.value)
    return default


def _class(module: str, name: str) -> ast.ClassDef:
    tree = ast.parse(module_path(module).read_text())
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
