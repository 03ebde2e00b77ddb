"""An arm, half way: what a job leaves behind when it is killed, so that the next one goes on where it was.

Every few minutes, between two steps, a sealed file beside the arm's tables takes in what the rest of the arm depends
on: master weights and the optimiser's moments, the tables, the ledger and the path that was kept. It counts as long as
the next job starts from the same files, parameters and code (`origin_of`); else, and if it is damaged, that one begins
anew. A method whose next step depends on nothing but these and the step's number says `TAKEN_UP = True`.
"""

import json
import os
import time
from dataclasses import asdict
from types import ModuleType

import pandas as pd

from oneshot.arms import TABLES
from oneshot.baselines.lab import Lab
from oneshot.files import BadFile, intact, resolve, seal_of
from oneshot.measures.recorder import Recorder
from oneshot.measures.trajectory import Trajectory
from oneshot.vectors import read_header, read_tensors, save_tensors

EVERY_S = float(os.environ.get("ONESHOT_KEEP_EVERY_S", 300))
LARGEST_SHARE = 0.02
"""Of the time, for keeping what an arm has come to."""
BY_PROBLEM = "by_problem"
"""The one table that is collected in frames, not in rows."""


class SoFar:
    """`take_up`, then `keep` after every step that is recorded, and `forget` when the tables are written."""

    def __init__(
        self, output: str, method: ModuleType, lab: Lab, recorder: Recorder, trajectory: Trajectory, origin: str
    ):
        """`output`: one of the arm's tables; the file lies beside it."""
        self.path = resolve(output).with_name("so_far.safetensors")
        self.lab, self.recorder, self.trajectory, self.origin = lab, recorder, trajectory, origin
        self.possible = getattr(method, "TAKEN_UP", False) and lab.policy.processes == 1
        self.next = time.monotonic() + EVERY_S

    def take_up(self) -> int:
        """Put everything where the last job left it. Returns the steps that it had taken; 0: there is none to go on."""
        if not self.possible or not self.path.exists():
            return 0
        try:
            told, _ = read_header(intact(self.path), "arm, half way")
        except BadFile:
            return 0
        if told["origin"] != self.origin:
            return 0
        tensors = read_tensors(self.path)
        self.lab.taken = told["step"]
        self.lab.left = _under("left", tensors)
        self.trajectory.kept = _under("path", tensors)
        for name, value in told["ledger"].items():
            setattr(self.lab.ledger, name, value)
        tables = json.loads(told["tables"])
        for name in tables.keys() - {BY_PROBLEM}:
            setattr(self.recorder.tables, name, tables[name])
        self.recorder.tables.by_problem = [pd.DataFrame(tables[BY_PROBLEM])]
        return self.lab.taken

    def keep(self, step: float) -> None:
        """Keep what the arm has come to after this step, if it is time to."""
        begun = time.monotonic()
        if not self.possible or begun < self.next:
            return
        tables = {name: getattr(self.recorder.tables, name) for name in TABLES}
        tables[BY_PROBLEM] = self.recorder.tables.frame(BY_PROBLEM).to_dict("records")
        told = json.dumps(tables, default=lambda number: number.item())  # text: a header would sort its columns
        header = {"origin": self.origin, "step": step, "ledger": asdict(self.lab.ledger), "tables": told}
        tensors = {f"left/{name}": value for name, value in self.lab.in_use.state().items()}
        tensors |= {f"path/{name}": value for name, value in self.trajectory.kept.items()}
        save_tensors(tensors, self.path, header)
        took = time.monotonic() - begun
        self.next = time.monotonic() + max(EVERY_S, took / LARGEST_SHARE)

    def forget(self) -> None:
        for path in (self.path, seal_of(self.path)):
            path.unlink(missing_ok=True)


def _under(prefix: str, tensors: dict) -> dict:
    return {name.removeprefix(f"{prefix}/"): value for name, value in tensors.items() if name.startswith(f"{prefix}/")}
