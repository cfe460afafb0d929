"""What was refused by its score: listed for its account, and put into the inbox after all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.cli.main import main
from mailbox_app.control.client import ControlClient
from mailbox_app.errors import ControlError
from mailbox_app.store.interface import Account, Content, NewMessage
from tests.support.control import Appliance, Background

ALICE = "alice@example.org"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        yield made


@pytest.fixture
def client(appliance: Appliance) -> Iterator[ControlClient]:
    with ControlClient(appliance.socket_path, via="test") as made:
        made.call("domain.add", {"name": "example.org"})
        made.call("user.add", {"address": ALICE, "password": "correct horse battery"})
        yield made


def keep(appliance: Appliance, *subjects: str) -> Account:
    ref = appliance.context.directory.existing(ALICE).ref
    mail = appliance.context.store.account(ref)
    mailbox_id = mail.create("Rejects").mailbox_id
    for subject in subjects:
        data = f"From: =?utf-8?q?B=1Bob?= <bob@example.net>\r\nSubject: {subject}\r\n\r\nhello\r\n".encode()
        mail.append([NewMessage(appliance.context.store.stage(ref, Content(b"", data, len(data))), mailbox_id)])
    return mail


def test_nothing_is_kept_at_first(client: ControlClient) -> None:
    found = client.call("rejects.list", {"address": ALICE})
    assert (found["rejects"], found["total"], found["mailbox"], found["kept_days"]) == ([], 0, "Rejects", 14)
    with pytest.raises(ControlError) as caught:
        client.call("rejects.recover", {"address": ALICE, "uidvalidity": 0, "uids": [1]})
    assert caught.value.code == "rejects.changed"


def test_what_is_kept_is_told_and_recovered_into_the_inbox(appliance: Appliance, client: ControlClient) -> None:
    mail = keep(appliance, "one", "two", "three")
    found = client.call("rejects.list", {"address": ALICE, "limit": 2})
    assert [each["subject"] for each in found["rejects"]] == ["three", "two"]
    assert "\x1b" not in found["rejects"][0]["from"]
    assert "bob@example.net" in found["rejects"][0]["from"]
    assert found["total"] == 3
    assert [each["subject"] for each in client.call("rejects.list", {"address": ALICE, "offset": 2})["rejects"]] == [
        "one"
    ]
    wanted = {"address": ALICE, "uidvalidity": found["uidvalidity"], "uids": [found["rejects"][0]["uid"], 4711]}
    assert client.call("rejects.recover", wanted) == {"recovered": 1, "left_out": 1}
    assert mail.mailbox("INBOX").message_count == 1
    assert mail.mailbox("Rejects").message_count == 2
    entry = client.call("audit.list", {"what": "rejects.recover"})["entries"][0]
    assert (entry["object"], entry["result"], entry["after"]) == (ALICE, "ok", '{"recovered":1}')
    with pytest.raises(ControlError) as caught:
        client.call("rejects.recover", {**wanted, "uidvalidity": found["uidvalidity"] + 1})
    assert caught.value.code == "rejects.changed"


def test_the_command_line(appliance: Appliance, client: ControlClient, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> str:
        assert main(["--config", str(appliance.config_path), "junk", "rejects", ALICE, *words]) == 0
        return capsys.readouterr().out

    assert "Nothing that was refused is kept" in run()
    keep(appliance, "one")
    assert "one" in run()
    assert run("--recover", "1", "--recover", "9") == f"1 put into the inbox of {ALICE}, 1 gone already.\n"
