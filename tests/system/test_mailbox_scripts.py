"""Scripts for what happens over IMAP in the real daemon: offered with the right port, run in whichever front."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import CONFIG, Daemon, eventually, mail

pytestmark = [pytest.mark.system]
ALICE, BOB = "alice@example.org", "bob@example.org"
SCRIPT = """require ["imapsieve", "environment", "imap4flags", "fileinto", "copy"];
if environment "imap.cause" "COPY" { addflag "$Came"; }
elsif environment :contains "imap.changedflags" "\\\\Flagged" { fileinto :copy "Archive"; redirect :copy "bob@example.org"; }
elsif environment "imap.cause" "APPEND" { discard; }
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    text = CONFIG.format(fronts=2).replace("managesieve = []", 'managesieve = ["127.0.0.1:0"]')
    (tmp_path / "config.toml").write_text(text)
    made = Daemon(tmp_path)
    made.start()
    yield made
    made.destroy()


def test_scripts_run_behind_the_commands_of_a_client(daemon: Daemon) -> None:
    for address in (ALICE, BOB):
        daemon.add_account(address)
    daemon.call("sieve.put", address=ALICE, name="events", source=SCRIPT)
    with daemon.imap(ALICE) as client:
        assert f"IMAPSIEVE=sieve://mail.example.org:{daemon.ports['managesieve']}" in client.capability()[1][0].decode()
        client.append("INBOX", None, None, mail("<1@x.example>"))  # type: ignore[arg-type]
        client.create("Work")
        bound = client.xatom("SETMETADATA", "Work", '(/shared/imapsieve/script "events")')
        assert bound[0] == "OK"
        client.select("INBOX")
        client.copy("1", "Work")

        def flags() -> str:
            client.select("Work")
            return str(client.fetch("1:*", "(FLAGS)")[1])

        eventually("the copy is marked", lambda: "$Came" in flags())
        client.store("1", "+FLAGS", "(\\Flagged)")
        client.append("Work", None, None, mail("<2@x.example>"))  # type: ignore[arg-type]
        eventually("the appended one is marked", lambda: "\\Deleted" in flags())
        assert len(client.search(None, "ALL")[1][0].split()) == 2
    eventually("the copy is filed", lambda: daemon.message_ids(ALICE, "Archive") == ["<1@x.example>"])
    eventually("the redirect arrives", lambda: daemon.message_ids(BOB) == ["<1@x.example>"])
    assert daemon.message_ids(ALICE) == ["<1@x.example>"]
    assert daemon.stop() == 0
