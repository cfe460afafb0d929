"""What the policy remembers: damaged files are put aside, nothing holds up a start."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailbox_app.policy.state_files import StateFiles, prepare
from tests.support.clock import FakeClock


@pytest.mark.parametrize("name", ["state.db", "junk.db", "reports.db"])
def test_a_damaged_file_is_put_aside_and_begun_anew(tmp_path: Path, name: str) -> None:
    prepare(tmp_path)
    (tmp_path / name).write_bytes(b"this is no database" * 500)
    prepare(tmp_path)
    assert (tmp_path / f"{name}.damaged").read_bytes().startswith(b"this is no database")
    files = StateFiles(tmp_path, FakeClock())
    files.refresh()
    assert files.state.dmarc_rows.waiting(1_000_000, 10) == []
    files.close()
