"""Files: paths of notebook parameters, atomic writes, checked reads.

Every file is written under a temporary name and then renamed, so a killed run leaves no half-written result. Every
input is checked before it is used. An error names the file, what is wrong with it and what to do.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd


class MissingInput(FileNotFoundError):
    """An input that an earlier notebook writes is missing."""


class BadFile(ValueError):
    """A file exists but does not hold what it should."""


def project_root() -> Path:
    """The nearest folder at or above the working directory that holds the Snakefile."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "Snakefile").is_file():
            return folder
    raise FileNotFoundError(f"no Snakefile in {Path.cwd()} or above it: run from inside the project")


def resolve(path: str | Path) -> Path:
    """The path of a notebook parameter. Relative paths start at the project's root, wherever Jupyter was started."""
    return project_root() / path


def require(path: str | Path, notebook: str) -> Path:
    """The resolved path of an input. Raises MissingInput, with one line that says how to make it."""
    resolved = resolve(path)
    if not resolved.exists():
        top, *rest = Path(path).parts
        command = f", or `snakemake --cores all {path} --configfile config/{rest[0]}.yaml`" if top == "results" else ""
        raise MissingInput(f"{path} is missing: run notebooks/{notebook}.ipynb first{command}")
    return resolved


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary file next to `path`, renamed to `path` only if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a CSV. Floats get 9 significant digits, enough to restore any FP32 number."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.9g", lineterminator="\n")


def read_csv(path: str | Path, columns: list[str]) -> pd.DataFrame:
    """The CSV at `path`. Raises BadFile unless it has at least these columns and one row."""
    try:
        frame = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise BadFile(f"{path}: not a readable CSV ({error}): delete it and run again") from error
    missing = [column for column in columns if column not in frame]
    if missing or frame.empty:
        raise BadFile(f"{path}: {'no rows' if not missing else 'lacks the columns ' + ', '.join(missing)}")
    return frame


def write_text(text: str, path: str | Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def write_json(content: dict, path: str | Path) -> None:
    write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", path)


def read_json(path: str | Path) -> dict:
    try:
        return json.loads(Path(path).read_text())
    except (ValueError, OSError) as error:
        raise BadFile(f"{path}: not readable JSON ({error}): delete it and run again") from error
