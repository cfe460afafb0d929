"""Reports that others sent us about our domains, in `reports.db`: kept for a time and up to a number of rows, asked by domain.

A report has one reporter and one id; the same one again changes nothing, unless the first was unproven and this one is proven.
Everything blocks; texts were cleaned of what could harm a terminal when they came in.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from mailbox_app.db.sqlite import Database
from mailbox_app.ids import AccountId, MailboxId
from mailbox_app.journal import report_tables
from mailbox_app.proto.dmarc_report import DkimLine, DmarcReport, Reason, Row, SpfLine
from mailbox_app.proto.plain_text import clean
from mailbox_app.proto.tls_report import FailureDetail, TlsReport

MAX_ROWS = 2_000_000
"""Some 600 MB: the unproven and the oldest reports go first."""
_DMARC, _TLS = "dmarc", "tls"
_INSERT = (
    "INSERT INTO received (kind, domain, organization, report_id, begin_seconds, end_seconds, received_seconds, sender, proven,"
    " messages, passed, row_count, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SHORT = 253
_COLUMNS = (
    "report_no, kind, organization, report_id, domain, begin_seconds, end_seconds, received_seconds, sender, proven,"
    " messages, passed, row_count"
)
_ONE = f"SELECT {_COLUMNS}, detail FROM received WHERE report_no = ? AND kind = ?"  # noqa: S608 - constants
_SOURCES = """
    SELECT source_ip, sum(rows.count), sum(rows.passed),
        sum(CASE disposition WHEN 'quarantine' THEN rows.count ELSE 0 END),
        sum(CASE disposition WHEN 'reject' THEN rows.count ELSE 0 END),
        max(rows.count - rows.passed), rows.detail
    FROM received JOIN received_dmarc AS rows USING (report_no)
    WHERE kind = 'dmarc' AND end_seconds >= ? AND proven >= ? AND (domain = ? OR ? = '')
    GROUP BY source_ip ORDER BY sum(rows.count) DESC, source_ip LIMIT ?
"""
_TOTALS = """
    SELECT count(*), coalesce(sum(messages), 0), coalesce(sum(passed), 0), count(DISTINCT organization) FROM received
    WHERE kind = 'dmarc' AND end_seconds >= ? AND proven >= ? AND (domain = ? OR ? = '')
"""


@dataclass(frozen=True, slots=True)
class Received:
    """One report, without its rows."""

    report_no: int
    kind: str
    organization: str
    report_id: str
    domain: str
    begin_seconds: int
    end_seconds: int
    received_seconds: float
    sender: str
    """The From address of the message that brought it."""
    proven: bool
    """Whether SPF or DKIM prove that sender's domain."""
    messages: int
    passed: int
    row_count: int


@dataclass(frozen=True, slots=True)
class Source:
    """What one address sent in a domain's name, over all reports."""

    source_ip: str
    messages: int
    passed: int
    quarantined: int
    rejected: int
    example: Row
    """The row with the most messages that failed; any when none did."""


@dataclass(frozen=True, slots=True)
class Totals:
    """All reports of a question together."""

    reports: int
    messages: int
    passed: int
    organizations: int


