"""What the classifier has learnt: counts of words in junk and in wanted mail, per account and in a base for all; in `junk.db`.

A message is learnt once; learnt the other way, the first lesson is taken back. Lessons of one account also go into the base
(account 0), which speaks for accounts that have learnt too little themselves. Bounded: words seen once and long ago go
first. Everything blocks and is safe from any thread; trouble with the file is logged and answered with "nothing known".
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId
from mailbox_app.policy.bayes import Counts, combine, own_probability, word_probability

BASE = AccountId(0)
MAX_WORDS = 60_000
"""Of one account, some 2 MB."""
MAX_BASE_WORDS = 300_000
MAX_TRAINED = 5_000
"""Messages of one account whose lesson can be taken back."""
MAX_ACCOUNTS_ASKED = 50
"""Of one message: more recipients of their own opinion than this get the base's."""
_RARE_DAYS = 90
_PRUNE_EVERY = 50
_TOTALS = -1
_TOTALS_SECONDS = 30.0
_MAX_TOTALS = 20_000


class Corpus(Protocol):
    """Learns and judges."""

    def likelihoods(self, account_ids: Sequence[AccountId], words: Sequence[int]) -> Mapping[AccountId, float]:
        """How likely a message with these words is junk, for each account that has learnt enough and for `BASE`, likewise."""
        ...

    def knows_enough(self, account_ids: Sequence[AccountId]) -> bool:
        """Whether `likelihoods` may have anything to say."""
        ...

    def is_known_silent(self, account_ids: Sequence[AccountId]) -> bool:
        """Whether memory says that `likelihoods` has nothing to say; never blocks."""
        ...

    def learn(
        self,
        account_id: AccountId,
        digest: bytes,
        words: Sequence[int],
        *,
        is_spam: bool,
        senders: Sequence[str] = (),
        kept: bool = False,
    ) -> bool | None:
        """Learn a message. True: learnt; False: known already; None: the other way before, which is taken back now.
        `kept`: nobody said so, it was only kept; that never takes back a lesson and gives way to what somebody says."""
        ...

    def totals(self, account_id: AccountId) -> Counts:
        """How many messages of each class were learnt."""
        ...

    def kept(self) -> Mapping[AccountId, int]:
        """How many of the remembered lessons of each account come from mail that was only kept; of `BASE` the sum."""
        ...


