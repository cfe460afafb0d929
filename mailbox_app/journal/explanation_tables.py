"""All SQL of the explanations in `journal.db`."""

from __future__ import annotations

SCHEMA = """
    CREATE TABLE explanations (
        no INTEGER PRIMARY KEY AUTOINCREMENT,
        at_millis INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        detail BLOB NOT NULL
    );
    CREATE INDEX explanations_at ON explanations (at_millis);
    CREATE TABLE explanation_keys (
        day INTEGER NOT NULL,
        key INTEGER NOT NULL,
        no INTEGER NOT NULL,
        PRIMARY KEY (day, key, no)
    ) WITHOUT ROWID;
"""

INSERT = "INSERT INTO explanations (at_millis, outcome, detail) VALUES (?, ?, ?)"
INSERT_KEY = "INSERT INTO explanation_keys (day, key, no) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
FIRST_AND_LAST = (
    "SELECT (SELECT at_millis FROM explanations ORDER BY at_millis LIMIT 1),"
    " (SELECT at_millis FROM explanations ORDER BY at_millis DESC LIMIT 1)"
)
BY_KEY = (
    "SELECT each.no, each.at_millis, each.outcome, each.detail FROM explanation_keys AS found"
    " JOIN explanations AS each ON each.no = found.no"
    " WHERE found.day = ? AND found.key = ? AND found.no < ? ORDER BY found.no DESC"
)
BY_TIME = (
    "SELECT no, at_millis, outcome, detail FROM explanations"
    " WHERE at_millis >= :since AND at_millis < :until AND no < :before AND (:outcome = '' OR outcome = :outcome)"
    " ORDER BY at_millis DESC, no DESC LIMIT :limit"
)
PRUNE = (
    "DELETE FROM explanations WHERE no IN (SELECT no FROM explanations WHERE at_millis < ? ORDER BY at_millis LIMIT ?)"
)
PRUNE_KEYS = (
    "DELETE FROM explanation_keys WHERE (day, key, no) IN"
    " (SELECT day, key, no FROM explanation_keys WHERE day < ? LIMIT ?)"
)