class ReceivedReports:
    """Opened after the fork; usable from any thread."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._database = Database(path, report_tables.MIGRATIONS, synchronous="NORMAL", busy_seconds=2.0)

    def add_dmarc(self, report: DmarcReport, sender: str, *, proven: bool, at_seconds: float) -> bool:
        """Keep a report; False when it is known."""
        rows = [_cleaned(row) for row in report.rows]
        key = (_DMARC, clean(report.published.domain, _SHORT), clean(report.organization), clean(report.report_id))
        head = msgspec.json.encode(replace(_cleaned_head(report), rows=()))
        messages, passed = sum(row.count for row in rows), sum(row.count for row in rows if row.passed)
        period = (report.begin_seconds, report.end_seconds, at_seconds)
        with self._database.transaction() as connection:
            if not _is_new(connection, key, proven=proven):
                return False
            number = connection.execute(
                _INSERT, (*key, *period, clean(sender, 320), int(proven), messages, passed, len(rows), head)
            ).lastrowid
            connection.executemany(
                "INSERT INTO received_dmarc VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (number, place, row.source_ip, row.count, row.count if row.passed else 0, row.disposition,
                     msgspec.json.encode(row))
                    for place, row in enumerate(rows)
                ),
            )  # fmt: skip
        return True

    def add_tls(self, report: TlsReport, sender: str, *, proven: bool, at_seconds: float) -> bool:
        """Keep a TLS report; False when it is known. Its sessions count as messages, those that succeeded as passed."""
        cleaned = _cleaned_tls(report)
        key = (_TLS, clean(cleaned.policies[0].domain, _SHORT), cleaned.organization, cleaned.report_id)
        passed = sum(policy.succeeded for policy in cleaned.policies)
        messages = passed + sum(policy.failed for policy in cleaned.policies)
        period = (report.begin_seconds, report.end_seconds, at_seconds)
        detail = msgspec.json.encode(cleaned)
        with self._database.transaction() as connection:
            if not _is_new(connection, key, proven=proven):
                return False
            values = (clean(sender, 320), int(proven), messages, passed, len(cleaned.policies), detail)
            connection.execute(_INSERT, (*key, *period, *values))
        return True

    def tls(self, report_no: int) -> tuple[Received, TlsReport] | None:
        """One TLS report."""
        with self._database.reading() as connection:
            found = connection.execute(_ONE, (report_no, _TLS)).fetchone()
        return None if found is None else (_received(found[:-1]), msgspec.json.decode(found[-1], type=TlsReport))

    def reports(self, domain: str, since_seconds: float, limit: int, offset: int = 0) -> tuple[Sequence[Received], int]:
        """Those about a domain ("": all) whose period ended since then, latest first; and how many there are."""
        where = "FROM received WHERE end_seconds >= ? AND (domain = ? OR ? = '')"
        values = (since_seconds, domain, domain)
        with self._database.reading() as connection:
            (total,) = connection.execute(f"SELECT count(*) {where}", values).fetchone()
            rows = connection.execute(
                f"SELECT {_COLUMNS} {where} ORDER BY end_seconds DESC, report_no DESC LIMIT ? OFFSET ?",
                (*values, limit, offset),
            ).fetchall()
        return [_received(row) for row in rows], total

    def dmarc(self, report_no: int, max_rows: int) -> tuple[Received, DmarcReport] | None:
        """One report with its largest rows."""
        with self._database.reading() as connection:
            found = connection.execute(_ONE, (report_no, _DMARC)).fetchone()
            if found is None:
                return None
            rows = connection.execute(
                "SELECT detail FROM received_dmarc WHERE report_no = ? ORDER BY count DESC, row_no LIMIT ?",
                (report_no, max_rows),
            ).fetchall()
        head = msgspec.json.decode(found[-1], type=DmarcReport)
        return _received(found[:-1]), replace(head, rows=[msgspec.json.decode(detail, type=Row) for (detail,) in rows])

    def sources(self, domain: str, since_seconds: float, limit: int, *, unproven: bool) -> Sequence[Source]:
        """Who sent in a domain's name ("": in all), the busiest first."""
        values = (since_seconds, 0 if unproven else 1, domain, domain, limit)
        with self._database.reading() as connection:
            rows = connection.execute(_SOURCES, values).fetchall()
        return [
            Source(address, messages, passed, junk, refused, msgspec.json.decode(detail, type=Row))
            for address, messages, passed, junk, refused, _, detail in rows
        ]

    def totals(self, domain: str, since_seconds: float, *, unproven: bool) -> Totals:
        """The sums of the same question."""
        with self._database.reading() as connection:
            values = (since_seconds, 0 if unproven else 1, domain, domain)
            return Totals(*connection.execute(_TOTALS, values).fetchone())

    def purge(self, before_seconds: float, max_rows: int = MAX_ROWS) -> int:
        """Forget what came before then and, beyond so many rows, the unproven and the oldest; how many reports went."""
        with self._database.transaction(durable=False) as connection:
            old = [no for (no,) in connection.execute(
                "SELECT report_no FROM received WHERE received_seconds < ?", (before_seconds,)
            )]  # fmt: skip
            (count,) = connection.execute("SELECT count(*) FROM received_dmarc").fetchone()
            surplus = count - max_rows
            if surplus > 0:
                for number, rows in connection.execute(
                    "SELECT report_no, row_count FROM received ORDER BY proven, received_seconds, report_no"
                ):
                    if surplus <= 0:
                        break
                    old.append(number)
                    surplus -= rows
            numbers = [(number,) for number in dict.fromkeys(old)]
            connection.executemany("DELETE FROM received_dmarc WHERE report_no = ?", numbers)
            connection.executemany("DELETE FROM received WHERE report_no = ?", numbers)
        return len(numbers)

    # how far the mailboxes were read

    def marks(self, account_id: AccountId) -> Mapping[MailboxId, int]:
        """The UID from which on each mailbox was not looked at."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT mailbox_id, next_uid FROM report_marks WHERE account_id = ?", (account_id,)
            ).fetchall()
        return {MailboxId(mailbox_id): next_uid for mailbox_id, next_uid in rows}

    def set_mark(self, account_id: AccountId, mailbox_id: MailboxId, next_uid: int) -> None:
        """Everything below this UID was looked at."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO report_marks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next_uid = excluded.next_uid",
                (account_id, mailbox_id, next_uid),
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _is_new(connection: sqlite3.Connection, key: tuple[str, str, str, str], *, proven: bool) -> bool:
    """Whether a report is to be kept; an unproven one makes room for the same one proven."""
    known = connection.execute(
        "SELECT report_no, proven FROM received WHERE kind = ? AND domain = ? AND organization = ? AND report_id = ?",
        key,
    ).fetchone()
    if known is None:
        return True
    if known[1] or not proven:
        return False
    connection.execute("DELETE FROM received_dmarc WHERE report_no = ?", (known[0],))
    connection.execute("DELETE FROM received WHERE report_no = ?", (known[0],))
    return True


