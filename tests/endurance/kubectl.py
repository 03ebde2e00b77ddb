"""A stand-in for kubectl, and for the cluster behind it: a job is a process of this machine.

It knows the three calls of profiles/kubernetes. Jobs are files in the folder that KUBECTL_JOBS names: `NAME.json` is a
job's manifest, `NAME.pid` its process, `NAME.exit` its exit code. A deleted job is killed and forgotten.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

JOBS = Path(os.environ["KUBECTL_JOBS"])


def create(*arguments):
    assert arguments == ("-f", "-", "-o", "jsonpath={.metadata.name}")
    job = json.load(sys.stdin)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    name = f"{job['metadata']['generateName']}{len(list(JOBS.glob('*.log')))}"
    (JOBS / f"{name}.json").write_text(json.dumps(job))
    told = ["bash", "-c", '"$@"; echo $? >"$0.part"; mv "$0.part" "$0"', JOBS / f"{name}.exit", *container["command"]]
    with (JOBS / f"{name}.log").open("wb") as log:
        pod = subprocess.Popen(told, cwd=container["workingDir"], stdout=log, stderr=log, start_new_session=True)
    (JOBS / f"{name}.pid").write_text(str(pod.pid))
    print(name, end="")


def get(kind, name, *arguments):
    assert (kind, arguments[0]) == ("job", "--ignore-not-found")
    if (JOBS / f"{name}.json").exists():
        ended = JOBS / f"{name}.exit"
        condition = "" if not ended.exists() else "Complete" if ended.read_text().strip() == "0" else "Failed"
        print(f"{name} {condition}", end="")


def delete(kind, wait, *names):
    assert (kind, wait) == ("job", "--wait=false")
    for name in names:
        (JOBS / f"{name}.json").rename(JOBS / f"{name}.deleted")
        os.killpg(int((JOBS / f"{name}.pid").read_text()), signal.SIGKILL)


if __name__ == "__main__":
    {"create": create, "get": get, "delete": delete}[sys.argv[1]](*sys.argv[2:])
