"""One running appliance with accounts for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.demo.appliance import Appliance
from tests.support.programs import PASSWORD, Person


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    server = Appliance(Path(tmp_path_factory.mktemp("appliance")), "127.0.0.1:9", 25, "localhost")
    more = 'imap = ["127.0.0.1:0"]\npop3 = ["127.0.0.1:0"]\npop3s = ["127.0.0.1:0"]\n'
    server.config.write_text(server.config.read_text().replace("[listen]\n", f"[listen]\n{more}"))
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
