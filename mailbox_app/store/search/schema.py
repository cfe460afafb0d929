"""The tables of search.db, as numbered migrations.

`trigram` keeps no text and no positions, only which row has which trigram: row 2n is the header of document n, row 2n + 1 its
body. Its rows cannot be removed one by one: documents that no message has any more stay in it as dead rows until the whole
is made anew, so numbers of documents are never given again. A document that is `cut` was too long to index wholly.
`mailbox.next_uid` says how far a mailbox is done; because UIDs only grow and messages never change, nothing below it needs
another look, but `gap`: messages that could not be read.
"""

from __future__ import annotations

MIGRATIONS = (
    """
CREATE VIRTUAL TABLE trigram USING fts5(
    text, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1'
);
CREATE TABLE document (
    document_id INTEGER PRIMARY KEY AUTOINCREMENT,
    email_id BLOB NOT NULL UNIQUE,
    cut BIGINT NOT NULL
);
CREATE INDEX document_cut ON document (cut) WHERE cut <> 0;
CREATE TABLE place (
    message_key INTEGER PRIMARY KEY,
    document_id BIGINT NOT NULL
);
CREATE INDEX place_document ON place (document_id);
CREATE TABLE gap (message_key INTEGER PRIMARY KEY);
CREATE TABLE mailbox (
    mailbox_id INTEGER PRIMARY KEY,
    uidvalidity BIGINT NOT NULL,
    next_uid BIGINT NOT NULL,
    place_count BIGINT NOT NULL
);
""",
)
