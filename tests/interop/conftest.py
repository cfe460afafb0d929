"""One running appliance with two accounts for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.demo.appliance import Appliance

PASSWORD = "correct horse battery"


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    server = Appliance(Path(tmp_path_factory.mktemp("appliance")), "127.0.0.1:9", 25, "localhost")
    server.start()
    try:
        server.command("domain", "add", "example.org")
        for name in ("alice", "bob", "carol", "thunder"):
            server.command("user", "add", f"{name}@example.org", "--password-file", "-", stdin=PASSWORD + "\n")
        yield server
    finally:
        server.stop()