class SqliteCorpus:
    """In `junk.db`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._log = structlog.get_logger("junk")
        self._totals: dict[AccountId, tuple[float, Counts]] = {}
        self._lessons = 0

    def knows_enough(self, account_ids: Sequence[AccountId]) -> bool:
        """Whether one of the accounts or the base has learnt enough."""
        return any(totals.is_enough for totals in self._known_totals([BASE, *account_ids]).values())

    def is_known_silent(self, account_ids: Sequence[AccountId]) -> bool:
        """Only as long as all that was read is fresh."""
        now = self._clock.monotonic_seconds()
        kept = [self._totals.get(each) for each in (BASE, *account_ids)]
        return all(each is not None and each[0] >= now and not each[1].is_enough for each in kept)

    def likelihoods(self, account_ids: Sequence[AccountId], words: Sequence[int]) -> Mapping[AccountId, float]:
        """One statement for all accounts that have learnt enough."""
        wanted = [BASE, *account_ids]
        totals = {key: value for key, value in self._known_totals(wanted).items() if value.is_enough}
        ids = list(totals)[:MAX_ACCOUNTS_ASKED]
        if not ids or not words:
            return {}
        found: dict[int, dict[int, float]] = {each: {} for each in ids}
        try:
            with self._database.reading() as connection:
                rows = connection.execute(
                    f"SELECT account_id, word, spam, ham FROM word WHERE account_id IN ({_marks(ids)})"  # noqa: S608
                    f" AND word IN ({_marks(words)})",
                    (*ids, *words),
                ).fetchall()
        except StoreError as error:
            self._log.warning("corpus_unreadable", code=error.code)
            return {}
        theirs: dict[int, float] = {}
        if BASE in totals:
            theirs = {
                word: word_probability(spam, ham, totals[BASE]) for owner, word, spam, ham in rows if owner == BASE
            }
        for account_id, word, spam, ham in rows:
            if account_id != BASE and word in theirs:
                found[account_id][word] = own_probability(spam, ham, totals[account_id], theirs[word])
            elif account_id != BASE:
                found[account_id][word] = word_probability(spam, ham, totals[account_id])
        most = totals.get(BASE, Counts(0, 0))
        result: dict[AccountId, float] = {BASE: most.temper(combine(theirs.values()))} if BASE in totals else {}
        for each in ids:
            if each != BASE:  # words this account never met say what they say to the others
                surest = max(most, totals[each], key=min)
                result[each] = surest.temper(combine({**theirs, **found[each]}.values()))
        return result

    def learn(
        self,
        account_id: AccountId,
        digest: bytes,
        words: Sequence[int],
        *,
        is_spam: bool,
        senders: Sequence[str] = (),
        kept: bool = False,
    ) -> bool | None:
        """One transaction; `StoreError` when it failed, and then nothing was learnt."""
        day = int(self._clock.epoch_seconds() // 86_400)
        packed = array("I", words).tobytes()
        outcome: bool | None = True
        with self._database.transaction(durable=False) as connection:
            row = connection.execute(
                "SELECT is_spam, words, kept FROM trained WHERE account_id = ? AND digest = ?", (account_id, digest)
            ).fetchone()
            if row is not None:
                if bool(row[0]) == is_spam or kept:
                    return False
                outcome = True if row[2] else None
                self._count(connection, account_id, _unpacked(row[1]), is_spam=bool(row[0]), change=-1, day=day)
            self._count(connection, account_id, words, is_spam=is_spam, change=1, day=day)
            connection.execute(
                "INSERT INTO trained (account_id, digest, is_spam, day, words, senders, kept) VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (account_id, digest) DO UPDATE SET is_spam = excluded.is_spam, day = excluded.day,"
                " words = excluded.words, senders = excluded.senders, kept = excluded.kept",
                (account_id, digest, is_spam, day, packed, "\n".join(senders), kept),
            )
            self._lessons += 1
            if self._lessons % _PRUNE_EVERY == 0:
                _prune(connection, account_id, day)
                _prune(connection, BASE, day)
        self._totals.clear()
        return outcome

    def _count(
        self,
        connection: sqlite3.Connection,
        account_id: AccountId,
        words: Sequence[int],
        *,
        is_spam: bool,
        change: int,
        day: int,
    ) -> None:
        spam, ham = (change, 0) if is_spam else (0, change)
        for owner in {account_id, BASE}:
            connection.executemany(
                "INSERT INTO word (account_id, word, spam, ham, day) VALUES (?, ?, max(?, 0), max(?, 0), ?)"
                " ON CONFLICT (account_id, word) DO UPDATE SET"
                " spam = max(spam + ?, 0), ham = max(ham + ?, 0), day = excluded.day",
                [(owner, word, spam, ham, day, spam, ham) for word in (_TOTALS, *words)],
            )

    def totals(self, account_id: AccountId) -> Counts:
        """From memory for half a minute."""
        return self._known_totals([account_id]).get(account_id, Counts(0, 0))

    def kept(self) -> Mapping[AccountId, int]:
        """One look at all lessons that can still be taken back; for people, not for mail."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT account_id, count(*) FROM trained WHERE kept = 1 GROUP BY account_id"
            ).fetchall()
        found = {AccountId(account_id): count for account_id, count in rows}
        return {BASE: sum(found.values()), **found}

    def _known_totals(self, account_ids: Sequence[AccountId]) -> Mapping[AccountId, Counts]:
        now = self._clock.monotonic_seconds()
        missing = [each for each in account_ids if (kept := self._totals.get(each)) is None or kept[0] < now]
        if missing:
            if len(self._totals) > _MAX_TOTALS:
                self._totals.clear()
            found = self._read_totals(missing)
            for each in missing:
                self._totals[each] = (now + _TOTALS_SECONDS, found.get(each, Counts(0, 0)))
        return {each: self._totals[each][1] for each in account_ids if each in self._totals}

    def _read_totals(self, account_ids: Sequence[AccountId]) -> Mapping[AccountId, Counts]:
        try:
            with self._database.reading() as connection:
                rows = connection.execute(
                    f"SELECT account_id, spam, ham FROM word WHERE account_id IN ({_marks(account_ids)}) AND word = ?",  # noqa: S608
                    (*account_ids, _TOTALS),
                ).fetchall()
        except StoreError as error:
            self._log.warning("corpus_unreadable", code=error.code)
            return {}
        return {AccountId(account_id): Counts(spam, ham) for account_id, spam, ham in rows}


def _prune(connection: sqlite3.Connection, account_id: AccountId, day: int) -> None:
    """Keep an account within its bounds: what was seen once and long ago goes first, then what was not seen for longest."""
    limit = MAX_BASE_WORDS if account_id == BASE else MAX_WORDS
    count = connection.execute("SELECT count(*) FROM word WHERE account_id = ?", (account_id,)).fetchone()[0]
    if count > limit * 9 // 10:
        connection.execute(
            "DELETE FROM word WHERE account_id = ? AND word >= 0 AND spam + ham <= 1 AND day < ?",
            (account_id, day - _RARE_DAYS),
        )
        count = connection.execute("SELECT count(*) FROM word WHERE account_id = ?", (account_id,)).fetchone()[0]
    if count > limit:
        connection.execute(
            "DELETE FROM word WHERE account_id = ? AND word IN (SELECT word FROM word WHERE account_id = ? AND word >= 0"
            " ORDER BY spam + ham > 1, day LIMIT ?)",
            (account_id, account_id, count - limit * 8 // 10),
        )
    connection.execute(
        "DELETE FROM trained WHERE account_id = ? AND digest IN (SELECT digest FROM trained WHERE account_id = ?"
        " ORDER BY day DESC LIMIT -1 OFFSET ?)",
        (account_id, account_id, MAX_TRAINED),
    )


def _unpacked(words: bytes) -> Sequence[int]:
    numbers = array("I")
    numbers.frombytes(words)
    return numbers


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
