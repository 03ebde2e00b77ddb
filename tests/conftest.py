"""What every test may ask for; the small policy comes from small_policy.py, made-up tables from made_up.py."""

import os
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
