"""The archive holds the checkout, tells what has changed in it, and is enough to draw from."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from projects import copy_project

from oneshot.files import BadFile
from oneshot.workflow import archive

ROOT = Path(__file__).parent.parent


def checkout(folder, names=archive.NEEDED):
    for name in names:
        (folder / name).write_text(f"This is {name}.\n")
    run = folder / "run.sh"
    run.write_text("true\n")
    run.chmod(0o755)
    (folder / "untracked").write_text("no\n")
    for command in (["init", "-q"], ["add", *names, "run.sh"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_it_holds_what_git_tracks_and_equal_checkouts_give_equal_bytes(tmp_path):
    (tmp_path / "in").mkdir()
    root = checkout(tmp_path / "in")
    assert archive.write(root, tmp_path / "a.zip") == sorted([*archive.NEEDED, "run.sh"])
    for path in root.iterdir():
        os.utime(path, (1, 1)) if path.is_file() else None
    archive.write(root, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert archive.check(tmp_path / "a.zip") == 4
    with zipfile.ZipFile(tmp_path / "a.zip") as packed:
        assert packed.getinfo("oneshot-rlvr/run.sh").external_attr >> 16 == 0o755


def test_a_changed_missing_or_added_file_is_named(tmp_path):
    (tmp_path / "in").mkdir()
    archive.write(checkout(tmp_path / "in"), tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as packed:
        held = {name: packed.read(name) for name in packed.namelist()}
    readme = "oneshot-rlvr/README.md"
    for broken in ({**held, readme: b"other"}, {k: v for k, v in held.items() if k != readme}, {**held, "x": b""}):
        with zipfile.ZipFile(tmp_path / "b.zip", "w") as packed:
            for name, content in broken.items():
                packed.writestr(name, content)
        with pytest.raises(BadFile, match=r"(README\.md|x) is not what SHA256SUMS says"):
            archive.check(tmp_path / "b.zip")


def test_what_is_no_archive_and_no_checkout_is_told(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK no")
    with pytest.raises(BadFile, match=r"a\.zip: not a readable archive"):
        archive.check(tmp_path / "a.zip")
    with pytest.raises(BadFile, match=r"git tracks no CITATION\.cff here"):
        archive.write(tmp_path, tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.slow  # runs Snakemake
def test_a_figure_is_drawn_from_the_unpacked_archive_and_nothing_else_is_run(tmp_path):
    """From cached results: restore the tables, ask Snakemake for one figure; nothing else runs."""
    (tmp_path / "in").mkdir()
    root = copy_project(tmp_path / "in")
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    archive.write(root, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as packed:
        packed.extractall(tmp_path)
    folder = tmp_path / archive.FOLDER
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(*command):
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("oneshot.workflow.expected", "restore", "code")
    target = "figures/code/verdict.csv"
    told = run("snakemake", "--cores", "1", "--nolock", target, "--configfile", "config/code.yaml")
    assert (folder / target).exists()
    assert "1 of 1 steps" in told
