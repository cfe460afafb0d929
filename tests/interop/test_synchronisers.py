"""Programs that keep a copy of the mailboxes: mbsync and offlineimap. What changes on one side appears on the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import PASSWORD, Person, find, needs, rename, run, subjects

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]


def write(folder: Path, subject: str) -> None:
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "new" / f"1700000000.{abs(hash(subject))}.here").write_bytes(f"Subject: {subject}\n\nx\n".encode())


@needs("mbsync")
def test_mbsync(person: Person, tmp_path: Path) -> None:
    local = tmp_path / "mail"
    local.mkdir()
    config = tmp_path / "mbsyncrc"
    config.write_text(f"""IMAPAccount server
Host localhost
Port {person.server.ports["imaps"]}
User {person.address}
Pass "{PASSWORD}"
SSLType IMAPS
CertificateFile {person.certificate}

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
Remove Both
Expunge Both
SyncState *
""")

    def synchronise() -> None:
        run("mbsync", "-c", config, "all")

    for number in range(4):
        person.put(f"message {number}", flags=r"(\Flagged)" if number == 0 else "")
    synchronise()
    inbox = local / "INBOX"
    assert subjects(inbox) == {"message 0": "F", "message 1": "", "message 2": "", "message 3": ""}
    # changes here
    rename(inbox, "message 1", "RS")
    rename(inbox, "message 2", "ST")
    write(inbox, "from the laptop")
    write(local / "Work/2026", "filed")
    # and there
    with person.imap() as client:
        client.store("4", "+FLAGS", r"(\Seen)")
        client.store("1", "-FLAGS", r"(\Flagged)")
        client.create("Elsewhere")
        client.append("Elsewhere", "", "", b"Subject: there\r\n\r\nx\r\n")
    synchronise()
    assert person.messages() == {
        "message 0": set(), "message 1": {"\\Answered", "\\Seen"}, "message 3": {"\\Seen"}, "from the laptop": set(),
    }  # fmt: skip
    assert set(person.messages("Work/2026")) == {"filed"}
    assert set(subjects(local / "Elsewhere")) == {"there"}
    assert subjects(inbox)["message 3"] == "S"
    assert subjects(inbox)["message 0"] == ""
    # expunged there; a mailbox that is empty and gone there goes here too
    with person.imap() as client:
        client.store("1", "+FLAGS", r"(\Deleted)")
        client.expunge()
        client.select("Elsewhere")
        client.store("1", "+FLAGS", r"(\Deleted)")
        client.expunge()
    synchronise()
    with person.imap() as client:
        client.delete("Elsewhere")
    synchronise()
    assert set(subjects(inbox)) == {"message 1", "message 3", "from the laptop"}
    before = {path.name for path in inbox.rglob("*") if path.is_file() and "mbsync" not in path.name}
    synchronise()
    assert {path.name for path in inbox.rglob("*") if path.is_file() and "mbsync" not in path.name} == before


@needs("offlineimap")
def test_offlineimap(person: Person, tmp_path: Path) -> None:
    local = tmp_path / "mail"
    config = tmp_path / "offlineimaprc"
    config.write_text(f"""[general]
accounts = day
metadata = {tmp_path}/state
ui = quiet
socktimeout = 60

[Account day]
localrepository = here
remoterepository = there

[Repository here]
type = Maildir
localfolders = {local}

[Repository there]
type = IMAP
remotehost = localhost
remoteport = {person.server.ports["imaps"]}
remoteuser = {person.address}
remotepass = {PASSWORD}
ssl = yes
sslcacertfile = {person.certificate}
""")

    def synchronise() -> None:
        run("offlineimap", "-o", "-c", config, env={"HOME": str(tmp_path)})

    for number in range(4):
        person.put(f"message {number}", flags=r"(\Flagged)" if number == 0 else "")
    synchronise()
    inbox = local / "INBOX"
    assert subjects(inbox) == {"message 0": "F", "message 1": "", "message 2": "", "message 3": ""}
    rename(inbox, "message 1", "RS")
    find(inbox, "message 2").unlink()
    write(inbox, "from the laptop")
    write(local / "Work", "filed")
    with person.imap() as client:
        client.store("4", "+FLAGS", r"(\Seen)")
        client.create("Elsewhere")
        client.append("Elsewhere", "", "", b"Subject: there\r\n\r\nx\r\n")
    synchronise()
    assert person.messages() == {
        "message 0": {"\\Flagged"}, "message 1": {"\\Answered", "\\Seen"}, "message 3": {"\\Seen"}, "from the laptop": set(),
    }  # fmt: skip
    assert set(person.messages("Work")) == {"filed"}
    assert set(subjects(local / "Elsewhere")) == {"there"}
    assert subjects(inbox)["message 3"] == "S"
    with person.imap() as client:
        client.store("1", "+FLAGS", r"(\Deleted)")
        client.expunge()
    synchronise()
    assert set(subjects(inbox)) == set(person.messages()) == {"message 1", "message 3", "from the laptop"}
