"""The queue database's schema, as numbered migrations for `db.sqlite`.

Times are seconds since 1970. The indexes make claiming, listing and counting quick with 100,000 rows; `due` holds the
destination so that destinations that are busy are passed over without touching the rows.
"""

MIGRATIONS = (
    """
CREATE TABLE message (
    queue_id   TEXT PRIMARY KEY,
    sender     TEXT NOT NULL,
    body       TEXT NOT NULL,
    smtputf8   INTEGER NOT NULL,
    ret        TEXT NOT NULL,
    envid      TEXT NOT NULL,
    submitter  TEXT NOT NULL,
    message_id TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    arrived_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    spool_name TEXT NOT NULL UNIQUE
);
CREATE INDEX message_sender ON message (lower(sender));
CREATE INDEX message_size ON message (size_bytes);
CREATE INDEX message_arrived ON message (arrived_at);

CREATE TABLE recipient (
    queue_id    TEXT NOT NULL REFERENCES message (queue_id),
    address     TEXT NOT NULL,
    transport   TEXT NOT NULL,
    destination TEXT NOT NULL,
    state       TEXT NOT NULL,
    waits_as    TEXT NOT NULL,
    attempts    INTEGER NOT NULL,
    next_at     REAL NOT NULL,
    last_code   INTEGER NOT NULL,
    last_text   TEXT NOT NULL,
    last_host   TEXT NOT NULL,
    notify      TEXT NOT NULL,
    orcpt       TEXT NOT NULL,
    lease_token TEXT NOT NULL,
    lease_until REAL NOT NULL,
    PRIMARY KEY (queue_id, address)
);
CREATE INDEX recipient_due ON recipient (state, next_at, destination);
CREATE INDEX recipient_next ON recipient (next_at);
CREATE INDEX recipient_address ON recipient (lower(address));
CREATE INDEX recipient_destination ON recipient (destination);
CREATE INDEX recipient_attempts ON recipient (attempts);

CREATE TABLE attempt (
    number           INTEGER PRIMARY KEY,
    queue_id         TEXT NOT NULL,
    at               REAL NOT NULL,
    address          TEXT NOT NULL,
    fate             TEXT NOT NULL,
    code             INTEGER NOT NULL,
    text             TEXT NOT NULL,
    host             TEXT NOT NULL,
    tls              TEXT NOT NULL,
    duration_seconds REAL NOT NULL
);
CREATE INDEX attempt_message ON attempt (queue_id);
""",
    "ALTER TABLE message ADD COLUMN require_tls INTEGER NOT NULL DEFAULT 0;",
    """
ALTER TABLE message ADD COLUMN tls_optional INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;
CREATE INDEX message_submitter ON message (submitter) WHERE submitter != '';
ALTER TABLE recipient ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;
ALTER TABLE recipient ADD COLUMN last_enhanced TEXT NOT NULL DEFAULT '';
ALTER TABLE recipient ADD COLUMN route TEXT NOT NULL DEFAULT '';
ALTER TABLE recipient ADD COLUMN hold_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE recipient ADD COLUMN delay_told INTEGER NOT NULL DEFAULT 0;
DROP INDEX recipient_due;
CREATE INDEX recipient_due ON recipient (state, priority, next_at, destination);
CREATE INDEX recipient_state_next ON recipient (state, next_at);

CREATE TABLE hold_rule (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    sender    TEXT NOT NULL,
    recipient TEXT NOT NULL,
    submitter TEXT NOT NULL,
    reason    TEXT NOT NULL,
    made_at   REAL NOT NULL
);

CREATE TABLE finished (
    number      INTEGER PRIMARY KEY,
    queue_id    TEXT NOT NULL,
    address     TEXT NOT NULL,
    sender      TEXT NOT NULL,
    submitter   TEXT NOT NULL,
    message_id  TEXT NOT NULL,
    size_bytes  INTEGER NOT NULL,
    arrived_at  REAL NOT NULL,
    finished_at REAL NOT NULL,
    fate        TEXT NOT NULL,
    code        INTEGER NOT NULL,
    enhanced    TEXT NOT NULL,
    text        TEXT NOT NULL,
    host        TEXT NOT NULL,
    tls         TEXT NOT NULL,
    attempts    INTEGER NOT NULL
);
CREATE INDEX finished_message ON finished (queue_id);
CREATE INDEX finished_at ON finished (finished_at);
""",
    """
CREATE TABLE pause (
    destination TEXT PRIMARY KEY,
    reason      TEXT NOT NULL,
    made_at     REAL NOT NULL
);
""",
    """
DROP INDEX recipient_state_next;
CREATE INDEX recipient_state_next ON recipient (state, next_at, destination);
""",
    "ALTER TABLE message ADD COLUMN release_request TEXT NOT NULL DEFAULT '';",
)
