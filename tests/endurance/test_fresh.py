"""A new user, an empty home, no caches, a PATH of the system's alone: a clone, the smoke experiment, the fast tests.

`ONESHOT_PYTHONS` names the interpreters, separated by colons; by default those of the system that are new enough.
"""

import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from projects import ROOT
from trials import ALL

NEEDED = ("useradd", "userdel", "runuser", "git", "make")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ALL, reason="installs everything anew: make endurance"),
    pytest.mark.skipif(os.geteuid() != 0 or not all(map(shutil.which, NEEDED)), reason="making a user takes root"),
]
SYSTEM = "/usr/local/bin:/usr/bin:/bin"
NEW_ENOUGH = ("python3.11", "python3.12", "python3.13")
PYTHONS = os.environ.get("ONESHOT_PYTHONS", "").split(":")
COMMANDS = ("smoke", "test")


@pytest.fixture
def user():
    name = f"fresh-{uuid.uuid4().hex[:8]}"
    subprocess.run(["useradd", "--create-home", name], check=True)
    yield name
    subprocess.run(["userdel", "--remove", name], check=True)


def received():
    """Bytes that have come in over the network so far."""
    rows = (line.split(":") for line in Path("/proc/net/dev").read_text().splitlines()[2:])
    return sum(int(counts.split()[0]) for name, counts in rows if name.strip() != "lo")


@pytest.mark.parametrize("python", [path for path in [*PYTHONS, *map(shutil.which, NEW_ENOUGH)] if path])
def test_two_commands(user, python, capsys):
    home = Path(f"~{user}").expanduser()
    subprocess.run(["git", "clone", "--quiet", ROOT, home / "checkout"], check=True)
    subprocess.run(["chown", "--recursive", f"{user}:", home / "checkout"], check=True)
    alone = ["runuser", "-u", user, "--", "env", "-i", f"HOME={home}", f"PATH={SYSTEM}"]
    if subprocess.run([*alone, python, "-c", "import ensurepip"], capture_output=True).returncode:
        pytest.skip(f"{python} cannot be run by another user, or makes no environments")
    for command in (".venv/installed", *COMMANDS):
        begun, before = time.monotonic(), received()
        done = subprocess.run(
            [*alone, "make", f"PYTHON={python}", command], cwd=home / "checkout", capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        with capsys.disabled():
            megabytes = (received() - before) / 1e6
            print(f"\n{python}: make {command} took {time.monotonic() - begun:.0f} s, {megabytes:,.0f} MB came in")
    assert (home / "checkout/figures/smoke/central.pdf").stat().st_size
