"""Assigns this host's GPUs to jobs that run at the same time: each GPU belongs to one job until the job ends.

Small policies leave a GPU idle most of the time. Then the environment variable ONESHOT_JOBS_PER_GPU lets several jobs
share one, each with a place on it. Snakemake limits the number of jobs but does not assign GPUs; file locks do, among
the jobs of one user.
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
SHARING = "ONESHOT_JOBS_PER_GPU"
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
    """Names of `count` GPUs on which this job has a place inside the block; waits until so many have one free.

    No names on a host without GPUs. Raises ValueError if there are fewer than `count`.
    """
    names = visible_gpus() if count else []
    if names and len(names) < count:
        raise ValueError(f"engine.tensor_parallel: {count} GPUs wanted, {len(names)} to be seen ({', '.join(names)})")
    with ExitStack() as held:
        while len(claimed := _claim(names, count)) < min(count, len(names)):
            time.sleep(POLL_SECONDS)
        for lock in claimed.values():
            held.callback(lock.release)
        yield list(claimed)


def _claim(names: list[str], count: int) -> dict[str, FileLock]:
    """Name -> lock of a place on it, for `count` GPUs or none: jobs that wait and hold some could wait forever."""
    claimed: dict[str, FileLock] = {}
    for place in range(int(os.environ.get(SHARING, 1))):  # a second job on a GPU only when all others have one
        for name in names:
            if len(claimed) < count and name not in claimed:
                lock = FileLock(_lock_path(name, place))
                with suppress(Timeout):
                    lock.acquire(blocking=False)
                    claimed[name] = lock
    if len(claimed) < count:
        for lock in claimed.values():
            lock.release()
        return {}
    return claimed


def _lock_path(name: str, place: int) -> Path:
    return Path(tempfile.gettempdir()) / f"oneshot-{os.getuid()}-gpu-{name.replace('/', '-')}-{place}.lock"
