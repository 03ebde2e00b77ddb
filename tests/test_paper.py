"""The paper compiles from the reference run, and has no number of its own."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import typst

from oneshot.files import MissingInput
from oneshot.workflow import measured, paper

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "paper/main.typ").read_text()


@pytest.mark.slow  # reads whole archives and draws
def test_it_compiles_from_the_reference_run(tmp_path):
    folder = tmp_path / "paper"
    shutil.copytree(ROOT / "paper", folder, ignore=shutil.ignore_patterns("build", "gallery", "*.pdf"))
    with measured.reference(ROOT) as results:
        paper.build(results, ROOT, folder / "build")
    typst.compile(folder / "main.typ", output=folder / "main.pdf", root=tmp_path)
    assert (folder / "main.pdf").read_bytes().startswith(b"%PDF")
    tuned = pd.read_csv(folder / "build/tuning.csv").set_index(["task", "arm"])
    assert tuned.used["contexts_64", "grpo"] == "prompts per step 5"
    assert tuned.used.drop(("contexts_64", "grpo")).isna().all()
    decided = pd.read_csv(folder / "build/expectations.csv")
    assert set(decided.outcome) == {"kept", "failed"}
    arms = pd.read_csv(folder / "build/arms.csv")
    assert arms[arms.arm == "grpo"].recovered_sampled.eq(1).all()
    assert arms[arms.arm == "one_shot"].set_index("task").rollouts.drop("sums").gt(50_000).all()


def test_every_picture_is_in_the_text():
    assert set(re.findall(r'image\("build/(\w+)\.png"', TEXT)) == set(paper.PICTURES)


def test_nothing_measured_is_typed():
    """Numbers with decimals in the prose, but for the null that theory gives, come from tables."""
    prose = re.sub(r"#\w[\w.-]*\([^\n]*?\)|\n#[^\n]*", "", TEXT[TEXT.index("= The claim") :])
    assert set(re.findall(r"\d+\.\d+", prose)) <= {"0.5"}


def test_without_results_it_says_so(tmp_path):
    with pytest.raises(MissingInput, match="no setting with the arms one_shot, one_batch, grpo has been measured"):
        paper.build(tmp_path, ROOT, tmp_path / "build")
