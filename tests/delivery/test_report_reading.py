"""Reports among an account's mail are found, wherever they lie, once."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.config.load import parse
from mailbox_app.config.schema import Config
from mailbox_app.delivery import report_reading
from mailbox_app.delivery.report_reading import ReportReader, proven_sender
from mailbox_app.errors import StoreError
from mailbox_app.events.bus import LocalBus
from mailbox_app.journal.received_reports import Received, ReceivedReports
from mailbox_app.observe.metrics import Metrics
from mailbox_app.proto.dmarc_report import DmarcReport, compose
from mailbox_app.proto.header import Header
from mailbox_app.proto.report_container import pack_gzip
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.maildir.backend import MaildirStore
from tests.proto.test_dmarc_report import REPORT, zipped
from tests.support.clock import FakeClock

PROVEN = b"Authentication-Results: mail.example.org;\r\n\tdmarc=pass header.from=reporter.example\r\n"
ABOUT_US = replace(REPORT, published=replace(REPORT.published, domain="example.org"))


class Scene:
    """An account that reports are addressed to, and its reader."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.config: Config = parse('[server]\nhostname = "mail.example.org"\n', Path("config.toml"))
        self.directory = SqliteDirectory(folder / "directory.db", self.clock)
        self.directory.add_domain("example.org")
        self.ref = self.directory.add_account("postmaster@example.org", "x").ref
        self.other = self.directory.add_account("alice@example.org", "x").ref
        self.store = MaildirStore(folder, LocalBus(), hostname="mail.example.org", clock=self.clock)
        self.received = ReceivedReports(folder / "reports.db")
        self.metrics = Metrics()
        self.reader = ReportReader(
            self.store, self.received, self.directory, self.clock, self.metrics, lambda: self.config
        )

    def store_mail(self, raw: bytes, mailbox: str = "INBOX") -> None:
        staged = self.store.stage(self.ref, Content(b"", raw, len(raw)))
        (result,) = self.store.account(self.ref).append([NewMessage(staged, mailbox)])
        assert not isinstance(result, Exception)

    def look(self) -> int:
        return self.reader.catch_up(self.ref)

    def reports(self) -> list[Received]:
        return list(self.received.reports("", 0, 100)[0])

    def outcome(self, word: str) -> float:
        found = self.metrics.registry.get_sample_value(
            "mailserver_reports_received_total", {"kind": "dmarc", "outcome": word}
        )
        return found or 0.0

    def close(self) -> None:
        self.store.close()
        self.received.close()
        self.directory.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def mail(
    report: DmarcReport = ABOUT_US,
    *,
    top: bytes = PROVEN,
    packed: bytes | None = None,
    kind: str = "application/gzip",
    name: str = "r.example!example.org!1!2.xml.gz",
    subject: str = "Report Domain: example.org Submitter: r.example Report-ID: <1>",
) -> bytes:
    content = pack_gzip(compose(report)) if packed is None else packed
    return (
        top
        + (
            f"From: DMARC <noreply@reporter.example>\r\nTo: postmaster@example.org\r\nSubject: {subject}\r\n"
            'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\n'
            f'Content-Type: {kind}; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        ).encode()
        + base64.encodebytes(content).replace(b"\n", b"\r\n")
        + b"--b--\r\n"
    )


def test_a_report_is_found_once_and_later_ones_as_they_come(scene: Scene) -> None:
    scene.store_mail(mail())
    assert scene.look() == 1
    (kept,) = scene.reports()
    assert (kept.domain, kept.organization, kept.sender, kept.proven) == (
        "example.org", "mail.example.org", "noreply@reporter.example", True,
    )  # fmt: skip
    assert (kept.messages, kept.passed) == (4, 1)
    assert scene.look() == 0
    scene.store_mail(mail())
    assert scene.look() == 0
    assert scene.outcome("known") == 1
    scene.store_mail(mail(replace(ABOUT_US, report_id="next")), "Junk")
    assert scene.look() == 1
    assert len(scene.reports()) == 2


@pytest.mark.parametrize(
    ("kind", "name", "subject"),
    [
        ("application/zip", "r.example!example.org!1!2.zip", "here you are"),
        ("application/octet-stream", "r.example!example.org!1!2!abc.xml.gz", "x"),
        ("application/gzip", "whatever", "Report domain: example.org Submitter: r"),
        ("text/xml", "r.example!example.org!1!2.xml", "x"),
    ],
)
def test_a_report_is_known_by_its_subject_or_by_its_file(scene: Scene, kind: str, name: str, subject: str) -> None:
    packed = {"application/zip": zipped(("x.xml", compose(ABOUT_US))), "text/xml": compose(ABOUT_US)}.get(kind)
    scene.store_mail(mail(packed=packed, kind=kind, name=name, subject=subject))
    assert scene.look() == 1


def test_a_report_without_parts_is_read_too(scene: Scene) -> None:
    body = base64.encodebytes(pack_gzip(compose(ABOUT_US))).replace(b"\n", b"\r\n")
    head = b"From: a@b.example\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n"
    head += b' filename="b.example!example.org!1!2.xml.gz"\r\nContent-Type: application/gzip\r\n\r\n'
    scene.store_mail(head + body)
    assert scene.look() == 1


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (mail(packed=b"\x1f\x8b broken"), "unread"),
        (mail(packed=pack_gzip(b"<!DOCTYPE a><feedback/>")), "unread"),
        (mail(packed=pack_gzip(b"<feedback>" + b" " * 90_000_000)), "unread"),
        (mail(REPORT), "other_domain"),
    ],
)
def test_what_is_no_report_about_us_is_counted_and_holds_up_nothing(scene: Scene, raw: bytes, outcome: str) -> None:
    scene.store_mail(raw)
    scene.store_mail(mail())
    assert scene.look() == 1
    assert scene.outcome(outcome) == 1
    assert scene.look() == 0


