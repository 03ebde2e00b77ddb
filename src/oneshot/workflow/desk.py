"""The reviewer's desk: one page with every figure and table, its question, the claim it decides and the way to it.

    python -m oneshot.workflow.desk expected    # from the reference run; or results, from this checkout's own runs

Writes `desk/`: `index.html`; for each experiment its figures (PNG, PDF), tables, their data as CSV, and a landscape to
move about in (`oneshot.workflow.interactive`); the notebooks as pages, as executed where a run has left them. Nothing
on these pages is fetched from a network. A figure whose tables have not been measured is named as missing.
"""

import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbconvert import HTMLExporter
from nbconvert.filters.markdown import markdown2html

from oneshot.figures import quoted, style
from oneshot.figures.tables import Tables
from oneshot.files import MissingInput, project_root, write_csv, write_text
from oneshot.workflow import catalogue, claims, interactive, measured
from oneshot.workflow.provenance import stamp

OFFLINE = {"mathjax_url": "", "require_js_url": "", "jquery_url": "", "widget_renderer_url": ""}
"""What nbconvert would otherwise have a page fetch."""
HALVES = 150
"""Dots per inch of a picture: at this, one fills a column of the page on a screen of twice the usual density."""


@dataclass
class Card:
    """One figure or table of one experiment."""

    name: str
    entry: dict
    """Of the catalogue."""
    claims: list[dict] = field(default_factory=list)
    markdown: str = ""
    """A table's; empty for a figure."""


def build(results: Path, root: Path, folder: Path) -> list[str]:
    """Write the desk into a folder. Returns the experiments on it. Raises MissingInput if nothing has been measured."""
    entries, decided = catalogue.load(root / "config/figures.yaml").entries, _decided(results, root)
    style.set_style()
    shown = {name: _experiment(name, entries, results, root, folder) for name in measured.EXPERIMENTS}
    shown = {name: of for name, of in shown.items() if of["cards"]}
    if not shown:
        raise MissingInput(f"{results}: nothing has been measured yet")
    for claim in decided:
        for card in shown.get(claim["experiment"], {"cards": []})["cards"]:
            if card.name == claim["figure"]:
                card.claims.append(claim)
    _notebooks(results, root, folder / "notebooks")
    pages = Environment(loader=FileSystemLoader(root / "paper"), autoescape=True, undefined=StrictUndefined)
    page = pages.get_template("desk.html.jinja")
    write_text(page.render(experiments=shown, claims=decided, stamp=stamp()), folder / "index.html")
    return list(shown)


def _experiment(name: str, entries: dict[str, dict], results: Path, root: Path, folder: Path) -> dict:
    """What the page shows of an experiment: its cards, the questions without one, and whether there is a landscape."""
    cards = {figure: _card(name, figure, entry, results, root, folder) for figure, entry in entries.items()}
    return {
        "cards": [card for card in cards.values() if card],
        "missing": [entries[figure]["claim"] for figure, card in cards.items() if not card],
        "landscape": interactive.landscape(_tables(name, results, root, interactive.KINDS), folder / name),
    }


def _decided(results: Path, root: Path) -> list[dict]:
    """Every claim with the number that decides it, as text."""
    listed = claims.load(root / "config/claims.yaml")
    found = claims.checked(listed, results, root).to_dict("records")
    return [
        {**vars(claim), "found": row["found"], "number": style.interval_text(row, claims.INTERVAL, 1, 2)}
        for claim, row in zip(listed, found, strict=True)
    ]


def _tables(experiment: str, results: Path, root: Path, kinds: tuple[str, ...]) -> Tables | None:
    """The tables of these kinds of an experiment; None if it has none of one kind."""
    tables = measured.tables_in(results, root, kinds, quoted.CENTRAL[1:], experiments=(experiment,))
    return tables if all(tables.paths[kind] for kind in kinds) else None


def _card(experiment: str, name: str, entry: dict, results: Path, root: Path, folder: Path) -> Card | None:
    """Draw one figure or table; None if its tables have not been measured."""
    tables = _tables(experiment, results, root, tuple(entry["reads"]))
    if not tables:
        return None
    module, target = import_module(f"oneshot.figures.{name}"), folder / experiment / name
    data = module.frame(tables)
    write_csv(data, target.with_suffix(".csv"), sealed=False)
    drawn = module.draw(data)
    if entry["kind"] == "table":
        return Card(name, entry, markdown=markdown2html(drawn))
    with plt.rc_context({"savefig.dpi": HALVES}):
        style.save(drawn, [target.with_suffix(".png"), target.with_suffix(".pdf")])
    plt.close(drawn)
    return Card(name, entry)


def _notebooks(results: Path, root: Path, folder: Path) -> None:
    """Every notebook as a page: as executed, where a run has left a copy, otherwise as it is."""
    exporter = HTMLExporter(**OFFLINE)
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        executed = min(results.rglob(path.name), key=lambda copy: (len(copy.parts), copy), default=path)
        page, _ = exporter.from_notebook_node(nbformat.read(executed, as_version=4))
        write_text(page, folder / f"{path.stem}.html")


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in measured.SOURCES:
        sys.exit("usage: python -m oneshot.workflow.desk expected|results")
    root = project_root()
    try:
        with measured.source(sys.argv[1], root) as results:
            shown = build(results, root, root / "desk")
    except MissingInput as error:
        sys.exit(str(error))
    print(f"desk/index.html: {', '.join(shown)}")


if __name__ == "__main__":
    main()
