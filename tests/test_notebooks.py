"""House rules for notebooks, and that the Snakefile can run them."""

import json
import re
from pathlib import Path

import pytest
from projects import WITH_SMOLLM2, snakemake

from oneshot.workflow import signatures

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return json.loads(path.read_text())


def sources(notebook, kind):
    """The text of each cell of a kind: code or markdown."""
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def words(texts):
    return sum(len(text.split()) for text in texts)


def test_is_stripped(path, notebook):
    cells = notebook["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert [cell["id"] for cell in cells] == [str(index) for index in range(len(cells))]
    assert set(notebook["metadata"]) == {"kernelspec"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_opens_with_its_question_and_its_parameters(path, notebook):
    title, parameters = sources(notebook, "markdown")[0], notebook["cells"][1]
    for word in ("# ", "**Question.**", "**Input.**", "**Output.**", "**Minutes.**"):
        assert word in title
    assert title.startswith(f"# {path.stem[:2]} ")
    assert parameters["metadata"]["tags"] == ["parameters"]
    names = [name for name in signatures.parameters(path.stem) if not name.endswith(("_path", "_paths"))]
    assert len(names) <= 11


def test_is_short_and_told_in_prose(path, notebook):
    _, *cells = sources(notebook, "code")
    prose = sources(notebook, "markdown")
    assert len(cells) < 15
    for cell in cells:
        assert cell.count("\n") < 12, cell
    assert len(prose) >= (len(cells) + 1) / 2
    assert words(prose) >= words(cells)


def test_ends_on_what_was_learnt(path, notebook):
    headings = re.findall(r"^## (.*)$", "\n".join(sources(notebook, "markdown")), re.M)
    assert headings[-1] == "What was learnt"
    assert "print(" in sources(notebook, "code")[-1]


def test_leaves_something_to_predict(path, notebook):
    """But for those that only load, draw or gather."""
    if path.stem not in {"00_expectations", "00_load", "09_figures", "10_summary"}:
        assert "".join(notebook["cells"][-1]["source"]).startswith("**Predict, then run.** ")


def test_a_cell_can_be_run_twice(path, notebook):
    """Parameters are never rebound: a second run of a cell would meet another type."""
    known = set(signatures.parameters(path.stem))
    for cell in sources(notebook, "code")[1:]:
        for line in cell.split("\n"):
            found = re.match(r"([\w, ]+?) = ", line)
            assert not (found and known & set(re.split(r"[ ,]+", found[1]))), line


def test_asserts_something(path, notebook):
    assert any(re.search(r"^\s*assert ", cell, re.M) for cell in sources(notebook, "code"))


@pytest.mark.parametrize(
    "experiment",
    [
        "smoke",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("laptop", "code", "ladder", "scale", "qwen")),
        pytest.param("smollm2", marks=[pytest.mark.slow, WITH_SMOLLM2]),
    ],
)
def test_the_whole_dag_can_be_built(experiment):
    """A dry run: every rule finds its inputs, and every notebook knows the parameters it is passed."""
    arguments = ["--dry-run", "--quiet", "--nolock", "--forceall", "--configfile", f"config/{experiment}.yaml"]
    code, output = snakemake(ROOT, *arguments)
    assert code == 0, output


@pytest.mark.slow
def test_the_main_job_takes_one_policy():
    code, output = snakemake(ROOT, "main", "--dry-run", "--nolock", "--forceall", "--configfile", "config/laptop.yaml")
    assert code == 0, output
    assert re.search(r"^pretrain +1$", output, re.M), output
    assert re.search(r"^acceptance +1$", output, re.M), output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "grppo=1"], "'grppo' was unexpected"),
        (["--configfile", "nameless.yaml"], "config: 'experiment' is a required property"),
        (["figures/laptop/landscap.pdf"], "figures/laptop/landscap.pdf"),
    ],
)
def test_what_is_mistyped_stops_the_run(tmp_path, arguments, message):
    (tmp_path / "nameless.yaml").write_text("sampling: {max_new_tokens: 12}\n")
    arguments = [str(tmp_path / part) if part.endswith("nameless.yaml") else part for part in arguments]
    code, output = snakemake(ROOT, "--dry-run", "--quiet", "--nolock", *arguments)
    assert code != 0
    assert message in output
    assert "KeyError" not in output
