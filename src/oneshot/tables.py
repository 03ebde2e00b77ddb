"""Reading the tables of runs.

The identity of a run is in its path, `results/<experiment>/<size>/policy<p>/<task>/run<r>/…`, and becomes columns.
"""

import re
from pathlib import Path

import pandas as pd

from oneshot.provenance import BadFile, read_csv

RUN_PATH = re.compile(r"(?P<size>[^/]+)/policy(?P<policy>\d+)/(?P<task>[^/]+)/run(?P<run>\d+)/")


def gather(paths: list[str | Path], columns: list[str]) -> pd.DataFrame:
    """The same table of several runs under one another, with columns policy and run in front."""
    frames = []
    for path in paths:
        match = RUN_PATH.search(Path(path).as_posix())
        if not match:
            raise BadFile(f"{path}: not the table of a run (expected …/policy<p>/<task>/run<r>/…)")
        frame = read_csv(path, columns)
        frame.insert(0, "policy", int(match["policy"]))
        frame.insert(1, "run", int(match["run"]))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def search_quantity(tables: dict[str, list[str]], quantity: str) -> pd.Series:
    """One quantity of every run's line search, indexed by policy and run."""
    search = gather(tables["search"], ["quantity", "value"])
    found = search[search.quantity == quantity]
    if len(found) != len(tables["search"]):
        raise BadFile(f"{', '.join(map(str, tables['search']))}: not one '{quantity}' in each")
    return found.set_index(["policy", "run"]).value
