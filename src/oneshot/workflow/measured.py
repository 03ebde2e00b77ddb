"""What has been measured so far: the tables of every experiment, in `expected/` or in `results/`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from oneshot.figures.tables import Tables
from oneshot.files import intact
from oneshot.workflow import catalogue, expected, experiment
from oneshot.workflow.plan import Job, Plan

EXPERIMENTS = ("ladder", "code", "smollm2", "laptop", "scale")
"""In the order in which their settings are shown."""
APART = tuple(name for name in EXPERIMENTS if name != "laptop")
"""Those whose settings are shown side by side: the laptop experiment's is the ladder's `one_decision` once more."""
SOURCES = ("expected", "results")


@contextmanager
def reference(root: Path) -> Iterator[Path]:
    """A folder that looks like `results/` and holds the tables of the reference run, as long as the context is open."""
    with TemporaryDirectory() as folder:
        for name in EXPERIMENTS:
            archive = expected.archive_of(name, root)
            for path, content in expected.read(archive)[0].items() if archive.exists() else ():
                target = Path(folder) / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        yield Path(folder)


@contextmanager
def source(name: str, root: Path) -> Iterator[Path]:
    """The folder of that name's tables: `expected`, the reference run, or `results`, this checkout's own runs."""
    if name == "results":
        yield root / "results"
    else:
        with reference(root) as folder:
            yield folder


def tables_in(
    results: Path,
    root: Path,
    kinds: tuple[str, ...],
    needed: tuple[str, ...] = (),
    only: str = "",
    experiments: tuple[str, ...] = APART,
) -> Tables:
    """The tables of these kinds, of all runs of each experiment that are there.

    Settings without one of the `needed` arms are left out, and so are all tasks but `only`, if it is given.
    """
    found = []
    for name in experiments:
        plan = Plan(experiment.load(name, root / "config"))
        for task in [task for task in plan.config["splits"] if only in ("", task)]:
            jobs = [
                job for job in plan.jobs if job.task == task and (results / name / _arm(job) / "points.csv").exists()
            ]
            if {job.arm for job in jobs} >= set(needed):
                found += [results / name / path for job in jobs for kind in kinds if (path := _path(job, kind))]
    return Tables([intact(path) for path in dict.fromkeys(found) if path.exists()])


def count(name: str, results: Path, root: Path) -> int:
    """The runs of arms of an experiment's config that have been measured."""
    jobs = Plan(experiment.load(name, root / "config")).jobs
    return sum((results / name / _arm(job) / "points.csv").exists() for job in jobs)


def _path(job: Job, kind: str) -> str:
    """The path of that table, as the Snakefile has it."""
    if kind in catalogue.ARM_TABLES:
        return f"{_arm(job)}/{kind}.csv"
    if kind in ("acceptance", "neighbours"):
        return f"{_policy(job)}/{kind}.csv"
    if kind in ("theory", "frontier"):
        return f"{kind}.csv"
    if kind == "expectations":
        return f"{job.model}/{job.task}/expectations.csv"
    if kind == "tuning":
        return f"{job.model}/{job.task}/tuning/{job.arm}/tuning.csv"
    return f"{_policy(job)}/run{job.run}/{kind}.csv"


def _policy(job: Job) -> str:
    return f"{job.model}/{job.task}/policy{job.policy}"


def _arm(job: Job) -> str:
    return f"{_policy(job)}/run{job.run}/arms/{job.arm}"
