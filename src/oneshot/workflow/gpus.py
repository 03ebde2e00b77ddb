"""GPUs of this host, shared out among jobs that run at the same time: each belongs to one job until it ends.

Snakemake counts how many jobs may run; which GPU is whose it does not say. Locks on files do, among jobs of one user.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL_SECONDS = 1.0


def visible_gpus() -> list[str]:
    """Their names, by which CUDA_VISIBLE_DEVICES may pick them: those it names now, else all of the host."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name]
    try:
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []


@contextmanager
def claimed_gpus(count: int) -> Iterator[list[str]]:
    """Names of `count` GPUs that are nobody else's inside the block; waits until so many are free.

    No names on a host without GPUs. Raises ValueError if there are fewer than `count`.
    """
    names = visible_gpus() if count else []
    if names and len(names) < count:
        raise ValueError(f"engine.tensor_parallel: {count} GPUs wanted, {len(names)} to be seen ({', '.join(names)})")
    locks = {name: FileLock(_lock_path(name)) for name in names}
    with ExitStack() as held:
        while len(claimed := _claim(locks, count)) < min(count, len(names)):
            time.sleep(POLL_SECONDS)
        for name in claimed:
            held.callback(locks[name].release)
        yield claimed


def _lock_path(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"oneshot-{os.getuid()}-gpu-{name.replace('/', '-')}.lock"


def _claim(locks: dict[str, FileLock], count: int) -> list[str]:
    """As many free GPUs as are wanted, or none: a job that held some and waited for more could wait for ever."""
    claimed: list[str] = []
    for name, lock in locks.items():
        with suppress(Timeout):
            if len(claimed) < count:
                lock.acquire(blocking=False)
                claimed.append(name)
    if len(claimed) < count:
        for name in claimed:
            locks[name].release()
        return []
    return claimed