def test_trouble_of_ours_loses_no_report_and_a_bug_hides_no_later_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.store_mail(mail())
    scene.store_mail(mail(replace(ABOUT_US, report_id="next")))
    with monkeypatch.context() as patched:
        busy = StoreError("store.busy", "busy", temporary=True)
        patched.setattr(scene.received, "add_dmarc", raising(busy))
        with pytest.raises(StoreError):
            scene.look()
    with monkeypatch.context() as patched:
        patched.setattr(report_reading, "read_report", raising(KeyError("a bug")))
        assert scene.look() == 0
    assert scene.metrics.registry.get_sample_value("mailserver_errors_total") == 2
    scene.store_mail(mail())
    assert scene.look() == 1


def raising(error: Exception) -> Callable[..., object]:
    def fail(*_arguments: object, **_named: object) -> object:
        raise error

    return fail


def test_other_mail_is_not_opened(scene: Scene) -> None:
    scene.store_mail(b"From: a@b.example\r\nSubject: Report Domain: example.org\r\n\r\nhello\r\n")
    scene.store_mail(mail(name="invoice.gz", subject="invoice"))
    assert scene.look() == 0
    assert scene.outcome("unread") == 0


def test_subdomains_and_the_organization_above_are_ours_too(scene: Scene) -> None:
    scene.directory.add_domain("mail.firm.example")
    for name in ("sub.example.org", "firm.example", "xample.org"):
        scene.store_mail(mail(replace(ABOUT_US, published=replace(ABOUT_US.published, domain=name))))
    assert scene.look() == 2


def test_the_accounts_are_those_the_configuration_names(scene: Scene) -> None:
    def watched() -> list[str]:
        return [ref.localpart for ref in scene.reader.accounts()]

    assert watched() == ["postmaster"]
    scene.directory.add_alias("dmarc@example.org", ["alice@example.org"])
    for address, expected in (("dmarc", ["alice"]), ("DMARC@example.org", ["alice"]), ("nobody", [])):
        text = f'[server]\nhostname = "mail.example.org"\n[reports]\naddress = "{address}"\n'
        scene.config = parse(text, Path("config.toml"))
        assert watched() == expected


def test_many_messages_are_read_in_steps_and_of_an_old_account_only_the_latest(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_reading, "FIRST_LOOK", 3)
    monkeypatch.setattr(report_reading, "_STEP", 2)
    for number in range(5):
        scene.store_mail(mail(replace(ABOUT_US, report_id=f"r{number}")))
    assert scene.look() == 3
    for number in range(5, 12):
        scene.store_mail(mail(replace(ABOUT_US, report_id=f"r{number}")))
    assert scene.look() == 7
    assert scene.reader.purge() == 0
    scene.clock.skip(401 * 86_400)
    assert scene.reader.purge() == 10


@pytest.mark.parametrize(
    ("field", "proven"),
    [
        (b"Authentication-Results: mail.example.org; dmarc=pass header.from=reporter.example\r\n", True),
        (b"Authentication-Results: mail.example.org; dkim=pass header.d=reporter.example\r\n", True),
        (b"Authentication-Results: mail.example.org; spf=pass smtp.mailfrom=x@reporter.example\r\n", True),
        (b"Authentication-Results: mail.example.org; dkim=pass header.d=other.example\r\n", False),
        (b"Authentication-Results: mail.example.org; dkim=fail header.d=reporter.example\r\n", False),
        (b"Authentication-Results: other.example; dmarc=pass header.from=reporter.example\r\n", False),
        (b"", False),
    ],
)
def test_only_our_own_results_prove_a_sender(field: bytes, proven: bool) -> None:
    header = Header.parse(field + b"From: noreply@reporter.example\r\n\r\n")
    assert proven_sender(header, ["mail.example.org"]) == ("noreply@reporter.example", proven)
    later = b"Authentication-Results: mail.example.org; none\r\n" + field
    assert not proven_sender(Header.parse(later + b"From: noreply@reporter.example\r\n\r\n"), ["mail.example.org"])[1]
