"""All SQL of `journal.db`, for the audit chain and the decisions. Portable between SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.journal import explanation_tables

MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE audit (
        no INTEGER PRIMARY KEY,
        at_seconds INTEGER NOT NULL,
        who TEXT NOT NULL,
        uid INTEGER NOT NULL,
        via TEXT NOT NULL,
        what TEXT NOT NULL,
        object TEXT NOT NULL,
        detail TEXT NOT NULL,
        before TEXT NOT NULL,
        after TEXT NOT NULL,
        result TEXT NOT NULL,
        hash BLOB NOT NULL
    );
    CREATE INDEX audit_at ON audit (at_seconds);
    CREATE TABLE audit_head (one INTEGER PRIMARY KEY CHECK (one = 1), count INTEGER NOT NULL, hash BLOB NOT NULL);
    CREATE TABLE decisions (
        no INTEGER PRIMARY KEY AUTOINCREMENT,
        at_millis INTEGER NOT NULL,
        verb TEXT NOT NULL,
        direction TEXT NOT NULL,
        session_id TEXT NOT NULL,
        queue_id TEXT NOT NULL,
        sender TEXT NOT NULL,
        recipients TEXT NOT NULL,
        message_id TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        remote TEXT NOT NULL,
        tls TEXT NOT NULL,
        code INTEGER NOT NULL,
        text TEXT NOT NULL,
        reason TEXT NOT NULL,
        checks TEXT NOT NULL,
        duration_seconds REAL NOT NULL
    );
    CREATE INDEX decisions_queue ON decisions (queue_id) WHERE queue_id <> '';
    CREATE INDEX decisions_session ON decisions (session_id) WHERE session_id <> '';
    CREATE INDEX decisions_message ON decisions (message_id) WHERE message_id <> '';
    """,
    explanation_tables.SCHEMA,
)

_AUDIT = "no, at_seconds, who, uid, via, what, object, detail, before, after, result"
_DECISION = (
    "no, at_millis, verb, direction, session_id, queue_id, sender, recipients, message_id, size_bytes,"
    " remote, tls, code, text, reason, checks, duration_seconds"
)

AUDIT_HEAD = "SELECT count, hash FROM audit_head"
AUDIT_INSERT = f"INSERT INTO audit ({_AUDIT}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants
AUDIT_SET_HEAD = (
    "INSERT INTO audit_head (one, count, hash) VALUES (1, ?, ?)"
    " ON CONFLICT (one) DO UPDATE SET count = excluded.count, hash = excluded.hash"
)
_AUDIT_WHERE = (
    " WHERE (:who = '' OR who = :who) AND (:what = '' OR what = :what OR what LIKE :what_prefix ESCAPE '\\')"
    " AND at_seconds >= :since"
    " AND (:text = '' OR object LIKE :like ESCAPE '\\' OR detail LIKE :like ESCAPE '\\' OR before LIKE :like ESCAPE '\\'"
    " OR after LIKE :like ESCAPE '\\' OR result LIKE :like ESCAPE '\\' OR who LIKE :like ESCAPE '\\'"
    " OR what LIKE :like ESCAPE '\\')"
)
AUDIT_COUNT = f"SELECT count(*) FROM audit{_AUDIT_WHERE}"  # noqa: S608 - constants
AUDIT_PAGE = f"SELECT {_AUDIT} FROM audit{_AUDIT_WHERE} ORDER BY no DESC LIMIT :limit OFFSET :offset"  # noqa: S608 - constants
AUDIT_ONE = f"SELECT {_AUDIT} FROM audit WHERE no = ?"  # noqa: S608 - constants
AUDIT_ALL = f"SELECT {_AUDIT}, hash FROM audit ORDER BY no"  # noqa: S608 - constants

DECISION_INSERT = f"INSERT INTO decisions ({_DECISION[4:]}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
DECISION_RECENT = f"SELECT {_DECISION} FROM decisions ORDER BY no DESC LIMIT ?"  # noqa: S608 - constants
DECISION_RECENT_DONE = f"SELECT {_DECISION} FROM decisions WHERE verb <> 'queued' ORDER BY no DESC LIMIT ?"  # noqa: S608 - constants
DECISION_SEARCH = (
    f"SELECT {_DECISION} FROM decisions"  # noqa: S608 - constants
    " WHERE queue_id <> '' AND queue_id = :id OR session_id <> '' AND session_id = :id"
    " OR message_id <> '' AND message_id = :id ORDER BY no LIMIT :limit"
)
DECISION_COUNTS = (
    "SELECT at_millis / 60000 AS minute, verb, direction, sum(CASE WHEN recipients = '' THEN 1"
    " ELSE length(recipients) - length(replace(recipients, char(10), '')) + 1 END)"
    " FROM decisions WHERE no > ? AND no <= ? AND at_millis >= ? GROUP BY minute, verb, direction"
)
DECISION_LAST_NO = "SELECT coalesce(max(no), 0) FROM decisions"
DECISION_PRUNE = "DELETE FROM decisions WHERE no IN (SELECT no FROM decisions WHERE at_millis < ? ORDER BY no LIMIT ?)"
