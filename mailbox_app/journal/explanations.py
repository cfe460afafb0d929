"""Why: one record per message that came to our door, refused ones too, kept as long as the decisions and without any body.

A record is found by everything somebody may know of the message: its ids, Message-ID, addresses, their domains, the client's
address, the time. Those words are indexed as 64-bit digests by day: a day's keys lie together, so writing touches few pages however
long the history is, and a search asks each day once. Digests may collide, so what is found is compared with the record.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Literal

import msgspec
from msgspec import Struct

from mailbox_app.db.sqlite import Database
from mailbox_app.journal import explanation_tables as tables

Outcome = Literal["accepted", "junk", "deferred", "refused"]
DAY_MILLIS = 86_400_000
_MAX_FOUND = 1000
_MAX_DAYS = 400
_MAX_WORDS = 500


class Said(Struct, frozen=True, omit_defaults=True):
    """What one check said."""

    check: str
    reason: str
    score: float = 0.0
    verdict: str = "accept"
    account: str = ""
    """The only recipient it holds for; empty: all."""
    advisory: bool = False
    inputs: dict[str, str | int | float] = {}


class Copy(Struct, frozen=True, omit_defaults=True):
    """What became of one recipient's copy."""

    address: str
    action: str
    target: str = ""
    reason: str = ""
    steps: Sequence[str] = ()


class Explanation(Struct, frozen=True, omit_defaults=True):
    """One decision with all it was made from."""

    at_millis: int
    outcome: Outcome
    trace_id: str = ""
    session_id: str = ""
    service: str = ""
    """smtp, lmtp, submission, submissions."""
    remote: str = ""
    """The client's address..."""
    remote_name: str = ""
    """... and its confirmed name."""
    account: str = ""
    """Who submitted it."""
    helo: str = ""
    tls: str = ""
    sender: str = ""
    recipients: Sequence[str] = ()
    message_id: str = ""
    subject: str = ""
    size_bytes: int = 0
    code: int = 0
    text: str = ""
    """The reply."""
    stage: str = ""
    """Where it was decided: connect, sender, recipient, message, delivery."""
    authentication: str = ""
    """The results in one line, spf=pass dkim=pass dmarc=pass."""
    score: float = 0.0
    junk_score: float = 0.0
    reject_score: float = 0.0
    findings: Sequence[Said] = ()
    copies: Sequence[Copy] = ()
    queue_ids: Sequence[str] = ()
    duration_seconds: float = 0.0

    @property
    def at(self) -> datetime:
        """When."""
        return datetime.fromtimestamp(self.at_millis / 1000, UTC)

    def words(self) -> Sequence[str]:
        """What it can be found by, folded; of very many recipients only the first."""
        ids = (self.trace_id, self.session_id, self.message_id, self.remote, *self.queue_ids)
        words = dict.fromkeys([outcome_word(self.outcome), *(word.lower() for word in ids if word)])
        copies = (copy.address for copy in self.copies)
        for address in (self.account, self.sender, *self.recipients, *copies):
            if len(words) >= _MAX_WORDS:
                break
            if address:
                folded = address.lower()
                words[folded] = words[folded[folded.rfind("@") :] if "@" in folded else folded] = None
        return list(words)


class ExplanationFilter(Struct, frozen=True):
    """Which records; all given conditions hold."""

    words: Sequence[str] = ()
    """Each an id, a Message-ID, an address, an `@domain` or a client's address."""
    since_at: datetime | None = None
    until_at: datetime | None = None
    outcome: Outcome | None = None
    before_no: int | None = None
    """Only older records than this number: the next page."""


def outcome_word(outcome: Outcome) -> str:
    """An outcome among the words; no address or id has a space."""
    return f"outcome {outcome}"


def write(connection: sqlite3.Connection, explanations: Iterable[Explanation]) -> None:
    """Insert records with their keys; `connection` is inside a transaction of the journal's database."""
    keys: list[tuple[int, int, int | None]] = []
    for each in explanations:
        detail = zlib.compress(msgspec.json.encode(each), 1)
        no = connection.execute(tables.INSERT, (each.at_millis, detail)).lastrowid
        day = each.at_millis // DAY_MILLIS
        keys.extend((day, _digest(word), no) for word in each.words())
    connection.executemany(tables.INSERT_KEY, keys)


def find(database: Database, where: ExplanationFilter, limit: int) -> Sequence[tuple[int, Explanation]]:
    """(number, record), newest first. Reads no more than it returns, collisions aside."""
    limit = min(limit, _MAX_FOUND)
    wanted = _wanted(where)
    if not wanted:
        return _by_time(database, where, limit)
    found: list[tuple[int, Explanation]] = []
    with database.reading() as connection:
        first, last = _days(connection.execute(tables.FIRST_AND_LAST).fetchone(), where)
        for day in range(last, max(first, last - _MAX_DAYS) - 1, -1):
            for no, detail in _of_day(connection, day, wanted, where):
                record = _decoded(detail)
                if set(wanted).issubset(record.words()):
                    found.append((no, record))
                    if len(found) >= limit:
                        return found
    return found


