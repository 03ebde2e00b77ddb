"""What every test may ask for; the small policy comes from small_policy.py, made-up tables from made_up.py."""

import os
import shutil
from pathlib import Path

import pytest


def pytest_configure(config):
    """With several processes, the one that only hands out tests need not wait seconds for torch."""
    hands_out = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not hands_out:
        config.pluginmanager.import_plugin("small_policy")
        config.pluginmanager.import_plugin("made_up")


def pytest_collection_modifyitems(items):
    """With `--dist loadgroup` a process takes whole modules, and one takes all that asks for `pristine`, run once."""
    for item in items:
        group = "pristine" if "pristine" in getattr(item, "fixturenames", ()) else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def benchmarks():
    """The folder of benchmark files that ONESHOT_BENCHMARKS names; tests that need it are skipped without."""
    folder = os.environ.get("ONESHOT_BENCHMARKS")
    if not folder:
        pytest.skip("ONESHOT_BENCHMARKS names no folder with benchmark files")
    return Path(folder)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    """A project whose tiny experiment has run. Nobody changes it: see `finished`."""
    from projects import run_tiny, tiny_project  # not at the top: the process that hands out tests needs no yaml

    folder = tiny_project(tmp_path_factory.mktemp("pristine") / "project")
    code, output = run_tiny(folder, "figures")
    assert code == 0, output
    return folder


@pytest.fixture(scope="module")
def finished(pristine, tmp_path_factory):
    """A copy of it that a module may do with as it likes."""
    return Path(shutil.copytree(pristine, tmp_path_factory.mktemp("finished") / "project"))
