"""The reference run, kept with the code: tables, from which figures are drawn without a model, and starts.

`expected/<experiment>.tar.xz` holds each CSV of `results/<experiment>/` as it was written, and a manifest: path ->
SHA-256 and the commit that it was recorded at. An experiment too long for one sitting is recorded part by part: what
is there stays, unless it is measured again. `expected/<experiment>.start.tar.xz` holds, in the same way, what the main
job has when its rollouts are drawn: policy, problems and rollouts. What is left of it is run from there, in minutes.

    python -m oneshot.workflow.expected record laptop          # results/laptop/ -> expected/laptop.tar.xz
    python -m oneshot.workflow.expected restore laptop         # and back; then `make figure` draws in seconds
    python -m oneshot.workflow.expected restore laptop start   # policy, problems, rollouts; then `make main`
"""

import hashlib
import io
import json
import lzma
import os
import sys
import tarfile
from pathlib import Path, PurePosixPath

from oneshot.files import BadFile, MissingInput, atomic_path, project_root
from oneshot.workflow.provenance import stamp

KINDS = {
    "tables": ["**/*.csv"],
    "start": [
        "policies/*/policy1/*.*",
        "problems/*/policy1/*.*",
        "*/*/policy1/acceptance.csv",
        "*/*/policy1/run0/rollouts/*.parquet",
        "*/*/policy1/run0/timings/sample*.csv",
    ],
}
"""What is recorded of an experiment. Policy 1 and run 0 are those of the main job in every config."""
MANIFEST = "manifest.json"
AGE = 946684800
"""Time of every restored file, the first second of 2000: none is newer than another, so none has to be made anew."""


def record(experiment: str, root: Path, kind: str = "tables") -> list[str]:
    """Add the tables, or the start, of an experiment's results to its archive. Returns the paths that have changed.

    Raises MissingInput if there are none.
    """
    found = _found(root / "results" / experiment, KINDS[kind])
    if not found:
        raise MissingInput(f"results/{experiment} holds no {kind.removesuffix('s')}: run the experiment first")
    archive = archive_of(experiment, root, kind)
    files, manifest = read(archive) if archive.exists() else ({}, {})
    changed = [path for path, content in found.items() if files.get(path) != content]
    manifest |= {path: {"sha256": _sha256(found[path]), "commit": stamp()["commit"]} for path in changed}
    write(archive, files | found, manifest)
    return changed


def restore(experiment: str, root: Path, kind: str = "tables") -> list[str]:
    """Write an experiment's tables, or its start, to its results. Returns their paths.

    Raises MissingInput if there is no archive, and FileExistsError, before anything is written, if there are results.
    """
    archive, folder = archive_of(experiment, root, kind), root / "results" / experiment
    if not archive.exists():
        suffix = archive.name.removeprefix(experiment)
        recorded = sorted(path.name.removesuffix(suffix) for path in archive.parent.glob(f"*{suffix}"))
        named = ", ".join(name for name in recorded if "." not in name) or "none"
        raise MissingInput(f"expected/{archive.name} is missing: recorded are {named}")
    if _found(folder, KINDS["tables"]):
        raise FileExistsError(f"results/{experiment} holds tables already: move the folder away first")
    files, _ = read(archive)
    for path, content in files.items():
        with atomic_path(folder / path) as temporary:
            temporary.write_bytes(content)
        os.utime(folder / path, (AGE, AGE))
    return list(files)


def archive_of(experiment: str, root: Path, kind: str = "tables") -> Path:
    return root / "expected" / f"{experiment}{'' if kind == 'tables' else f'.{kind}'}.tar.xz"


def _found(folder: Path, patterns: list[str]) -> dict[str, bytes]:
    """The files that match, by path; no notebooks, which are a run's log, and no seals, which a restored file gets."""
    paths = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    kept = [path for path in paths if path.suffix != ".ipynb" and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


def read(archive: Path) -> tuple[dict[str, bytes], dict[str, dict]]:
    """An archive's files by path, and its manifest. Raises BadFile if a file is not the one that was recorded."""
    try:
        with tarfile.open(archive, "r:xz") as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
        manifest = json.loads(files.pop(MANIFEST))
    except (tarfile.TarError, lzma.LZMAError, OSError, EOFError, KeyError, ValueError) as error:
        raise BadFile(f"{archive}: not a readable archive ({error}): check it out again") from error
    for path in files.keys() | manifest.keys():
        outside = PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts
        if outside or path not in files or _sha256(files[path]) != manifest.get(path, {}).get("sha256"):
            raise BadFile(f"{archive}: {path} is not what its manifest says: check it out again")
    return files, manifest


def write(archive: Path, files: dict[str, bytes], manifest: dict[str, dict]) -> None:
    """Write an archive. Equal files give equal bytes: paths are sorted and no time or owner is kept."""
    text = json.dumps(manifest, indent=1, sort_keys=True).encode()
    with atomic_path(archive, sealed=False) as temporary, tarfile.open(temporary, "w:xz", preset=9) as tar:
        for path, content in [(MANIFEST, text), *sorted(files.items())]:
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    actions = {"record": record, "restore": restore}
    action, experiment, kind = (*sys.argv[1:], "tables")[:3] if 3 <= len(sys.argv) <= 4 else ("", "", "")
    if action not in actions or kind not in KINDS:
        sys.exit("usage: python -m oneshot.workflow.expected record|restore EXPERIMENT [tables|start]")
    try:
        paths = actions[action](experiment, project_root(), kind)
    except (BadFile, OSError) as error:
        sys.exit(str(error))
    print(f"{action} {experiment}: {len(paths)} {'tables' if kind == 'tables' else 'files'}")


if __name__ == "__main__":
    main()
