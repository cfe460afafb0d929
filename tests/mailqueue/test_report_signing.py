"""Reports carry a signature that receivers can tie to the server's own domain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dkim
import pytest

from mailbox_app.accounts import dkim_keys
from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.model import DkimKey
from mailbox_app.mailauth.dkim_sign import DkimSigner
from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.model import Fate
from mailbox_app.mailqueue.report_signing import ReportSigner
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from tests.support.clock import FakeClock
from tests.support.queue import RecordingBus, outcome, put

REPORT = b"From: Mail Delivery System <mailer-daemon@mail.example.org>\r\nSubject: x\r\n\r\nIt failed.\r\n"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[SqliteDirectory]:
    made = SqliteDirectory(tmp_path / "directory.db")
    made.add_domain("example.org")
    yield made
    made.close()


def signer_of(directory: SqliteDirectory, hostname: str = "mail.example.org") -> ReportSigner:
    return ReportSigner(directory, DkimSigner(), hostname, FakeClock())


def add_key(directory: SqliteDirectory) -> DkimKey:
    key = dkim_keys.generate("example.org", "one", "rsa", FakeClock().now())
    directory.add_dkim_key(key)
    return key


def test_a_report_is_signed_for_the_domain_above_the_servers_name(directory: SqliteDirectory) -> None:
    key = add_key(directory)
    signed = signer_of(directory).signed(REPORT)
    assert signed.endswith(REPORT)
    assert b"d=example.org; s=one;" in signed
    assert dkim.verify(signed, dnsfunc=lambda _, timeout=5: key.public_txt.encode())


@pytest.mark.parametrize("hostname", ["mail.example.net", "mailexample.org", "org"])
def test_a_report_of_another_domain_is_not_signed(directory: SqliteDirectory, hostname: str) -> None:
    add_key(directory)
    assert signer_of(directory, hostname).signed(REPORT) == REPORT


def test_a_key_that_cannot_be_used_does_not_stop_a_report(directory: SqliteDirectory) -> None:
    directory.add_dkim_key(DkimKey("example.org", "bad", "rsa", b"no key", "v=DKIM1", FakeClock().now()))
    assert signer_of(directory).signed(REPORT) == REPORT


def test_what_is_queued_is_the_signed_report(directory: SqliteDirectory, tmp_path: Path) -> None:
    key, clock, spool = add_key(directory), FakeClock(), Spool(tmp_path / "queue")
    queue = SqliteQueue(tmp_path / "queue.db", spool, RecordingBus(), clock)
    signer = signer_of(directory)
    bounces = Bounces(queue, spool, directory.is_local_domain, "mail.example.org", clock, signer.signed)
    put(queue, spool, clock.now(), ("bob@there.example",))
    [lease] = queue.claim(clock.now(), limit=1, lease_seconds=600)
    bounces.report(lease, [outcome("bob@there.example", Fate.FAILED, 550, "5.1.1 no such user")])
    [made] = queue.claim(clock.now(), limit=1, lease_seconds=600)
    content = Path(made.spool_path).read_bytes()
    assert made.message.size_bytes == len(content)
    assert dkim.verify(content, dnsfunc=lambda _, timeout=5: key.public_txt.encode())
    queue.close()
