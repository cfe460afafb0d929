"""Every `managesieve_*.dialog` against the real service."""

from pathlib import Path

import pytest

from tests.support.dialog import Dialog
from tests.support.managesieve_server import managesieve_server

DIALOGS = sorted((Path(__file__).parents[2] / "dialogs").glob("managesieve_*.dialog"))


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_dialog(path: Path, tmp_path: Path) -> None:
    dialog = Dialog(path)
    async with managesieve_server(tmp_path, require_tls=dialog.requires_tls) as server:
        await dialog.run(server.port)
