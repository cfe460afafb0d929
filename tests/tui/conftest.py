import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Short: the path of a Unix socket has 108 bytes at most."""
    folder = Path(tempfile.mkdtemp(prefix="tui"))
    yield folder
    shutil.rmtree(folder)
