"""Assigns this host's GPUs to jobs that run at the same time: each GPU belongs to one job until the job ends.

Snakemake limits the number of jobs but does not assign GPUs; file locks do, among the jobs of one user.
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
    """Names of GPUs as CUDA_VISIBLE_DEVICES takes them: those that it names now, or else all of the host."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name]
    try:
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []


@contextmanager
def claimed_gpus(count: int) -> Iterator[list[str]]:
    """Names of `count` GPUs that no other job has inside the block; waits until so many are free.

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
    """`count` free GPUs, or none: jobs that hold some while they wait for more could wait forever."""
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
