"""Every `imap_*.dialog` against the real service."""

from pathlib import Path

import pytest

from tests.support.dialog import Dialog
from tests.support.imap_server import imap_server

DIALOGS = sorted((Path(__file__).parents[2] / "dialogs").glob("imap_*.dialog"))


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_dialog(path: Path, tmp_path: Path) -> None:
    dialog = Dialog(path)
    async with imap_server(tmp_path, require_tls=dialog.requires_tls) as server:
        await dialog.run(server.port)
