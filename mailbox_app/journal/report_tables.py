"""The tables of `reports.db`: what is counted for reports to others, which were sent, and the ones others sent us.

A file of its own: it may grow to millions of rows and nothing in it is worth holding up mail for. Every kind of report shares
`received` and `sent`; a kind keeps its rows in tables of its own. A new kind appends a migration; nothing is ever edited.
"""

from __future__ import annotations

from collections.abc import Sequence

MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE dmarc_domains (
        day INTEGER NOT NULL,
        domain TEXT NOT NULL,
        published BLOB NOT NULL,
        addresses BLOB NOT NULL,
        row_count INTEGER NOT NULL,
        unlisted INTEGER NOT NULL,
        PRIMARY KEY (day, domain)
    ) WITHOUT ROWID;
    CREATE TABLE dmarc_rows (
        day INTEGER NOT NULL,
        domain TEXT NOT NULL,
        digest BLOB NOT NULL,
        detail BLOB NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (day, domain, digest)
    ) WITHOUT ROWID;
    CREATE TABLE sent (
        kind TEXT NOT NULL,
        day INTEGER NOT NULL,
        domain TEXT NOT NULL,
        address TEXT NOT NULL,
        at_seconds REAL NOT NULL,
        outcome TEXT NOT NULL,
        messages INTEGER NOT NULL,
        PRIMARY KEY (kind, day, domain, address)
    ) WITHOUT ROWID;
    CREATE INDEX sent_at ON sent (at_seconds);
    CREATE TABLE received (
        report_no INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        organization TEXT NOT NULL,
        report_id TEXT NOT NULL,
        domain TEXT NOT NULL,
        begin_seconds INTEGER NOT NULL,
        end_seconds INTEGER NOT NULL,
        received_seconds REAL NOT NULL,
        sender TEXT NOT NULL,
        proven INTEGER NOT NULL,
        messages INTEGER NOT NULL,
        passed INTEGER NOT NULL,
        row_count INTEGER NOT NULL,
        detail BLOB NOT NULL,
        UNIQUE (kind, domain, organization, report_id)
    );
    CREATE INDEX received_at ON received (received_seconds);
    CREATE INDEX received_end ON received (kind, end_seconds);
    CREATE TABLE received_dmarc (
        report_no INTEGER NOT NULL,
        row_no INTEGER NOT NULL,
        source_ip TEXT NOT NULL,
        count INTEGER NOT NULL,
        passed INTEGER NOT NULL,
        disposition TEXT NOT NULL,
        detail BLOB NOT NULL,
        PRIMARY KEY (report_no, row_no)
    ) WITHOUT ROWID;
    CREATE TABLE report_marks (
        account_id INTEGER NOT NULL,
        mailbox_id INTEGER NOT NULL,
        next_uid INTEGER NOT NULL,
        PRIMARY KEY (account_id, mailbox_id)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE tls_rows (
        day INTEGER NOT NULL,
        domain TEXT NOT NULL,
        digest BLOB NOT NULL,
        detail BLOB NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (day, domain, digest)
    ) WITHOUT ROWID;
    """,
)
