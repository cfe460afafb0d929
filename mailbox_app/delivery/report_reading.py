"""Finds the reports among the mail of the accounts that reports are addressed to, and keeps them for `mailbox report`.

It reads mailboxes, not deliveries: whatever way a report came and wherever a filter put it, it is found once, also after a
restart. A report counts when it is about a domain of ours; whether its sender is proven is noted with it. What is no report, or a
broken one, is only counted: the message stays where it is. Blocks; one account at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import BinaryIO

import structlog

from mailbox_app.accounts.interface import Directory
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Config
from mailbox_app.errors import MailboxError, ProtocolError
from mailbox_app.ids import AccountRef, MailboxId, Uid
from mailbox_app.journal.received_reports import ReceivedReports
from mailbox_app.observe.metrics import Metrics
from mailbox_app.policy.content import filename_of
from mailbox_app.policy.report_addresses import report_addresses
from mailbox_app.proto.address import parse_address_list
from mailbox_app.proto.authres import forged_authres, parse_authres
from mailbox_app.proto.dmarc_report import DmarcReport
from mailbox_app.proto.dmarc_report_reader import read_report
from mailbox_app.proto.header import Header
from mailbox_app.proto.mime import Part, PartTable
from mailbox_app.proto.report_container import MAX_PACKED_BYTES, unpack
from mailbox_app.proto.text.message import content_of, read_header
from mailbox_app.proto.tls_report import TlsReport
from mailbox_app.proto.tls_report import read_report as read_tls_report
from mailbox_app.proto.transfer_decoding import transfer_decoder
from mailbox_app.store.interface import Account, Store
from mailbox_app.store.model import MailboxInfo

FIRST_LOOK = 1_000
"""Of an account that was never looked at only the latest messages of each mailbox are read."""
_STEP = 200
_MAX_PARTS = 50
_MAX_REPORTS = 5
"""In one message."""
_PIECE_BYTES = 262_144
_PREFIXES = (b"application/", b"text/xml", b"multipart/")
_PACKED = frozenset(
    {
        b"application/gzip", b"application/x-gzip", b"application/zip", b"application/x-zip-compressed",
        b"application/x-zip", b"text/xml", b"application/xml", b"application/octet-stream", b"application/x-gunzip",
        b"application/tlsrpt+gzip", b"application/tlsrpt+json", b"application/json",
    }
)  # fmt: skip
_NAME = re.compile(
    r"[^!/]{1,255}![^!/]{1,255}![0-9]{1,12}![0-9]{1,12}(?:![^/]{1,255})?\.(?:xml|xml\.gz|gz|zip|xml\.zip|json|json\.gz)\Z"
)
_TLS = b"application/tlsrpt"
_SUBJECT = re.compile(rb"report\s+domain:", re.IGNORECASE)


class ReportReader:
    """One in the core."""

    def __init__(
        self,
        store: Store,
        received: ReceivedReports,
        directory: Directory,
        clock: Clock,
        metrics: Metrics,
        config: Callable[[], Config],
    ) -> None:
        self._store = store
        self._received = received
        self._directory = directory
        self._clock = clock
        self._metrics = metrics
        self._config = config
        self._log = structlog.get_logger("reports")

    def accounts(self) -> Sequence[AccountRef]:
        """Those that reports are addressed to."""
        domains = [domain.name for domain in self._directory.domains() if not domain.alias_of]
        refs = {}
        for address in report_addresses(self._config().reports, domains):
            for account in self._directory.resolve(address).accounts:
                refs[account.account_id] = account.ref
        return list(refs.values())

    def catch_up(self, ref: AccountRef) -> int:
        """Read what came into an account since the last time; how many reports were kept."""
        account = self._store.account(ref)
        marks = self._received.marks(ref.account_id)
        kept = 0
        for info in account.mailboxes():
            mark = marks.get(info.mailbox_id)
            if mark is None or mark < info.uidnext:
                kept += self._read_mailbox(ref, account, info, mark if marks else None)
        return kept

    def purge(self) -> int:
        """Forget reports that are too old."""
        age = self._config().reports.keep_days * 86_400
        return self._received.purge(self._clock.epoch_seconds() - age)

    def _read_mailbox(self, ref: AccountRef, account: Account, info: MailboxInfo, mark: int | None) -> int:
        uids = [Uid(uid) for uid in account.sizes(info.mailbox_id).uids]
        uids = uids[-FIRST_LOOK:] if mark is None else [uid for uid in uids if uid >= mark]
        kept = 0
        for start in range(0, len(uids), _STEP):
            step = uids[start : start + _STEP]
            for uid, header, parts in account.rendered(info.mailbox_id, step, ("header", "parts")):
                assert isinstance(uid, int)
                assert isinstance(header, bytes)
                assert isinstance(parts, bytes)
                kept += self._look(account, info.mailbox_id, Uid(uid), header, parts)
            self._received.set_mark(ref.account_id, info.mailbox_id, step[-1] + 1)
        if not uids or uids[-1] + 1 < info.uidnext:
            self._received.set_mark(ref.account_id, info.mailbox_id, info.uidnext)
        return kept

    def _look(self, account: Account, mailbox_id: MailboxId, uid: Uid, block: bytes, parts: bytes) -> int:
        """One message; its own trouble is noted and never holds up the others. Trouble of ours is raised: it comes again."""
        header = Header.parse(block)
        kind = (header.first(b"content-type") or b"").strip().lower()
        if not kind.startswith(_PREFIXES):
            return 0
        is_named = _SUBJECT.search(header.first(b"subject") or b"") is not None
        try:
            table = PartTable.decode(parts)
            with account.open_message(mailbox_id, uid) as file:
                return self._read_parts(header, file, table, is_named=is_named)
        except (MailboxError, OSError, ValueError) as error:
            if isinstance(error, MailboxError) and error.temporary:
                raise
            self._log.info("report_unread", uid=uid, reason=str(error))
        except Exception:  # noqa: BLE001 - a message that trips us up must not hide all later ones
            self._log.exception("report_unread", uid=uid)
            self._metrics.errors.inc()
        return 0

    def _read_parts(self, header: Header, file: BinaryIO, table: PartTable, *, is_named: bool) -> int:
        def read(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        kept = found = 0
        for index in range(min(len(table), _MAX_PARTS)):
            part = table.part(index)
            if part.children or part.content_type not in _PACKED or found >= _MAX_REPORTS:
                continue
            name = filename_of(content_of(header if index == 0 else Header.parse(read_header(read, part))))
            is_tls = part.content_type.startswith(_TLS)
            if not is_named and not is_tls and not _NAME.match(name):
                continue
            found += 1
            kept += self._keep(header, read, part)
        return kept

    def _keep(self, header: Header, read: Callable[[int, int], bytes], part: Part) -> int:
        sender, proven = proven_sender(header, self._services())
        # what came by no door was written here: our own report about a domain of ours
        proven = proven or (
            not header.count(b"received") and self._directory.is_local_domain(sender.rpartition("@")[2])
        )
        kind = "dmarc"
        try:
            pieces = unpack(_decoded(read, part))
            first = next(pieces, b"")
            if first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
                kind = "tls"
                return self._keep_tls(read_tls_report(chain([first], pieces)), sender, proven=proven)
            return self._keep_dmarc(read_report(chain([first], pieces)), sender, proven=proven)
        except ProtocolError as error:
            self._log.info("report_unread", sender=sender, code=error.code, reason=error.public_text)
            self._count(kind, "unread")
            return 0

    def _keep_dmarc(self, report: DmarcReport, sender: str, *, proven: bool) -> int:
        domain = report.published.domain
        if not self._is_wanted("dmarc", domain, sender):
            return 0
        new = self._received.add_dmarc(report, sender, proven=proven, at_seconds=self._clock.epoch_seconds())
        return self._noted("dmarc", domain, report.organization, len(report.rows), new=new, proven=proven)

    def _keep_tls(self, report: TlsReport, sender: str, *, proven: bool) -> int:
        domain = report.policies[0].domain
        if not self._is_wanted("tls", domain, sender):
            return 0
        new = self._received.add_tls(report, sender, proven=proven, at_seconds=self._clock.epoch_seconds())
        return self._noted("tls", domain, report.organization, len(report.policies), new=new, proven=proven)

    def _is_wanted(self, kind: str, domain: str, sender: str) -> bool:
        if self._is_ours(domain):
            return True
        self._log.info("report_unread", sender=sender, code="report.other_domain", domain=domain)
        self._count(kind, "other_domain")
        return False

    def _noted(self, kind: str, domain: str, organization: str, rows: int, *, new: bool, proven: bool) -> int:
        self._count(kind, "kept" if new else "known")
        if new:
            self._log.info(
                "report_received", kind=kind, domain=domain, organization=organization, rows=rows, proven=proven
            )
        return int(new)

    def _count(self, kind: str, outcome: str) -> None:
        self._metrics.reports_received.labels(kind, outcome).inc()

    def _services(self) -> Sequence[str]:
        config = self._config()
        return [name for name in (config.server.hostname, config.lmtp.authserv_id) if name]

    def _is_ours(self, domain: str) -> bool:
        """A domain of ours, or one above or below it."""
        names = [each.name for each in self._directory.domains()]
        return any(domain == name or domain.endswith(f".{name}") or name.endswith(f".{domain}") for name in names)


def _decoded(read: Callable[[int, int], bytes], part: Part) -> bytes:
    """A part's bytes; what is too large for a report ends early and is refused behind."""
    transfer = transfer_decoder(part.encoding) or transfer_decoder(b"binary")
    assert transfer is not None
    pieces: list[bytes] = []
    size = 0
    for piece in _pieces(read, part):
        pieces.append(transfer.feed(piece))
        size += len(pieces[-1])
        if size > MAX_PACKED_BYTES:
            return b"".join(pieces)
    return b"".join([*pieces, transfer.finish()])


