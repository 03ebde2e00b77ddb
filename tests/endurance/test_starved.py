"""Without disk, memory, network, caches or a second core: it works, or says in a line why not and loses nothing."""

import os
import resource
import shutil
import subprocess

import pytest
from projects import run_tiny
from trials import descendants, kill, start, times, wait_for

pytestmark = pytest.mark.slow
SHARD = "results/tiny/main/arithmetic/policy1/run0/rollouts/shard0.parquet"
TIMINGS = "results/tiny/main/arithmetic/policy1/run0/timings/sample0.csv"
NEEDED = "results/tiny/main/arithmetic/policy1/run0/rollouts/shard1.parquet"
"""Made before, and not to be touched."""
ROOM = 4
"""MiB of the small disk beyond what the results take."""


@pytest.fixture
def missing(finished):
    """The project with one shard of rollouts to be drawn: (folder, what the shard was)."""
    before = (finished / SHARD).read_bytes()
    (finished / SHARD).unlink()
    (finished / TIMINGS).unlink()
    return finished, before


def completes(folder, before):
    code, output = run_tiny(folder, SHARD)
    assert code == 0, output
    assert (folder / SHARD).read_bytes() == before


def refuses(folder, complaint, prefix=()):
    """One line says why; nothing is half-written, and what was there is as it was."""
    before = (folder / NEEDED).read_bytes()
    code, output = run_tiny(folder, SHARD, prefix=prefix)
    assert code != 0
    assert complaint in output
    assert not (folder / SHARD).exists()
    assert not list(folder.glob("results/**/*.partial*"))
    assert (folder / NEEDED).read_bytes() == before


@pytest.fixture
def mounted(finished):
    """Mounts something on the results of the project, which are there again afterwards."""
    results, away = finished / "results", finished / "results.away"

    def mount(*options):
        if subprocess.run(["mount", *options, results], capture_output=True).returncode:
            pytest.skip("mounting takes a privileged user")

    yield mount
    while subprocess.run(["mountpoint", "-q", results]).returncode == 0:
        subprocess.run(["umount", results], check=True)
    if away.exists():
        shutil.rmtree(results)
        away.rename(results)


@pytest.mark.parametrize("left", [4, 16, 24, 28][:: times(2, 1)])
def test_a_full_disk(missing, mounted, left):
    """`left` KiB are free when the run begins."""
    folder, before = missing
    results = folder / "results"
    size = sum(path.stat().st_size // 4096 + 1 for path in results.rglob("*")) // 256 + ROOM
    results.rename(folder / "results.away")
    results.mkdir()
    mounted("-t", "tmpfs", "-o", f"size={size}m", "tmpfs")
    shutil.copytree(folder / "results.away", results, dirs_exist_ok=True)
    (results / "filler").write_bytes(bytes(shutil.disk_usage(results).free - left * 1024))
    refuses(folder, "No space left on device")
    (results / "filler").unlink()
    completes(folder, before)


def test_a_read_only_folder(missing, mounted):
    folder, before = missing
    mounted("--bind", folder / "results")
    subprocess.run(["mount", "-o", "remount,ro,bind", folder / "results"], check=True)
    refuses(folder, "Read-only file system: '")
    subprocess.run(["umount", folder / "results"], check=True)
    completes(folder, before)


def test_files_of_limited_size(missing):
    """No shard fits: an ordinary user's full disk."""
    folder, before = missing
    refuses(folder, "File too large", prefix=["prlimit", f"--fsize={16 << 10}:{resource.RLIM_INFINITY}"])
    completes(folder, before)


def test_a_kernel_that_the_system_kills(missing):
    """As it does when memory runs out."""
    folder, before = missing
    run = start(folder, SHARD)

    def kernels():
        return [one for one, command in descendants(run.pid).items() if "ipykernel_launcher" in command]

    assert wait_for(kernels, 60)
    assert kill(kernels()[0])
    assert run.wait(timeout=120) != 0
    told = (folder / "log").read_text()
    assert "the notebook's kernel was killed. If nobody did, the machine has run out of memory" in told
    completes(folder, before)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_no_network(missing):
    folder, before = missing
    alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("cutting off the network takes user namespaces")
    code, output = run_tiny(folder, SHARD, prefix=alone)
    assert code == 0, output
    assert (folder / SHARD).read_bytes() == before


def test_no_home_and_no_caches(missing, monkeypatch):
    folder, before = missing
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "/nonexistent")
    completes(folder, before)


def test_one_core(missing):
    folder, before = missing
    code, output = run_tiny(folder, SHARD, prefix=["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))])
    assert code == 0, output
    assert (folder / SHARD).read_bytes() == before
