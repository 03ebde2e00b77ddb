"""Who is at work on an experiment's results: one run at a time, and no lock that a killed one leaves behind.

The system takes a file lock back when its process ends, however it ends. Snakemake's own lock outlives a kill, and its
user has to unlock; profiles/default switches it off.
"""

import os
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

LOCK, HOLDER = ".run.lock", ".run"
"""Names of the files in an experiment's results: the lock, and who holds it or was killed while it did."""
_held: dict[Path, FileLock] = {}


class Taken(RuntimeError):
    """Another run is at work on the same experiment."""


def take(results: str | Path) -> None:
    """Hold an experiment's folder of results until this process ends. Says so if the last run was killed.

    Raises Taken, one line, if another run holds it.
    """
    folder = Path(results)
    folder.mkdir(parents=True, exist_ok=True)
    lock, note = FileLock(folder / LOCK), folder / HOLDER
    holder = note.read_text() if note.exists() else ""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        told = f" ({holder})" if holder else ""
        raise Taken(f"{results}: another run is at work here{told}: wait for its end, or stop it") from None
    if holder:
        told = f"The last run here ({holder}) was killed. What had finished is kept, and the rest is taken up."
        print(told, file=sys.stderr)
    note.write_text(f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M')}")
    _held[folder] = lock


def give_back() -> None:
    """What this process holds is free, and the next run has nothing to say about this one."""
    for folder, lock in _held.items():
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()
    _held.clear()