def _pieces(read: Callable[[int, int], bytes], part: Part) -> Iterator[bytes]:
    position = part.body_start
    while position < part.body_end:
        piece = read(position, min(_PIECE_BYTES, part.body_end - position))
        if not piece:
            return
        position += len(piece)
        yield piece


def proven_sender(header: Header, services: Sequence[str]) -> tuple[str, bool]:
    """The From address, and whether our own results say that its domain, or its organization, sent the message."""
    authors = parse_address_list(header.first(b"from") or b"")
    if len(authors) != 1 or header.count(b"from") != 1:
        return "", False
    localpart, domain = ((text or b"").decode("utf-8", "replace") for text in (authors[0].localpart, authors[0].domain))
    sender, domain = f"{localpart}@{domain}", domain.lower().rstrip(".")
    # the topmost one is ours: what came with the message was cut out at the door
    own = next((field for service in services for field in forged_authres(header, service)), None)
    if own is None:
        return sender, False
    for method in parse_authres(own.value)[1]:
        if method.result != "pass":
            continue
        for name, value in method.properties:
            proof = value.lower().rpartition("@")[2].rstrip(".")
            if (method.name, name) in _PROOFS and (proof == domain or domain.endswith(f".{proof}")):
                return sender, True
    return sender, False


_PROOFS = frozenset({("dmarc", "header.from"), ("dkim", "header.d"), ("spf", "smtp.mailfrom")})
