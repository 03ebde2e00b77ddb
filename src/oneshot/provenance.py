"""Where results come from and how they reach the disk.

Every file is written under a temporary name and renamed, so a killed run leaves nothing half-written;
every result carries a stamp (versions, commit, hardware); every input is checked before it is used.
"""

import ast
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pandas", "pyarrow", "vllm")


class MissingInput(FileNotFoundError):
    """An input that an earlier notebook writes is not there."""


class BadFile(ValueError):
    """A file that is there but is not what it should be."""


def project_root() -> Path:
    """The nearest folder at or above the working directory that holds the Snakefile."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "Snakefile").is_file():
            return folder
    raise FileNotFoundError(f"no Snakefile in {Path.cwd()} or above it: run from inside the project")


def resolve(path: str | Path) -> Path:
    """A path of a notebook parameter: relative ones count from the project's root, wherever Jupyter was started."""
    return project_root() / path


def require(path: str | Path, notebook: str) -> Path:
    """The resolved path of an input, or one line that says how to make it."""
    resolved = resolve(path)
    if not resolved.exists():
        top, *rest = Path(path).parts
        command = f", or `snakemake --cores all {path} --configfile config/{rest[0]}.yaml`" if top == "results" else ""
        raise MissingInput(f"{path} is missing: run notebooks/{notebook}.ipynb first{command}")
    return resolved


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary sibling of `path` to write to; it takes the name `path` only if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """A tidy CSV, floats with 9 significant digits: as many as an FP32 number can carry."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.9g", lineterminator="\n")


def read_csv(path: str | Path, columns: list[str]) -> pd.DataFrame:
    """The CSV at `path`, which must have at least these columns and one row."""
    try:
        frame = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise BadFile(f"{path}: not a readable CSV ({error})") from error
    missing = [column for column in columns if column not in frame]
    if missing or frame.empty:
        raise BadFile(f"{path}: {'no rows' if not missing else 'lacks the columns ' + ', '.join(missing)}")
    return frame


def write_json(content: dict, path: str | Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_json(path: str | Path) -> dict:
    try:
        return json.loads(Path(path).read_text())
    except (ValueError, OSError) as error:
        raise BadFile(f"{path}: not readable JSON ({error})") from error


@cache
def stamp() -> dict[str, str]:
    """Package versions, commit and hardware, all as text. Holds no time: equal runs write equal files."""
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_processor()}",
        **{package: _version(package) for package in PACKAGES},
    }


def code_digest(notebook: str | Path, package: str | Path) -> str:
    """SHA-256 over the code a notebook runs: its code cells and the `package` modules they import, transitively.

    What counts is the syntax tree. Prose, comments, layout, outputs, parameter defaults and unrelated modules leave
    the digest unchanged, so editing them re-runs nothing.
    """
    package = Path(package)
    cells = json.loads(Path(notebook).read_text())["cells"]
    cells = [cell for cell in cells if cell["cell_type"] == "code" and not _is_parameters(cell)]
    code = "\n".join("".join(cell["source"]) for cell in cells)
    sources, pending = {"notebook": code}, [code]
    while pending:
        for module in _imported_modules(pending.pop(), package):
            if module not in sources:
                sources[module] = module.read_text()
                pending.append(sources[module])
    ordered = sorted((str(name), ast.dump(ast.parse(text))) for name, text in sources.items())
    return hashlib.sha256(json.dumps([tree for _, tree in ordered]).encode()).hexdigest()[:16]


def check_parameters(notebook: str | Path, names: set[str]) -> None:
    """Refuse a parameter that the notebook does not have (papermill would only warn) and one left on its default."""
    tagged = next(filter(_is_parameters, json.loads(Path(notebook).read_text())["cells"]))
    tree = ast.parse("".join(tagged["source"]))
    known = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}
    if unknown := names - known:
        raise ValueError(f"{notebook}: no parameter '{min(unknown)}': it has {', '.join(sorted(known))}")
    if missing := known - names:
        raise ValueError(f"{notebook}: parameter '{min(missing)}' is not passed")


def _is_parameters(cell: dict) -> bool:
    return "parameters" in cell.get("metadata", {}).get("tags", [])


def _imported_modules(code: str, package: Path) -> set[Path]:
    """Files of `package` named by the import statements of `code`, at any depth (also inside functions)."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    files = set()
    for name in names:
        first, *rest = name.split(".")
        if first == package.name:
            location = package.joinpath(*rest)
            files.update(path for path in (location.with_suffix(".py"), location / "__init__.py") if path.is_file())
    return files


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _commit() -> str:
    """HEAD, with a `+` where tracked files differ from it; `unknown` outside a checkout."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head[:12] + ("+" if changed.strip() else "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
