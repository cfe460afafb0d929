"""The tables of an account's index, as numbered migrations.

A message's key is `mailbox id * 2^32 + uid`, so one mailbox is one range of the primary key and a listing in UID order
needs no other index. What every scan reads is in `message` (about 100 bytes a row), what a listing shows in `rendered`:
reading flags touches none of the wide rows. `name_flags` are the flags the file name has.

`block` counts the messages of each `BLOCK_SIZE` consecutive UIDs, kept by triggers: the number of a message's place, and
the place of a number, are found without reading a mailbox. The first layout had no such counts; an index that still
has it is emptied here and then made anew from the tree, like any index without an account row.

`retained` holds what was expunged and can still be restored; `place` says where its file is (`retained_queries`), `origin`
what its mailbox was called. The wide columns stay in `rendered` under the same key.
"""

from __future__ import annotations

BLOCK_BITS = 12
BLOCK_SIZE = 1 << BLOCK_BITS

MIGRATIONS = (
    "",
    f"""
DROP TABLE IF EXISTS account;
DROP TABLE IF EXISTS mailbox;
DROP TABLE IF EXISTS subscription;
DROP TABLE IF EXISTS message;
DROP TABLE IF EXISTS rendered;
DROP TABLE IF EXISTS header;
DROP TABLE IF EXISTS expunged;
DROP TABLE IF EXISTS doomed;
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
    saved_seconds BIGINT NOT NULL,
    name_flags BIGINT NOT NULL,
    stem TEXT NOT NULL
);
CREATE INDEX message_modseq ON message (mailbox_id, modseq);
CREATE INDEX message_pending ON message (mailbox_id) WHERE flags <> name_flags;
CREATE INDEX message_deleted ON message (mailbox_id) WHERE flags & 8 <> 0;
CREATE TABLE block (
    block_key INTEGER PRIMARY KEY,
    message_count BIGINT NOT NULL,
    unseen_count BIGINT NOT NULL
);
CREATE TRIGGER message_added AFTER INSERT ON message BEGIN
    INSERT INTO block VALUES (new.message_key >> {BLOCK_BITS}, 1, (new.flags & 1) = 0)
    ON CONFLICT (block_key) DO UPDATE SET
        message_count = message_count + 1, unseen_count = unseen_count + excluded.unseen_count;
END;
CREATE TRIGGER message_removed AFTER DELETE ON message BEGIN
    UPDATE block SET message_count = message_count - 1, unseen_count = unseen_count - ((old.flags & 1) = 0)
    WHERE block_key = old.message_key >> {BLOCK_BITS};
END;
CREATE TRIGGER message_seen AFTER UPDATE OF flags ON message WHEN (old.flags & 1) <> (new.flags & 1) BEGIN
    UPDATE block SET unseen_count = unseen_count + (old.flags & 1) - (new.flags & 1)
    WHERE block_key = new.message_key >> {BLOCK_BITS};
END;
CREATE TABLE rendered (
    message_key INTEGER PRIMARY KEY,
    envelope BLOB NOT NULL,
    bodystructure BLOB NOT NULL,
    body BLOB NOT NULL,
    parts BLOB NOT NULL,
    email_id BLOB NOT NULL,
    thread_id BLOB NOT NULL,
    header BLOB NOT NULL
);
CREATE TABLE expunged (
    mailbox_id BIGINT NOT NULL,
    modseq BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    PRIMARY KEY (mailbox_id, modseq, uid)
) WITHOUT ROWID;
CREATE TABLE doomed (
    mailbox_id BIGINT NOT NULL,
    stem TEXT NOT NULL,
    name_flags BIGINT NOT NULL,
    PRIMARY KEY (mailbox_id, stem)
);
CREATE TABLE annotation (
    mailbox_id BIGINT NOT NULL,
    entry TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (mailbox_id, entry)
);
CREATE TABLE acl (
    mailbox_id BIGINT NOT NULL,
    identifier TEXT NOT NULL,
    rights TEXT NOT NULL,
    PRIMARY KEY (mailbox_id, identifier)
);
""",  # noqa: S608 - numbers of our own
    """
ALTER TABLE account ADD COLUMN retained_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN retained_messages BIGINT NOT NULL DEFAULT 0;
CREATE TABLE retained (
    message_key INTEGER PRIMARY KEY,
    mailbox_id BIGINT NOT NULL,
    expunged_seconds BIGINT NOT NULL,
    flags BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    internal_seconds BIGINT NOT NULL,
    name_flags BIGINT NOT NULL,
    stem TEXT NOT NULL,
    place BIGINT NOT NULL
);
CREATE INDEX retained_age ON retained (expunged_seconds);
CREATE INDEX retained_waiting ON retained (mailbox_id) WHERE place = 0;
CREATE TABLE origin (
    mailbox_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    keywords TEXT NOT NULL
);
""",
)
