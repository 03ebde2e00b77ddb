"""The paper, from the reference run or from this checkout's own: every number and every figure in it.

Writes `paper/build/`: `arms.csv`, a row for each setting and arm; `claims.csv`; the tables of the appendix; the
figures. Then compiles `paper/main.typ`, which reads them and has no number of its own.

    python -m oneshot.workflow.paper expected    # or results
"""

import sys
from importlib import import_module
from pathlib import Path

import pandas as pd
import typst

from oneshot.figures import quoted, style
from oneshot.figures.first_look import frame as first_look
from oneshot.figures.spending import cheapest, spent
from oneshot.figures.tables import SETTING, Tables, at_last, over_policies
from oneshot.files import MissingInput, project_root, read_csv, write_csv
from oneshot.workflow import appendix, catalogue, claims, cost, measured

KINDS = ("points", "by_problem", "timings", "quantities", "acceptance")
SPENT = ("sampling_phases", "gradient_steps", "rollouts", "batch_rollouts", "kl_nats", "seconds")
PICTURES = {
    "verdict": ("verdict", ""),
    "methods": ("methods", "contexts_64"),
    "breadth": ("breadth", "contexts_64"),
    "cosine": ("cosine", "contexts_64"),
    "linearity": ("linearity", "contexts_64"),
    "tilt": ("tilt", "contexts_64"),
    "retention": ("retention", "contexts_64"),
}
"""File -> the figure, and the task that it is about; all settings if there is none."""


def numbers(tables: Tables) -> pd.DataFrame:
    """A row for each setting and arm: accuracies, shares of the rival's gain, what is kept, and what was spent."""
    points = at_last(tables.timed(tables.points[tables.points.split == "test"]))
    rows = first_look(tables)
    for name in SPENT:
        spent = over_policies(points, ["arm"], name)[[*SETTING, "arm", "value"]].rename(columns={"value": name})
        rows = rows.merge(spent, on=[*SETTING, "arm"], how="left")
    return rows.assign(label=[style.label(arm) for arm in rows.arm])


def build(results: Path, root: Path, folder: Path) -> None:
    """Write everything that the paper reads. Raises MissingInput if no setting has been measured."""
    tables = measured.tables_in(results, root, KINDS, quoted.CENTRAL[1:])
    if not tables.paths["points"]:
        raise MissingInput(f"{results}: no setting with the arms {', '.join(quoted.CENTRAL[1:])} has been measured")
    write_csv(numbers(tables), folder / "arms.csv", sealed=False)
    listed = claims.load(root / "config/claims.yaml")
    found = claims.checked(listed, results, root).assign(says=[claim.says for claim in listed])
    write_csv(found, folder / "claims.csv", sealed=False)
    wide = measured.tables_in(results, root, ("points", "by_problem", "timings", "acceptance", "tuning"))
    parts = {
        "cheapest": cheapest(spent(tables)),
        "policies": appendix.policies(wide),
        "expectations": appendix.expectations(wide, root),
        "tuning": appendix.tuning(wide, root),
        "record": appendix.record(root),
        "cost": read_csv(root / cost.RECORD, ["model", "task", "arm"]),
    }
    for name, rows in parts.items():
        write_csv(rows, folder / f"{name}.csv", sealed=False)
    entries = catalogue.load(root / "config/figures.yaml").entries
    style.set_style()
    for name, (figure, task) in PICTURES.items():
        module, needed = import_module(f"oneshot.figures.{figure}"), () if task else quoted.CENTRAL[1:]
        read = measured.tables_in(results, root, tuple(entries[figure]["reads"]), needed, task)
        style.save(module.draw(module.frame(read)), [folder / f"{name}.pdf", folder / f"{name}.png"])


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in measured.SOURCES:
        sys.exit("usage: python -m oneshot.workflow.paper expected|results")
    root = project_root()
    try:
        with measured.source(sys.argv[1], root) as results:
            build(results, root, root / "paper/build")
    except MissingInput as error:
        sys.exit(str(error))
    typst.compile(root / "paper/main.typ", output=root / "paper/main.pdf", root=root)
    print("paper/main.pdf")


if __name__ == "__main__":
    main()
