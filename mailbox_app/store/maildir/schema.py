"""The tables of an account's index, as numbered migrations.

A message's key is `mailbox id * 2^32 + uid`, so one mailbox is one range of the primary key and a listing in UID order
needs no other index. What every scan reads is in `message` (about 100 bytes a row), what a listing shows in `rendered`,
header blocks in `header`: reading flags touches none of the wide rows. `name_flags` are the flags the file name has.
"""

from __future__ import annotations

MIGRATIONS = (
    """
CREATE TABLE account (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    modseq BIGINT NOT NULL,
    used_bytes BIGINT NOT NULL,
    used_messages BIGINT NOT NULL,
    next_mailbox_id BIGINT NOT NULL,
    last_uidvalidity BIGINT NOT NULL,
    root_mtime BIGINT NOT NULL
);
CREATE TABLE mailbox (
    mailbox_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    folder TEXT NOT NULL UNIQUE,
    uidvalidity BIGINT NOT NULL,
    uidnext BIGINT NOT NULL,
    uid_reserved BIGINT NOT NULL,
    highest_modseq BIGINT NOT NULL,
    expunged_floor BIGINT NOT NULL,
    message_count BIGINT NOT NULL,
    unseen_count BIGINT NOT NULL,
    deleted_count BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    first_recent_uid BIGINT NOT NULL,
    special_use TEXT,
    keywords TEXT NOT NULL,
    cur_mtime BIGINT NOT NULL,
    new_mtime BIGINT NOT NULL
);
CREATE TABLE subscription (name TEXT PRIMARY KEY);
CREATE TABLE message (
    message_key INTEGER PRIMARY KEY,
    mailbox_id BIGINT NOT NULL,
    modseq BIGINT NOT NULL,
    flags BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    internal_seconds BIGINT NOT NULL,
    name_flags BIGINT NOT NULL,
    stem TEXT NOT NULL
);
CREATE INDEX message_modseq ON message (mailbox_id, modseq);
CREATE INDEX message_pending ON message (mailbox_id) WHERE flags <> name_flags;
CREATE TABLE rendered (
    message_key INTEGER PRIMARY KEY,
    envelope BLOB NOT NULL,
    bodystructure BLOB NOT NULL,
    body BLOB NOT NULL,
    parts BLOB NOT NULL
);
CREATE TABLE header (message_key INTEGER PRIMARY KEY, header BLOB NOT NULL);
CREATE TABLE expunged (
    mailbox_id BIGINT NOT NULL,
    modseq BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    PRIMARY KEY (mailbox_id, modseq, uid)
);
CREATE TABLE doomed (
    mailbox_id BIGINT NOT NULL,
    stem TEXT NOT NULL,
    name_flags BIGINT NOT NULL,
    PRIMARY KEY (mailbox_id, stem)
);
""",
)
