"""Programs of Debian that are not installed here because their packages would push others out: unpacked beside the tests.

`scripts/test` unpacks them (`scripts/unpack_debian`); a test whose program is neither installed nor unpacked skips.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

_UNPACKED = Path(__file__).resolve().parents[2] / "build/debian"


def program(package: str, path: str) -> str:
    """Where the program is, "" when it is nowhere; `path` as in the package, without the first slash."""
    unpacked = _UNPACKED / package / path
    return str(unpacked) if unpacked.exists() else shutil.which(Path(path).name, path="/usr/sbin:/usr/bin") or ""


def needs_program(package: str, path: str) -> pytest.MarkDecorator:
    """Skips where a program is not there."""
    reason = f"{Path(path).name} is neither installed nor unpacked by scripts/unpack_debian"
    return pytest.mark.skipif(not program(package, path), reason=reason)
