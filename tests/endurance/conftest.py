import shutil
from pathlib import Path

import pytest


@pytest.fixture
def finished(pristine, tmp_path):
    """A copy of the finished project for one test: what is done here is not undone."""
    return Path(shutil.copytree(pristine, tmp_path / "project"))
