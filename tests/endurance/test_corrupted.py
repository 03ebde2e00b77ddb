"""Every kind of intermediate file, damaged: refused by name or made anew, and never a wrong figure."""

import shutil
from pathlib import Path

import pytest
from projects import run_tiny
from trials import DAMAGES, seeded, times

from oneshot.files import BadFile, require
from oneshot.policies.models import load_policy

pytestmark = pytest.mark.slow
RUN = "results/tiny/main/arithmetic/policy1/run0"
READERS = {
    "results/tiny/policies/main/policy1/model.safetensors": f"{RUN}/rollouts/shard0.parquet",
    "results/tiny/policies/main/policy1/tokenizer.json": f"{RUN}/rollouts/shard0.parquet",
    "results/tiny/problems/arithmetic/policy1/train.jsonl": f"{RUN}/rollouts/shard0.parquet",
    f"{RUN}/rollouts/shard0.parquet": f"{RUN}/gradient/shard0.safetensors",
    f"{RUN}/gradient/shard0.safetensors": f"{RUN}/arms/one_shot/direction.safetensors",
    f"{RUN}/arms/one_shot/direction.safetensors": f"{RUN}/arms/one_shot/points.csv",
    f"{RUN}/arms/grpo/trajectory.safetensors": f"{RUN}/cosines.csv",
    f"{RUN}/arms/grpo/points.csv": "figures/tiny/central.csv",
    f"{RUN}/cosines.csv": "figures/tiny/cosine.csv",
}
"""File -> one of those that are made of it."""


@pytest.fixture
def inputs(finished):
    """All files that a later notebook reads."""
    found = [path for path in sorted(finished.glob("results/tiny/**/*.*")) if not path.name.startswith(".")]
    return [path for path in found if path.suffix != ".ipynb" and path.stem not in ("summary", "provenance")]


def read(path):
    """As notebooks do."""
    if path.parent.parent.parent.name == "policies":
        load_policy(require(path.parent / "model.safetensors", "00_pretrain").parent)
    else:
        require(path, "any")


def refused(path):
    """Whether reading it raises one line that names it; for a file of a policy, the folder will do."""
    try:
        read(path)
    except BadFile as error:
        told = str(error)
        return "\n" not in told and (str(path) in told or str(path.parent) in told) and "delete" in told
    return False


def test_every_damage_to_every_file_is_refused(inputs):
    rng, trials, passed = seeded(0), 0, []
    for path in inputs:
        original = path.read_bytes()
        for damage in DAMAGES:
            for _ in range(times(1, 3)):
                content = damage(original, rng)
                path.write_bytes(content)
                trials += 1
                if content != original and not refused(path):
                    passed.append((path.name, damage.__name__))
        path.write_bytes(original)
        read(path)
    assert passed == []
    assert trials >= 200


def test_a_file_in_another_s_place_is_refused_even_with_its_seal(inputs):
    """Of another shard, policy, split or arm, under the name that is expected."""
    passed, trials = [], 0
    for path in inputs:
        kind = [other for other in inputs if other.suffix == path.suffix and other.read_bytes() != path.read_bytes()]
        seal = path.with_name(f".{path.name}.sha256")
        if path.parent.parent.parent.name == "policies" or not kind:
            continue  # a folder that is only whole as one
        original, sealed = path.read_bytes(), seal.read_bytes()
        for other in kind[: times(2, 10)]:
            shutil.copy(other, path)
            shutil.copy(other.with_name(f".{other.name}.sha256"), seal)
            trials += 1
            if not refused(path):
                passed.append((path.name, other.name))
        path.write_bytes(original)
        seal.write_bytes(sealed)
    assert passed == []
    assert trials >= 100


@pytest.mark.parametrize("name", list(READERS)[:: times(4, 1)], ids=lambda name: Path(name).name)
def test_a_damaged_file_stops_the_run_and_once_deleted_is_made_anew(finished, name):
    path, made = finished / name, finished / READERS[name]
    whole, before = path.read_bytes(), made.read_bytes()
    path.write_bytes(DAMAGES[1](whole, seeded(1)))
    code, output = run_tiny(finished, READERS[name])
    assert code != 0
    assert path.name in output
    assert "delete" in output
    weights = path.with_name("model.safetensors")
    deleted = weights if weights.exists() else path
    deleted.unlink()
    code, output = run_tiny(finished, str(deleted.relative_to(finished)), READERS[name])
    assert code == 0, output
    assert path.read_bytes() == whole
    assert made.read_bytes() == before
