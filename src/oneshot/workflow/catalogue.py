"""The catalogue of figures and tables, `config/figures.yaml`: what each reads, and the files that it writes."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from PIL import Image

ARM_TABLES = ("points", "by_problem", "steps", "quantities", "timings")
"""The names of `oneshot.arms.TABLES`, repeated because planning imports no pandas."""
RUN_TABLES = (
    "tries",
    "tried",
    "slope",
    "consistency",
    "clusters",
    "signs",
    "curvature",
    "ways",
    "overfit",
    "informative",
)
"""One of each for every run."""
PATH_TABLES = ("cosines", "linearity", "turning", "extrapolation")
"""One of each for every run of which an arm keeps its path."""
WIDE_TABLES = ("acceptance", "neighbours", "expectations", "tuning", "theory", "frontier")
"""About more than a run: a base policy, a setting, the experiment."""
TABLES = (*ARM_TABLES, *RUN_TABLES, *PATH_TABLES, *WIDE_TABLES)
SPLITS = ("train", "validation", "test", "retention")
ENDINGS = {"figure": ("pdf", "png", "csv"), "table": ("md", "csv")}
KEYS = {"kind", "reads", "claim", "caption", "notebooks", "minutes"}
SUMMARY = "summary"
"""The output of notebook 10, which reads every table."""
GALLERY_WIDTH = 1200
"""Width of a gallery picture, in pixels."""


@dataclass(frozen=True)
class Catalogue:
    entries: dict[str, dict]

    @property
    def names(self) -> list[str]:
        return list(self.entries)

    def of_kind(self, kind: str) -> list[str]:
        return [name for name, entry in self.entries.items() if entry["kind"] == kind]

    def tables(self, names: list[str]) -> list[str]:
        """The tables that these figures read, in the order of TABLES."""
        read = set(TABLES) if SUMMARY in names else {table for name in names for table in self.entries[name]["reads"]}
        return [table for table in TABLES if table in read]

    def files(self, folder: str, main_job: bool = False) -> list[str]:
        """The files of all figures and tables; for the main job, only of those that are about arms."""
        about_arms = {name for name, entry in self.entries.items() if set(entry["reads"]) & set(ARM_TABLES)}
        names = [name for name in self.entries if name in about_arms or not main_job]
        return [f"{folder}/{name}.{ending}" for name in names for ending in ENDINGS[self.entries[name]["kind"]]]


def load(path: str | Path) -> Catalogue:
    """The catalogue in that file. Raises ValueError that names the entry and the key that is wrong."""
    entries = yaml.safe_load(Path(path).read_text())
    for name, entry in entries.items():
        if wrong := sorted(set(entry) ^ KEYS):
            raise ValueError(f"figures.yaml: {name}: key '{wrong[0]}' is missing or unknown")
        if entry["kind"] not in ENDINGS:
            raise ValueError(f"figures.yaml: {name}.kind: '{entry['kind']}' is not one of {', '.join(ENDINGS)}")
        if unknown := sorted(set(entry["reads"]) - set(TABLES)):
            raise ValueError(
                f"figures.yaml: {name}.reads: no arm or run writes a table '{unknown[0]}': {', '.join(TABLES)}"
            )
    return Catalogue(entries)


def shrink(source: str, target: str) -> None:
    """Write a picture for the gallery: smaller, with all its colours."""
    picture = Image.open(source)
    height = round(picture.height * GALLERY_WIDTH / picture.width)
    picture.convert("RGB").resize((GALLERY_WIDTH, height), Image.Resampling.LANCZOS).save(target, optimize=True)
