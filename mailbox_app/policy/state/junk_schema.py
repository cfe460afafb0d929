"""The tables of `junk.db`: what was learnt from what people do with their mail. Its own file, for it grows and is worth a backup.

`word` are the counts of words by account; the row of word -1 holds the totals of messages. Account 0 is the base that all
share. `trained` remembers what was learnt from which message, so nothing is learnt twice and a change of mind takes back what
was learnt first. `reputation` are tallies of senders, `mark` how far the store's changes were read, `junk_member` what is in
each Junk mailbox, `kept` what was read and becomes a lesson when it is still there a day later.
Everything is bounded by its module; losing the file loses knowledge, never mail.
"""

from __future__ import annotations

from collections.abc import Sequence

MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE word (
        account_id BIGINT NOT NULL,
        word BIGINT NOT NULL,
        spam BIGINT NOT NULL,
        ham BIGINT NOT NULL,
        day BIGINT NOT NULL,
        PRIMARY KEY (account_id, word)
    ) WITHOUT ROWID;
    CREATE TABLE trained (
        account_id BIGINT NOT NULL,
        digest BLOB NOT NULL,
        is_spam BIGINT NOT NULL,
        day BIGINT NOT NULL,
        words BLOB NOT NULL,
        senders TEXT NOT NULL,
        PRIMARY KEY (account_id, digest)
    );
    CREATE INDEX trained_day ON trained (account_id, day);
    CREATE TABLE reputation (
        account_id BIGINT NOT NULL,
        sender TEXT NOT NULL,
        junk REAL NOT NULL,
        ham REAL NOT NULL,
        seen REAL NOT NULL,
        at_seconds BIGINT NOT NULL,
        PRIMARY KEY (account_id, sender)
    ) WITHOUT ROWID;
    CREATE INDEX reputation_age ON reputation (at_seconds);
    CREATE TABLE mark (
        account_id BIGINT NOT NULL,
        mailbox_id BIGINT NOT NULL,
        modseq BIGINT NOT NULL,
        uidnext BIGINT NOT NULL,
        PRIMARY KEY (account_id, mailbox_id)
    ) WITHOUT ROWID;
    CREATE TABLE junk_member (
        account_id BIGINT NOT NULL,
        digest BLOB NOT NULL,
        day BIGINT NOT NULL,
        PRIMARY KEY (account_id, digest)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE trained ADD COLUMN kept BIGINT NOT NULL DEFAULT 0;
    CREATE TABLE kept (
        account_id BIGINT NOT NULL,
        digest BLOB NOT NULL,
        mailbox_id BIGINT NOT NULL,
        uid BIGINT NOT NULL,
        at_seconds BIGINT NOT NULL,
        PRIMARY KEY (account_id, digest)
    ) WITHOUT ROWID;
    CREATE INDEX kept_at ON kept (at_seconds);
    """,
)
