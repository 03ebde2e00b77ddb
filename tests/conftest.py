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


@pytest.fixture(scope="session")
def benchmarks():
    """The folder of benchmark files that ONESHOT_BENCHMARKS names; tests that need it are skipped without."""
    folder = os.environ.get("ONESHOT_BENCHMARKS")
    if not folder:
        pytest.skip("ONESHOT_BENCHMARKS names no folder with benchmark files")
    return Path(folder)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory, request):
    """A project whose tiny experiment has run, once for all processes. Nobody changes it: see `finished`."""
    from filelock import FileLock  # not at the top: the process that hands out tests needs neither of them, nor yaml
    from projects import run_tiny, tiny_project

    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if hasattr(request.config, "workerinput") else folder) / "pristine"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            code, output = run_tiny(tiny_project(folder / "project"), "figures")
            assert code == 0, output
    return folder / "project"


@pytest.fixture(scope="module")
def finished(pristine, tmp_path_factory):
    """A copy of it that a module may do with as it likes."""
    return Path(shutil.copytree(pristine, tmp_path_factory.mktemp("finished") / "project"))
