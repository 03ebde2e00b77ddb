"""The reference run: the tables of every experiment, kept with the code, so that figures can be drawn without a model.

`expected/<experiment>.tar.xz` holds each CSV of `results/<experiment>/` as it was written, and a manifest: path ->
SHA-256 and the commit that it was recorded at. An experiment too long for one sitting is recorded part by part: what
is there stays, unless it is measured again.

    python -m oneshot.workflow.expected record laptop    # results/laptop/ -> expected/laptop.tar.xz
    python -m oneshot.workflow.expected restore laptop   # and back; then `make figure` draws in seconds
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

MANIFEST = "manifest.json"
AGE = 946684800
"""Time of every restored file, the first second of 2000: none is newer than another, so none has to be made anew."""


def record(experiment: str, root: Path) -> list[str]:
    """Add the tables of an experiment's results to its archive. Returns the paths that are new or have changed.

    Raises MissingInput if there are no results.
    """
    folder = root / "results" / experiment
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.csv"))}
    if not found:
        raise MissingInput(f"results/{experiment} holds no table: run the experiment first")
    files, manifest = read(archive_of(experiment, root)) if archive_of(experiment, root).exists() else ({}, {})
    changed = [path for path, content in found.items() if files.get(path) != content]
    manifest |= {path: {"sha256": _sha256(found[path]), "commit": stamp()["commit"]} for path in changed}
    write(archive_of(experiment, root), files | found, manifest)
    return changed


def restore(experiment: str, root: Path) -> list[str]:
    """Write an experiment's tables to its results. Returns their paths.

    Raises MissingInput if there is no archive, and FileExistsError, before anything is written, if there are results.
    """
    archive, folder = archive_of(experiment, root), root / "results" / experiment
    if not archive.exists():
        recorded = ", ".join(sorted(path.name.removesuffix(".tar.xz") for path in archive.parent.glob("*.tar.xz")))
        raise MissingInput(f"expected/{archive.name} is missing: recorded are {recorded or 'none'}")
    if folder.exists() and any(folder.rglob("*.csv")):
        raise FileExistsError(f"results/{experiment} holds tables already: move the folder away first")
    files, _ = read(archive)
    for path, content in files.items():
        with atomic_path(folder / path) as temporary:
            temporary.write_bytes(content)
        os.utime(folder / path, (AGE, AGE))
    return list(files)


def archive_of(experiment: str, root: Path) -> Path:
    return root / "expected" / f"{experiment}.tar.xz"


def read(archive: Path) -> tuple[dict[str, bytes], dict[str, dict]]:
    """An archive's files by path, and its manifest. Raises BadFile if a file is not the one that was recorded."""
    try:
        with tarfile.open(archive, "r:xz") as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
        manifest = json.loads(files.pop(MANIFEST))
    except (tarfile.TarError, lzma.LZMAError, OSError, EOFError, KeyError, ValueError) as error:
        raise BadFile(f"{archive}: not a readable archive of tables ({error}): check it out again") from error
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
    if len(sys.argv) != 3 or sys.argv[1] not in actions:
        sys.exit("usage: python -m oneshot.workflow.expected record|restore EXPERIMENT")
    try:
        paths = actions[sys.argv[1]](sys.argv[2], project_root())
    except (BadFile, OSError) as error:
        sys.exit(str(error))
    print(f"{sys.argv[1]} {sys.argv[2]}: {len(paths)} tables")


if __name__ == "__main__":
    main()
