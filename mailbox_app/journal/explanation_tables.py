"""All SQL of the explanations in `journal.db`."""

from __future__ import annotations

SCHEMA = """
    CREATE TABLE explanations (
        no INTEGER PRIMARY KEY AUTOINCREMENT,
        at_millis INTEGER NOT NULL,
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

INSERT = "INSERT INTO explanations (at_millis, detail) VALUES (?, ?)"
INSERT_KEY = "INSERT INTO explanation_keys (day, key, no) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
FIRST_AND_LAST = (
    "SELECT (SELECT at_millis FROM explanations ORDER BY at_millis LIMIT 1),"
    " (SELECT at_millis FROM explanations ORDER BY at_millis DESC LIMIT 1)"
)
FIRST_NO = "SELECT no FROM explanations ORDER BY no LIMIT 1"
LAST_NO = "SELECT no FROM explanations ORDER BY no DESC LIMIT 1"
COUNT_KEY = "SELECT count(*) FROM (SELECT 1 FROM explanation_keys WHERE day = ? AND key = ? LIMIT ?)"
BY_TIME = (
    "SELECT no, detail FROM explanations WHERE at_millis >= :since AND at_millis < :until AND no < :before"
    " ORDER BY at_millis DESC, no DESC LIMIT :limit"
)
BY_NO = "SELECT no, detail FROM explanations WHERE no < :before ORDER BY no DESC LIMIT :limit"
"""Pages of all records: as far back as one likes at the same cost."""
COUNT_BY_TIME = (
    "SELECT count(*) FROM (SELECT 1 FROM explanations WHERE at_millis >= ? AND at_millis < ? AND no < ? LIMIT ?)"
)
PRUNE = (
    "DELETE FROM explanations WHERE no IN (SELECT no FROM explanations WHERE at_millis < ? ORDER BY at_millis LIMIT ?)"
)
PRUNE_KEYS = (
    "DELETE FROM explanation_keys WHERE (day, key, no) IN"
    " (SELECT day, key, no FROM explanation_keys WHERE day < ? LIMIT ?)"
)


_ALSO = " AND EXISTS (SELECT 1 FROM explanation_keys AS other WHERE other.day = ? AND other.key = ? AND other.no = found.no)"


def by_keys(others: int) -> str:
    """Records of one day with a key and so many others: (day, key, before no, since, until, day, other key, ...)."""
    return (
        "SELECT each.no, each.detail FROM explanation_keys AS found JOIN explanations AS each"  # noqa: S608 - constants
        " ON each.no = found.no"
        " WHERE found.day = ? AND found.key = ? AND found.no < ? AND each.at_millis >= ? AND each.at_millis < ?"
        + _ALSO * others
        + " ORDER BY found.no DESC"
    )


def count_keys(others: int, *, timed: bool) -> str:
    """How many of those there are, up to a limit: (day, key, before no, [since, until,] day, other key, ..., limit)."""
    join = " JOIN explanations AS each ON each.no = found.no" if timed else ""
    times = " AND each.at_millis >= ? AND each.at_millis < ?" if timed else ""
    return (
        f"SELECT count(*) FROM (SELECT 1 FROM explanation_keys AS found{join}"  # noqa: S608 - constants
        " WHERE found.day = ? AND found.key = ? AND found.no < ?" + times + _ALSO * others + " LIMIT ?)"
    )
