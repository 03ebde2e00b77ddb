"""GPUs are assigned to processes. Their names are made up, and no driver is asked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from oneshot.workflow import gpus
from oneshot.workflow.gpus import claimed_gpus, visible_gpus

HOLDER = """
import sys
from oneshot.workflow.gpus import claimed_gpus
with claimed_gpus(int(sys.argv[1])) as names:
    print(*names, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def four_gpus(tmp_path, monkeypatch):
    """Four names, and a folder for their locks."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,MIG-5/1/0,GPU-77")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(gpus.tempfile, "tempdir", None)
    monkeypatch.setattr(gpus, "POLL_SECONDS", 0.02)


@pytest.fixture
def hold(four_gpus):
    """Start a process that holds `count` GPUs until its input is closed: (process, their names)."""
    started = []

    def start(count):
        command = [sys.executable, "-c", HOLDER, str(count)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1], started[-1].stdout.readline().split()

    yield start
    for process in started:
        process.communicate()


def test_no_gpu_is_given_twice(hold):
    assert hold(1)[1] == ["0"]
    other, names = hold(2)
    assert names == ["1", "MIG-5/1/0"]
    with claimed_gpus(1) as mine:
        assert mine == ["GPU-77"]
    other.kill()
    other.wait()
    with claimed_gpus(3) as mine:
        assert mine == ["1", "MIG-5/1/0", "GPU-77"]


def test_who_finds_too_few_free_holds_none_and_waits(hold, monkeypatch):
    holder, _ = hold(3)
    waits = []

    def meanwhile(seconds):
        waits.append(seconds)
        with claimed_gpus(1) as names:
            assert names == ["GPU-77"]
        holder.communicate()

    monkeypatch.setattr(gpus.time, "sleep", meanwhile)
    with claimed_gpus(2) as names:
        assert names == ["0", "1"]
    assert len(waits) == 1


def test_jobs_share_gpus_once_each_has_one(hold, monkeypatch):
    monkeypatch.setenv("ONESHOT_JOBS_PER_GPU", "2")
    assert [hold(3)[1], hold(2)[1], hold(2)[1]] == [["0", "1", "MIG-5/1/0"], ["GPU-77", "0"], ["1", "MIG-5/1/0"]]


def test_more_than_there_are_is_refused(four_gpus):
    with pytest.raises(ValueError, match=r"engine.tensor_parallel: 5 GPUs wanted, 4 to be seen \(0, 1, MIG"):
        claimed_gpus(5).__enter__()


def test_a_host_without_gpus_gives_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    with claimed_gpus(1) as names:
        assert names == []


def papermill(source, folder):
    """What a notebook of that one cell has become, run by the project's engine."""
    cell = {"id": "0", "cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "display_name": ""}}
    path, done = folder / "in.ipynb", folder / "out.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    command = [sys.executable, "-m", "papermill", path, done, "--engine", "ipc", "--no-progress-bar"]
    subprocess.run(command, check=True, capture_output=True)
    return json.loads(done.read_text())


def test_a_kernel_sees_the_gpus_of_its_job_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("ONESHOT_GPUS", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "made-up,not-there,neither")
    done = papermill("import os\nprint(os.environ['CUDA_VISIBLE_DEVICES'])", tmp_path)
    assert done["cells"][-1]["outputs"][0]["text"] == ["made-up,not-there\n"]


def test_a_notebook_tells_the_peak_of_its_kernel(tmp_path):
    """300 MB are held for a moment."""
    done = papermill("held = bytearray(300 * 2**20)\ndel held", tmp_path)
    assert 300 < done["metadata"]["papermill"]["peak_mib"] < 600


@pytest.mark.slow
def test_the_trainer_keeps_to_its_device():
    """On a device written in Python, because no GPU is at hand: see other_device.py."""
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent / "other_device.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "5 passed" in done.stdout, done.stdout + done.stderr
