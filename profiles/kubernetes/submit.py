"""Submit a job of Snakemake's to Kubernetes, in the form of job.yaml beside this file, and print its name."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import yaml


def manifest(script: str, gpus: int, cpus: int, megabytes: int, minutes: int) -> dict:
    """The job that runs `script` in this folder. Memory is a limit as well as a request; GPUs are both by nature."""
    job = yaml.safe_load(Path(__file__).with_name("job.yaml").read_text())
    job["spec"]["activeDeadlineSeconds"] = 60 * minutes
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container |= {"command": ["bash", script], "workingDir": str(Path.cwd())}
    limits = {"memory": f"{megabytes}M"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    container["resources"] = {"requests": {"cpu": str(cpus), "memory": f"{megabytes}M"}, "limits": limits}
    return job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("gpus", "cpus", "megabytes", "minutes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("script")
    told = json.dumps(manifest(**vars(parser.parse_args())))
    command = ["kubectl", "create", "-f", "-", "-o", "jsonpath={.metadata.name}"]
    try:
        print(subprocess.run(command, input=told, text=True, check=True, stdout=subprocess.PIPE).stdout)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"kubectl could not create the job ({error}): does `kubectl get jobs` work here?")


if __name__ == "__main__":
    main()
