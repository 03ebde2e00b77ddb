"""An experiment run again and again in one checkout: nothing is left behind or piles up, every table is the same."""

import itertools
import shutil
import time
from pathlib import Path

import pytest
from projects import copy_project
from trials import ALL, alive, descendants, start, tables, times, wait_for

pytestmark = pytest.mark.slow
EXPERIMENT = "laptop" if ALL else "tiny"
TARGET = "figures" if ALL else "results/tiny/main/arithmetic/policy1/run0/arms/one_shot/points.csv"
MADE = ["results/laptop", "figures/laptop"] if ALL else ["results/tiny/main/arithmetic/policy1/run0"]
"""Deleted before every run, so that it makes them anew."""
LAST_WORDS, EVERY = 60, 0.5
"""Seconds: in which processes have to be gone when a run has ended, and from one look at them to the next."""
SHARED_MEMORY = Path("/dev/shm")


def watched(run):
    """(ids of all processes that a run has started, how many files Snakemake had open at each look with one), at its
    end.
    """
    seen, open_files = set(), []
    while not wait_for(lambda: run.poll() is not None, EVERY):
        children = descendants(run.pid)
        seen |= set(children)
        try:
            if children:
                open_files.append(len(list(Path(f"/proc/{run.pid}/fd").iterdir())))
        except FileNotFoundError:
            continue
    return seen, open_files


def lasting(counts):
    """The counts, less what is open at one look alone: starting a job takes up to four more files, for 20 ms."""
    return [min(pair) for pair in itertools.pairwise(counts)]


@pytest.fixture
def checkout(request, tmp_path):
    return copy_project(tmp_path / "project") if ALL else request.getfixturevalue("finished")


def test_run_after_run(checkout, tmp_path, monkeypatch, capsys):
    temporary, before = tmp_path / "t", set()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    shared = set(SHARED_MEMORY.glob("*"))
    for number in range(times(2, 3)):
        for made in MADE:
            shutil.rmtree(checkout / made, ignore_errors=True)
        begun = time.monotonic()
        run = start(checkout, TARGET, experiment=EXPERIMENT)
        seen, open_files = watched(run)
        assert run.returncode == 0, (checkout / "log").read_text()[-2000:]
        assert seen
        assert wait_for(lambda seen=seen: not alive(seen), LAST_WORDS), "processes are left behind"
        kept = lasting(open_files)
        assert kept[-1] <= max(kept[: len(kept) // 2]), "Snakemake's open files pile up"
        assert not list(temporary.iterdir())
        assert not list(checkout.glob("results/**/*.partial*"))
        assert not [path for path in (checkout / ".snakemake/locks").glob("*") if path.is_file()]
        assert not (ALL and set(SHARED_MEMORY.glob("*")) - shared)
        made = tables(checkout, EXPERIMENT)
        assert not number or made == before
        before = made
        minutes = (time.monotonic() - begun) / 60
        with capsys.disabled():
            print(f"\nrun {number + 1}: {minutes:.1f} min, {len(seen)} processes, {len(made)} tables")
