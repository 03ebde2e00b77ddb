"""What an addition costs: a method, a figure, a task and a direction, each made in a copy of the tree and run."""

import pandas as pd
import pytest
import yaml
from projects import snakemake
from test_end_to_end import ARMS, tiny_project

COUNT = "figures/tiny/count.md"
pytestmark = pytest.mark.slow

METHOD = '''"""Stand still: the base policy, once more."""

from dataclasses import dataclass

from oneshot.baselines.lab import Step

MAY_STAND_STILL = True


@dataclass(frozen=True)
class Settings:
    rounds: int


def run(lab, settings):
    for number in range(1, settings.rounds + 1):
        rollouts = lab.draw(lab.train[:2], number)
        lab.ledger.gradient_step()
        yield Step(number, {"reward": rollouts.reward.mean()}, measured=True, chosen=number == settings.rounds)
'''
FIGURE = '''"""How many points each arm has."""


def frame(tables):
    return tables.points.groupby(["experiment", "model", "task", "arm"]).size().rename("points").reset_index()


def draw(data):
    return "| arm | points |\\n| --- | --- |\\n" + "\\n".join(data.arm)
'''
TASK = '''"""Name the larger letter."""

from oneshot.tasks.task import Problem, Task
from oneshot.verifiers.final_answer import verify_final_answer


class Larger(Task):
    name = "larger"

    def draw(self, rng):
        one, other = rng.sample("abcdefghijklmnop", 2)
        return Problem(self.name, f"sort:{one}{other}=", max(one, other))

    @classmethod
    def verify(cls, problem, completion):
        return verify_final_answer(completion, problem.answer)
'''


class Tree:
    """A copy of the project that knows which of its files have been touched."""

    def __init__(self, folder):
        self.folder, self.touched = folder, set()

    def write(self, path, text):
        self.touched.add(path)
        (self.folder / path).write_text(text)

    def add_line(self, path, after, line):
        text = (self.folder / path).read_text()
        assert text.count(after) == 1, after
        self.write(path, text.replace(after, f"{after}\n{line}"))

    def taken(self):
        """What has been touched since the last question."""
        touched, self.touched = self.touched, set()
        return touched


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "src"))
    return Tree(tiny_project(tmp_path))


def test_each_addition_is_a_file_and_an_entry(tree):
    config = yaml.safe_load((tree.folder / "config/tiny.yaml").read_text())

    tree.write("src/oneshot/baselines/stand_still.py", METHOD)
    tree.add_line(
        "src/oneshot/baselines/__init__.py", "METHODS = {", '    "stand_still": "oneshot.baselines.stand_still",'
    )
    assert len(tree.taken()) == 2
    config["arms"]["idle"] = {"method": "stand_still", "settings": {"rounds": 2}}
    config["arms"]["one_shot_halved"] = {"method": "line_search", "settings": {"direction": "halved"}}
    config["cells"][0]["arms"] += ["idle", "one_shot_halved"]
    unknown = {"gain_recovered": [-2.0, 2.0], "because": "It is only run."}
    config["expectations"]["arithmetic"] |= {"idle": unknown, "one_shot_halved": unknown}

    halved = '    "halved": lambda of: {name: values / 2 for name, values in of.gradient.items()},'
    tree.add_line(
        "src/oneshot/steps/directions.py", "DIRECTIONS: dict[str, Callable[[Ingredients], Vector]] = {", halved
    )
    assert len(tree.taken()) == 1

    tree.write("src/oneshot/figures/count.py", FIGURE)
    entry = {
        "kind": "table",
        "reads": ["points"],
        "claim": "?",
        "caption": "",
        "notebooks": ["05_baseline"],
        "minutes": 1,
    }
    catalogue = (tree.folder / "config/figures.yaml").read_text()
    tree.write("config/figures.yaml", catalogue + yaml.safe_dump({"count": entry}))
    assert len(tree.taken()) == 2

    tree.write("src/oneshot/tasks/larger.py", TASK)
    tree.add_line("src/oneshot/tasks/__init__.py", "TASKS = {", '    "larger": "oneshot.tasks.larger:Larger",')
    assert len(tree.taken()) == 2
    config["tasks"]["larger"] = {}
    config["splits"]["arithmetic"]["retention"] = {"tasks": ["larger"], "buckets": [0, 100], "problems": 20}

    tree.write("config/tiny.yaml", yaml.safe_dump(config, sort_keys=False))
    code, output = snakemake(tree.folder, "figures", COUNT, "--configfile", "config/tiny.yaml")
    assert code == 0, output
    counted = (tree.folder / COUNT).read_text().splitlines()
    for arm in ("one_shot", "one_shot_halved", "grpo", "idle"):
        assert arm in counted
    whole, half = (alpha_base(tree, arm) for arm in ("one_shot", "one_shot_halved"))
    assert half == pytest.approx(2 * whole, rel=1e-3)
    retention = (tree.folder / "results/tiny/problems/arithmetic/policy1/retention.jsonl").read_text()
    assert retention.count('"task": "larger"') == 20


def alpha_base(tree, arm):
    scale = pd.read_csv(tree.folder / f"{ARMS}/{arm}/scale.csv").set_index("quantity")
    return scale.value["alpha_base"]
