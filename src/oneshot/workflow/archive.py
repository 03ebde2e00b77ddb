"""The archive: the checkout as one zip file, with the tables of the reference run, for a reviewer or an archival DOI.

    python -m oneshot.workflow.archive FILE.zip          # write it
    python -m oneshot.workflow.archive --check FILE.zip  # is every file what it was?

It holds what git tracks, `expected/` among it, licence and citation too, under one folder, and `SHA256SUMS`, which
`sha256sum --check` reads. From it every recorded figure is drawn without a model. Equal checkouts give equal bytes.
"""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from oneshot.files import BadFile, atomic_path, project_root

FOLDER, SUMS = "oneshot-rlvr", "SHA256SUMS"
MOMENT = (2000, 1, 1, 0, 0, 0)
"""Of every file in it."""
NEEDED = ("LICENSE", "CITATION.cff", "README.md")
EXECUTABLE, PLAIN = 0o755, 0o644


def write(root: Path, target: Path) -> list[str]:
    """Write the archive of a checkout's tracked files, as they are. Returns their paths.

    Raises BadFile if the folder is no checkout, or if licence, citation or README is not in it.
    """
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    paths = sorted(path for path in listed.stdout.split("\0") if path)
    if missing := sorted(set(NEEDED) - set(paths)):
        raise BadFile(f"{root}: git tracks no {missing[0]} here: an archive is made of a checkout")
    sums = "".join(f"{_sha256((root / path).read_bytes())}  {path}\n" for path in paths)
    with (
        atomic_path(target, sealed=False) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for path in paths:
            mode = EXECUTABLE if (root / path).stat().st_mode & 0o100 else PLAIN
            _add(packed, path, (root / path).read_bytes(), mode)
        _add(packed, SUMS, sums.encode(), PLAIN)
    return paths


def check(archive: Path) -> int:
    """The number of files in an archive. Raises BadFile that names the first that is not what its sum says."""
    try:
        with zipfile.ZipFile(archive) as packed:
            held = {name.removeprefix(f"{FOLDER}/"): packed.read(name) for name in packed.namelist()}
        sums = dict(reversed(line.split("  ", 1)) for line in held.pop(SUMS).decode().splitlines())
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise BadFile(f"{archive}: not a readable archive ({error})") from error
    for path in sorted(held.keys() | sums.keys()):
        if path not in held or _sha256(held[path]) != sums.get(path):
            raise BadFile(f"{archive}: {path} is not what {SUMS} says")
    return len(held)


def _add(packed: zipfile.ZipFile, path: str, content: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(f"{FOLDER}/{path}", MOMENT)
    entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
    packed.writestr(entry, content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    *checking, name = sys.argv[1:] or [""]
    if not name.endswith(".zip") or checking not in ([], ["--check"]):
        sys.exit("usage: python -m oneshot.workflow.archive [--check] FILE.zip")
    path = Path(name)
    try:
        count = check(path) if checking else len(write(project_root(), path))
    except (BadFile, OSError) as error:
        sys.exit(str(error))
    size = f"{path.stat().st_size / 2**20:.1f} MB, SHA-256 {_sha256(path.read_bytes())}"
    print(f"{path}: {count} files{' as they were' if checking else ''}, {size}")


if __name__ == "__main__":
    main()
