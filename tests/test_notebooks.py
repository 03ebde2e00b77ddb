"""House rules for notebooks, and that the Snakefile can run them."""

import re
from pathlib import Path

import nbformat
import pytest
from conftest import WITH_SMOLLM2, snakemake
from papermill import inspect_notebook

from oneshot.provenance import check_parameters

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_is_stripped(path, notebook):
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(notebook))
    assert [cell.id for cell in notebook.cells] == [str(index) for index in range(len(notebook.cells))]
    assert set(notebook.metadata) == {"kernelspec"}
    assert notebook.metadata.kernelspec.name == "python3"


def test_opens_with_its_question_and_its_parameters(path, notebook):
    title, parameters = notebook.cells[:2]
    for word in ("# ", "**Question.**", "**Input.**", "**Output.**", "**Minutes.**"):
        assert word in title.source
    assert title.source.startswith(f"# {path.stem[:2]} ")
    assert parameters.metadata.tags == ["parameters"]
    assert len(inspect_notebook(str(path))) <= 8


def test_is_short_and_told_in_prose(path, notebook):
    cells = code_cells(notebook)
    assert len(cells) <= 15
    for cell in cells[1:]:
        assert cell.source.count("\n") < 26, cell.source
    assert len([cell for cell in notebook.cells if cell.cell_type == "markdown"]) * 2 >= len(cells)


def test_asserts_something(path, notebook):
    assert any(re.search(r"^\s*assert ", cell.source, re.M) for cell in code_cells(notebook))


def test_a_mistyped_parameter_is_refused(path):
    known = set(inspect_notebook(str(path)))
    check_parameters(path, known)
    with pytest.raises(ValueError, match=rf"{path.name}: parameter '{min(known)}' is not passed"):
        check_parameters(path, known - {min(known)})
    with pytest.raises(ValueError, match=rf"{path.name}: no parameter 'shrad': it has"):
        check_parameters(path, known | {"shrad"})


@pytest.mark.parametrize(
    "experiment", ["smoke", "laptop", pytest.param("smollm2", marks=[pytest.mark.slow, WITH_SMOLLM2])]
)
def test_the_whole_dag_can_be_built(experiment):
    """A dry run: every rule finds its inputs, and every notebook knows the parameters it is passed."""
    arguments = ["--dry-run", "--quiet", "--nolock", "--forceall", "--configfile", f"config/{experiment}.yaml"]
    code, output = snakemake(ROOT, *arguments)
    assert code == 0, output


def test_a_mistyped_config_key_stops_the_run():
    code, output = snakemake(ROOT, "--dry-run", "--quiet", "--nolock", "--config", "grppo=1")
    assert code != 0
    assert "'grppo' was unexpected" in output
