"""Real mail programs: whether one is here, how one is run, and what it left on the server."""

from __future__ import annotations

import contextlib
import imaplib
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from email.parser import BytesHeaderParser
from pathlib import Path

import pytest

from mailbox_app.demo.appliance import Appliance

PASSWORD = "correct horse battery"
RUN_SECONDS = 90
_numbers = itertools.count(1)


def needs(program: str) -> pytest.MarkDecorator:
    """Skips where a program is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def run(*command: object, stdin: str = "", env: Mapping[str, str] | None = None, codes: tuple[int, ...] = (0,)) -> str:
    """What it printed; a failure shows everything."""
    done = subprocess.run(
        [str(word) for word in command],
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=RUN_SECONDS,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode in codes, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


class Person:
    """A fresh account on the server, seen with Python's own IMAP client."""

    def __init__(self, server: Appliance) -> None:
        self.server = server
        self.address = f"person{next(_numbers)}.{os.getpid()}@example.org"
        self.password = PASSWORD
        self.certificate = server.folder / "data/certs/self-signed.pem"
        server.command("user", "add", self.address, "--password-file", "-", stdin=PASSWORD + "\n")

    @contextlib.contextmanager
    def imap(self) -> Iterator[imaplib.IMAP4_SSL]:
        """Logged in, INBOX selected."""
        client = self.server.mailbox(self.address, PASSWORD)
        try:
            yield client
        finally:
            client.logout()

    def put(self, subject: str, mailbox: str = "INBOX", flags: str = "", body: str = "hello\r\n") -> None:
        """A message, as another client would store it."""
        text = f"From: friend@example.org\r\nTo: {self.address}\r\nSubject: {subject}\r\n\r\n{body}"
        with self.imap() as client:
            status, data = client.append(mailbox, flags, "", text.encode())
            assert status == "OK", data

    def messages(self, mailbox: str = "INBOX") -> dict[str, set[str]]:
        """Subject -> flags without \\Recent."""
        found: dict[str, set[str]] = {}
        with self.imap() as client:
            status, data = client.select(f'"{mailbox}"', readonly=True)
            assert status == "OK", data
            if not int(data[0] or 0):
                return found
            _, rows = client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            for row in rows:
                if isinstance(row, tuple):
                    flags = re.search(rb"FLAGS \(([^)]*)\)", row[0])
                    assert flags is not None
                    subject = str(BytesHeaderParser().parsebytes(row[1])["Subject"])
                    found[subject] = set(flags[1].decode().split()) - {"\\Recent"}
        return found

    def mailboxes(self) -> set[str]:
        """All names."""
        with self.imap() as client:
            _, rows = client.list()
        return {row.decode().rpartition(' "/" ')[2].strip('"') for row in rows if isinstance(row, bytes)}


def subjects(folder: Path) -> dict[str, str]:
    """Subject -> Maildir flags of the messages in a local Maildir folder."""
    found = {}
    for part in ("cur", "new"):
        for path in (folder / part).iterdir():
            subject = str(BytesHeaderParser().parsebytes(path.read_bytes())["Subject"])
            found[subject] = path.name.partition(":2,")[2]
    return found


def find(folder: Path, subject: str) -> Path:
    """The file of a message in a local Maildir folder."""
    for part in ("cur", "new"):
        for path in (folder / part).iterdir():
            if str(BytesHeaderParser().parsebytes(path.read_bytes())["Subject"]) == subject:
                return path
    raise AssertionError(f"no {subject} in {folder}")


def rename(folder: Path, subject: str, flags: str) -> None:
    """Give a message of a local Maildir folder other flags, as a mail program does."""
    path = find(folder, subject)
    path.rename(folder / "cur" / f"{path.name.partition(':')[0]}:2,{flags}")