def count(database: Database, where: ExplanationFilter, most: int) -> int:
    """How many records there are, counted up to `most`; without words as many as their numbers span, so also those being pruned."""
    wanted = _wanted(where)
    with database.reading() as connection:
        if not wanted and where.since_at is None and where.until_at is None:
            first = connection.execute(tables.FIRST_NO).fetchone()
            last = connection.execute(tables.LAST_NO).fetchone()
            return 0 if first is None else max(0, min(last[0], _before(where) - 1) - first[0] + 1)
        since, until = _span(where)
        if not wanted:
            return int(connection.execute(tables.COUNT_BY_TIME, (since, until, _before(where), most)).fetchone()[0])
        timed = where.since_at is not None or where.until_at is not None
        found = 0
        first_day, last_day = _days(connection.execute(tables.FIRST_AND_LAST).fetchone(), where)
        for day in range(last_day, max(first_day, last_day - _MAX_DAYS) - 1, -1):
            if digests := _rarest_first(connection, day, wanted):
                times = (since, until) if timed else ()
                others = [value for digest in digests[1:] for value in (day, digest)]
                query = tables.count_keys(len(digests) - 1, timed=timed)
                values = (day, digests[0], _before(where), *times, *others, most - found)
                found += connection.execute(query, values).fetchone()[0]
            if found >= most:
                break
        return found


def last_no(database: Database) -> int:
    """The number of the newest record; 0 without one."""
    with database.reading() as connection:
        row = connection.execute(tables.LAST_NO).fetchone()
        return 0 if row is None else int(row[0])


def _wanted(where: ExplanationFilter) -> list[str]:
    wanted = [word.strip().lower() for word in where.words]
    if where.outcome is not None:
        wanted.append(outcome_word(where.outcome))
    return wanted


def _rarest_first(connection: sqlite3.Connection, day: int, wanted: Sequence[str]) -> list[int]:
    """The words' digests, the one that leads a search first; none when a word does not occur on that day."""
    digests = [_digest(word) for word in wanted]
    if len(digests) > 1:
        counts = [connection.execute(tables.COUNT_KEY, (day, digest, _MAX_FOUND)).fetchone()[0] for digest in digests]
        if min(counts) == 0:
            return []
        digests = [digest for _, digest in sorted(zip(counts, digests, strict=True))]
    return digests


def _of_day(
    connection: sqlite3.Connection, day: int, wanted: Sequence[str], where: ExplanationFilter
) -> Iterable[tuple[int, bytes]]:
    """Records of a day that have the digests of all words, newest first: the rarest word leads, the others are looked up."""
    digests = _rarest_first(connection, day, wanted)
    if not digests:
        return ()
    since, until = _span(where)
    others = [value for digest in digests[1:] for value in (day, digest)]
    query = tables.by_keys(len(digests) - 1)
    return connection.execute(query, (day, digests[0], _before(where), since, until, *others))


def prune(database: Database, before_at: datetime, batch: int) -> int:
    """Forget older records, some at a time so that writers wait milliseconds; how many."""
    limit = int(before_at.timestamp() * 1000)
    removed = 0
    while True:
        with database.transaction() as connection:
            count = connection.execute(tables.PRUNE, (limit, batch)).rowcount
            keys = connection.execute(tables.PRUNE_KEYS, (limit // DAY_MILLIS, batch * 8)).rowcount
        removed += count
        if count < batch and keys < batch * 8:
            return removed


def _by_time(database: Database, where: ExplanationFilter, limit: int) -> Sequence[tuple[int, Explanation]]:
    since, until = _span(where)
    paged = where.before_no is not None and where.since_at is None and where.until_at is None
    with database.reading() as connection:
        rows = connection.execute(
            tables.BY_NO if paged else tables.BY_TIME,
            {"since": since, "until": until, "before": _before(where), "limit": limit},
        )
        return [(no, _decoded(detail)) for no, detail in rows]


def _days(stored: tuple[int | None, int | None], where: ExplanationFilter) -> tuple[int, int]:
    """The first and the last day a search looks at; none (1, 0) when nothing is stored."""
    first, last = stored
    if first is None or last is None:
        return 1, 0
    first_day, last_day = first // DAY_MILLIS, last // DAY_MILLIS
    if where.since_at is not None:
        first_day = max(first_day, _millis(where.since_at) // DAY_MILLIS)
    if where.until_at is not None:
        last_day = min(last_day, _millis(where.until_at) // DAY_MILLIS)
    return first_day, last_day


def _span(where: ExplanationFilter) -> tuple[int, int]:
    since = _millis(where.since_at) if where.since_at else 0
    until = _millis(where.until_at) if where.until_at else 1 << 60
    return since, until


def _before(where: ExplanationFilter) -> int:
    return (1 << 62) if where.before_no is None else where.before_no


def _millis(at: datetime) -> int:
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def _digest(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)


def _decoded(detail: bytes) -> Explanation:
    return msgspec.json.decode(zlib.decompress(detail), type=Explanation)
