"""One running appliance with accounts for all tests of this folder."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.demo.appliance import Appliance
from tests.support.programs import PASSWORD, Person


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    server = Appliance(Path(tmp_path_factory.mktemp("appliance")), "127.0.0.1:9", 25, "localhost")
    more = 'imap = ["127.0.0.1:0"]\npop3 = ["127.0.0.1:0"]\npop3s = ["127.0.0.1:0"]\n'
    more += f'lmtp = ["unix:{server.folder}/lmtp", "127.0.0.1:0"]\n'
    text = server.config.read_text().replace("managesieve = []", 'managesieve = ["127.0.0.1:0"]')
    server.config.write_text(text.replace("[listen]\n", f"[listen]\n{more}") + '[lmtp]\nsocket_mode = "666"\n')
    server.start()
    try:
        server.command("domain", "add", "example.org")
        for name in ("alice", "bob", "carol"):
            server.command("user", "add", f"{name}@example.org", "--password-file", "-", stdin=PASSWORD + "\n")
        yield server
    finally:
        server.stop()


@pytest.fixture
def person(appliance: Appliance) -> Person:
    """A fresh account."""
    return Person(appliance)


@pytest.fixture
def free_port() -> int:
    """Nobody listens there; for programs that cannot be given a port of 0."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        return int(place.getsockname()[1])


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """For programs that drop root: pytest's own folders are closed to them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