def _cleaned_tls(report: TlsReport) -> TlsReport:
    return replace(
        report,
        organization=clean(report.organization),
        contact=clean(report.contact),
        report_id=clean(report.report_id),
        policies=[
            replace(
                policy,
                kind=clean(policy.kind, 50),
                domain=clean(policy.domain, _SHORT),
                strings=[clean(each, 500) for each in policy.strings],
                mx_hosts=[clean(each, _SHORT) for each in policy.mx_hosts],
                details=[_cleaned_detail(each) for each in policy.details],
            )
            for policy in report.policies
        ],
    )


def _cleaned_detail(detail: FailureDetail) -> FailureDetail:
    return FailureDetail(
        clean(detail.result, 100),
        detail.count,
        clean(detail.sending_ip, 100),
        clean(detail.mx_host, _SHORT),
        clean(detail.receiving_ip, 100),
        clean(detail.helo, _SHORT),
        clean(detail.reason, 500),
    )


def _received(row: Sequence[Any]) -> Received:
    received = Received(*row)
    return replace(received, proven=bool(received.proven))


def _cleaned_head(report: DmarcReport) -> DmarcReport:
    policy = replace(
        report.published,
        domain=clean(report.published.domain, _SHORT),
        policy=clean(report.published.policy, _SHORT),
        subdomain_policy=clean(report.published.subdomain_policy, _SHORT),
        missing_policy=clean(report.published.missing_policy, _SHORT),
        failure_options=clean(report.published.failure_options, _SHORT),
        discovery=clean(report.published.discovery, _SHORT),
    )
    return replace(
        report,
        organization=clean(report.organization),
        email=clean(report.email),
        report_id=clean(report.report_id),
        contact=clean(report.contact),
        generator=clean(report.generator),
        errors=[clean(error) for error in report.errors],
        published=policy,
    )


def _cleaned(row: Row) -> Row:
    return replace(
        row,
        header_from=clean(row.header_from, _SHORT),
        envelope_from=clean(row.envelope_from, _SHORT),
        envelope_to=clean(row.envelope_to, _SHORT),
        reasons=[Reason(clean(each.kind, 50), clean(each.comment, 500)) for each in row.reasons],
        signatures=[
            DkimLine(clean(each.domain, _SHORT), clean(each.selector, _SHORT), clean(each.result, 50))
            for each in row.signatures
        ],
        spf_results=[
            SpfLine(clean(each.domain, _SHORT), clean(each.result, 50), clean(each.scope, 50))
            for each in row.spf_results
        ],
    )
