"""What is done to files and processes, and how often: a little in `make test-slow`, all of it in `make endurance`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ALL = bool(os.environ.get("ONESHOT_ENDURANCE"))
"""All trials, not a few."""


def times(few, many):
    return many if ALL else few


def truncated(content, rng):
    return content[: rng.integers(0, len(content))]


def flipped(content, rng):
    """One bit of one byte."""
    changed = bytearray(content)
    changed[rng.integers(0, len(content))] ^= 1 << rng.integers(0, 8)
    return bytes(changed)


def emptied(content, rng):
    return b""


def overwritten(content, rng):
    """Half of it is noise."""
    return content[: len(content) // 2] + rng.bytes(len(content) - len(content) // 2)


DAMAGES = (truncated, flipped, emptied, overwritten)


def start(folder, *targets, experiment="tiny"):
    """Snakemake on an experiment, in a session of its own, printing to a new `log`."""
    config = f"config/{experiment}.yaml"
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *targets, "--configfile", config]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True)


def descendants(parent):
    """Process id -> command line of all that descend from a process, kernels and sandboxes included."""
    children, commands = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            identity, rest = int(path.parent.name), path.read_text().rpartition(")")[2].split()
            commands[identity] = (path.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(rest[1]), []).append(identity)
    found, left = {}, [parent]
    while left:
        for child in children.get(left.pop(), []):
            found[child] = commands[child]
            left.append(child)
    return found


def alive(processes):
    """Those of the processes that have not ended."""
    return [identity for identity in processes if _state(identity) not in ("", "Z", "X")]


def _state(identity):
    try:
        return Path(f"/proc/{identity}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def kill(identity):
    try:
        os.kill(identity, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, seconds):
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def tables(folder, experiment="tiny"):
    """Path -> bytes of all tables whose content does not depend on the clock."""
    timed = {"timings", "frontier", "cheapest", "provenance"}
    found = {}
    for path in sorted(folder.glob(f"results/{experiment}/**/*.csv")):
        if path.stem not in timed and path.parent.name != "timings":
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def seeded(number):
    return np.random.default_rng(number)
