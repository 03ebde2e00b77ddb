"""Files: paths of notebook parameters, atomic writes, checked reads.

Every file is written under a temporary name and then renamed, so a killed run leaves no half-written result. A result
gets a seal, a hidden file beside it in the format of `sha256sum`; an input whose bytes or whose place are not those of
its seal is refused. Every input is checked before it is used. An error names the file, what is wrong with it and what
to do.
"""

import hashlib
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
    return intact(resolved)


def intact(path: Path) -> Path:
    """The path of a file that is as it was written, where it was written, or that has no seal.

    Raises BadFile for any other: a changed byte in a table or in a batch would show in no figure.
    """
    if not seal_of(path).exists():
        return path
    try:
        digest, _, place = seal_of(path).read_text().rstrip("\n").partition("  ")
    except UnicodeDecodeError:
        digest, place = "", _place(path)
    if place != _place(path):
        raise BadFile(f"{path}: was written as {place}: delete it and its seal, and the same command makes it anew")
    if digest != sha256(path):
        raise BadFile(f"{path}: has changed since it was written: delete it, and the same command makes it anew")
    return path


def sha256(path: Path) -> str:
    """64 hex digits over a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal_of(path: Path) -> Path:
    """Where a file's seal is."""
    return path.with_name(f".{path.name}.sha256")


def _place(path: Path) -> str:
    """The path from the results on, which does not change with the project's or the working folder; else the name."""
    parts = path.absolute().parts
    return "/".join(parts[parts.index("results") :]) if "results" in parts else path.name


@contextmanager
def atomic_path(path: str | Path, sealed: bool = True) -> Iterator[Path]:
    """A temporary file next to `path`, renamed to `path`, and sealed, only if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        if sealed:
            write_text(f"{sha256(temporary)}  {_place(path)}\n", seal_of(path))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(frame: pd.DataFrame, path: str | Path, sealed: bool = True) -> None:
    """Write a CSV. Floats get 9 significant digits, enough to restore any FP32 number."""
    with atomic_path(path, sealed) as temporary:
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


def write_text(text: str, path: str | Path, sealed: bool = False) -> None:
    with atomic_path(path, sealed) as temporary:
        temporary.write_text(text)


def write_json(content: dict, path: str | Path) -> None:
    write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", path, sealed=True)


def read_json(path: str | Path) -> dict:
    try:
        return json.loads(Path(path).read_text())
    except (ValueError, OSError) as error:
        raise BadFile(f"{path}: not readable JSON ({error}): delete it and run again") from error
