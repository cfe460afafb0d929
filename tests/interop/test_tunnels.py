"""`mailbox imap ADDRESS` on the standard input and output of mail programs, as through SSH: mbsync, mutt, imaplib."""

from __future__ import annotations

import imaplib
import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.support.programs import Person, needs, run, subjects
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def tunnel(person: Person) -> str:
    """What a mail program is told to run."""
    words = [
        sys.executable,
        "-m",
        "mailbox_app",
        "--config",
        str(person.server.config),
        "imap",
        person.address,
    ]
    return f"env PYTHONPATH={shlex.quote(str(ROOT))} {shlex.join(words)}"


def test_imaplib_is_logged_in_already(person: Person, tunnel: str) -> None:
    client = imaplib.IMAP4_stream(tunnel)
    assert client.state == "AUTH"
    assert client.append("INBOX", "", "", b"Subject: big\r\n\r\n" + b"x" * 5_000_000)[0] == "OK"
    assert client.select()[1] == [b"1"]
    assert len(client.fetch("1", "(BODY.PEEK[])")[1][0][1]) == 5_000_016  # type: ignore[index]
    client.logout()


def test_an_unknown_account_is_said_so(person: Person, tunnel: str) -> None:
    words = shlex.split(tunnel.replace(person.address, "nobody@example.org"))
    assert "* BYE There is no such account" in run(*words)


@needs("mbsync")
def test_mbsync(person: Person, tunnel: str, tmp_path: Path) -> None:
    person.put("message 1")
    local = tmp_path / "mail"
    local.mkdir()
    config = tmp_path / "mbsyncrc"
    config.write_text(f"""IMAPAccount server
Tunnel "{tunnel}"

IMAPStore remote
Account server

MaildirStore local
Path {local}/
Inbox {local}/INBOX
SubFolders Verbatim

Channel all
Far :remote:
Near :local:
Patterns *
Create Both
SyncState *
""")
    run("mbsync", "-c", config, "all")
    assert set(subjects(local / "INBOX")) == {"message 1"}


@needs("mutt")
def test_mutt(person: Person, tunnel: str, tmp_path: Path) -> None:
    person.put("message 1")
    rc = tmp_path / "muttrc"
    rc.write_text(f"""set tunnel="{tunnel}" folder="imap://localhost/" spoolfile="+INBOX" record=""
set quit=yes delete=yes move=no beep=no wait_key=no ssl_starttls=no ssl_force_tls=no
""")
    with Terminal("mutt", "-n", "-F", rc, env={"HOME": os.fspath(tmp_path)}) as terminal:
        terminal.until("message 1")
        terminal.press("Fq")
        assert terminal.end() == 0
    assert "\\Flagged" in person.messages()["message 1"]
