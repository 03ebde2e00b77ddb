"""How long jobs take, what they write and hold in memory, from the notebooks that runs have left, and a forecast.

    python -m oneshot.workflow.durations record laptop              # adds results/laptop/ to expected/durations.csv
    python -m oneshot.workflow.durations forecast config/ladder.yaml [target ...]   # before anything starts

A job is told by its notebook and whom it is about. One that was never run is taken to last as the nearest that was:
another arm of the setting, another setting of the experiment. Those of another experiment say nothing: their models
differ by orders of magnitude. Seconds are scaled by the rate of a matrix product on this machine and on the one that
they were measured on.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from oneshot.files import BadFile, MissingInput, project_root, read_csv, write_csv

KEY = ["notebook", "experiment", "model", "task", "arm"]
"""From what counts most to what counts least when the nearest job is looked for."""
PEAK = "peak_mib"
"""As papermill_engine.py notes it."""
SIZES = ["seconds", "mib", PEAK]
COLUMNS = [*KEY, "jobs", *SIZES, "gflops"]
WIDER = [KEY[:count] for count in range(len(KEY), 1, -1)]


def collect(experiment: str, root: Path, gflops: float) -> pd.DataFrame:
    """A row for each kind of job that has been run: how many, medians of seconds and MiB written, the highest peak.

    Raises MissingInput if none has been.
    """
    rows = [row for folder in ("results", "figures") for row in _finished(root / folder / experiment, root)]
    if not rows:
        raise MissingInput(f"results/{experiment} holds no finished notebook: run the experiment first")
    jobs = pd.DataFrame(rows).assign(experiment=experiment).groupby(KEY, sort=False)
    how = {"seconds": "median", "mib": "median", PEAK: "max"}
    found = jobs.agg(jobs=("seconds", "size"), **{name: (name, way) for name, way in how.items()}).reset_index()
    return found.assign(gflops=gflops)[COLUMNS].round({"seconds": 1, "mib": 2, "gflops": 1})


def _finished(folder: Path, root: Path) -> Iterator[dict]:
    for path in sorted(folder.rglob("*.ipynb")):
        notebook = json.loads(path.read_text())
        told = notebook["metadata"].get("papermill", {})
        cells = [cell["metadata"].get("papermill", {}).get("status") for cell in notebook["cells"]]
        if not told.get("duration") or {"failed", "running", "pending"} & set(cells):
            continue
        of = told["parameters"].get("identity", {})
        written = [root / name for name in _paths(told["parameters"].get("out", {}))]
        head = {name: str(of.get(name, "")) for name in KEY}
        size = sum(file.stat().st_size for file in written if file.exists()) / 2**20
        head["notebook"] = Path(told["input_path"]).stem
        yield {**head, "seconds": told["duration"], "mib": size, PEAK: told.get(PEAK, float("nan"))}


def _paths(out: dict) -> list[str]:
    return [path for path in out.values() if isinstance(path, str)]


def record(experiment: str, root: Path, gflops: float) -> pd.DataFrame:
    """Add what an experiment's jobs took to `expected/durations.csv`; what is measured anew replaces what was there."""
    new = collect(experiment, root, gflops)
    known = pd.concat([new, _recorded(root)]).drop_duplicates(KEY).sort_values(["experiment", *KEY])
    write_csv(known, _file(root), sealed=False)
    return new


def _file(root: Path) -> Path:
    return root / "expected/durations.csv"


def _recorded(root: Path) -> pd.DataFrame:
    if not _file(root).exists():
        return pd.DataFrame(columns=COLUMNS)
    return read_csv(_file(root), COLUMNS).fillna(dict.fromkeys(KEY, ""))


def planned(dry_run: str, experiment: str) -> pd.DataFrame:
    """The jobs in what `snakemake --dry-run` prints, KEY and threads of each; those without a notebook are left out."""
    rows = []
    for job in re.split(r"^(?:local)?rule \w+:$", dry_run, flags=re.MULTILINE)[1:]:
        notebook = re.search(r"^    input: notebooks/(\w+)\.ipynb", job, re.MULTILINE)
        wildcards = re.search(r"^    wildcards: (.*)$", job, re.MULTILINE)
        if notebook:
            of = dict(re.findall(r"(\w+)=([^,\s]+)", wildcards[1])) if wildcards else {}
            known = {name: of.get(name, "") for name in KEY}
            threads = re.search(r"^    threads: (\d+)$", job, re.MULTILINE)  # printed where there are several
            own = {"notebook": notebook[1], "experiment": experiment, "threads": int(threads[1]) if threads else 1}
            rows.append({**known, **own})
    return pd.DataFrame(rows, columns=[*KEY, "threads"])


def forecast(jobs: pd.DataFrame, known: pd.DataFrame, gflops: float) -> pd.DataFrame:
    """The jobs with their seconds on a machine of that rate, and their sizes; nan where nothing near was ever run."""
    known = known.assign(seconds=known.seconds * known.gflops / gflops)
    jobs = jobs.assign(**dict.fromkeys(SIZES, float("nan")))
    for key in WIDER:
        nearest = jobs[key].merge(known.groupby(key)[SIZES].mean(), left_on=key, right_index=True, how="left")[SIZES]
        jobs[SIZES] = jobs[SIZES].fillna(nearest.set_axis(jobs.index))
    return jobs


def told(jobs: pd.DataFrame, cores: int) -> str:
    """The forecast in words: a line for each notebook, and the whole."""
    if jobs.empty:
        return "nothing is left to run"
    lines = [
        f"{len(rows):>6} × {notebook:<18}{_span(rows.seconds.sum()) if rows.seconds.notna().any() else '?'}"
        for notebook, rows in jobs.groupby("notebook")
    ]
    whole, unknown = (jobs.seconds * jobs.threads).sum(), int(jobs.seconds.isna().sum())
    if unknown < len(jobs):
        lines.append(
            f"{len(jobs) - unknown:>6} jobs, {_span(whole)} of one core: about {_span(whole / cores)} on {cores}"
        )
        lines.append(f"       {jobs.mib.sum() / 1024:.1f} GB of files")
    if jobs[PEAK].notna().any():
        largest = jobs.loc[jobs[PEAK].idxmax()]
        lines.append(f"       up to {largest[PEAK] / 1024:.1f} GB of memory for a job ({largest.notebook})")
    if unknown:
        lines.append(f"{unknown:>6} jobs of notebooks that have never been timed in this experiment")
    return "\n".join(lines)


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{max(1, minutes)} min"


def main() -> None:
    from oneshot.measures.throughput import measure_sgemm

    root, arguments = project_root(), sys.argv[1:]
    if len(arguments) < 2 or arguments[0] not in ("record", "forecast"):
        sys.exit("usage: python -m oneshot.workflow.durations record EXPERIMENT | forecast CONFIG [TARGET ...]")
    action, name, *targets = arguments
    try:
        if action == "record":
            print(f"expected/durations.csv: {len(record(name, root, measure_sgemm()))} kinds of jobs of {name}")
            return
        command = [sys.executable, "-m", "snakemake", "--cores", "all", "--dry-run", "--nolock"]
        command += targets or ["figures"]
        done = subprocess.run([*command, "--configfile", name], cwd=root, capture_output=True, text=True)
        if done.returncode:
            sys.exit((done.stderr + done.stdout).strip())
        jobs = planned(done.stdout + done.stderr, Path(name).stem)
        print(told(forecast(jobs, _recorded(root), measure_sgemm()), len(os.sched_getaffinity(0))))
    except (BadFile, MissingInput) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
