"""A reader's way through the notebooks: each with its default parameters, one after the other, and no Snakemake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from projects import ROOT, copy_project

pytestmark = pytest.mark.slow
ORDER = [
    "00_start_here",
    "00_theory",
    "00_expectations",
    "00_acceptance",
    "01_base",
    "01_tries",
    "01_sample",
    "02_gradient",
    "03_direction",
    "03_line_search",
    "03_slope",
    "05_baseline",
    "05_tuning",
    "04_batch",
    "04_curvature",
    "04_trajectory",
    "04_turning",
    "06_scale",
    "07_frontier",
    "08_failure",
    "09_figures",
    "10_summary",
]
"""00_problems and 00_pretrain are run by the first; the arms of 05 come before what is made of their paths."""
NEEDS_MORE = {"00_load": "downloads a model, or takes it from a package"}


def read(folder, name):
    """Run a notebook as a reader would: (exit code, what was printed, the last line of the last cell of code)."""
    command = [sys.executable, "-m", "papermill", f"notebooks/{name}.ipynb", f"{name}.ipynb", "--cwd", "."]
    command += ["--engine", "ipc", "--kernel", "python3", "--no-progress-bar"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    cells = json.loads((folder / f"{name}.ipynb").read_text())["cells"]
    last = [cell for cell in cells if cell["cell_type"] == "code"][-1]  # an exercise may stand behind it
    told = [line for output in last["outputs"] for line in "".join(output.get("text", "")).splitlines()]
    return done.returncode, done.stdout + done.stderr, told[-1] if told else ""


def test_every_notebook_runs_alone_and_ends_on_what_was_learnt(tmp_path):
    folder = copy_project(tmp_path)
    for name in ORDER:
        code, output, told = read(folder, name)
        assert code == 0, f"{name}: {output[-2000:]}"
        assert told, name


def test_none_is_left_out():
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks == {*ORDER, *NEEDS_MORE, "00_problems", "00_pretrain"}
