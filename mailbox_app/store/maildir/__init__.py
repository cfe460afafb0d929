"""The Maildir++ backend: `backend.MaildirStore`.

An account is `data/mail/<domain>/<localpart>/` with `Maildir/` (INBOX at its root, other mailboxes as `.Name.Sub`),
`index.db` and `index.lock`. The tree is the truth: each mailbox folder holds `mailbox.json` (id, UIDVALIDITY, a
reserved high-water mark of UIDs, keywords, special use), each file name holds the UID and the flags, so the index can
be thrown away at any time (`rebuild`).

All writes of all processes to one account go one after the other under `index.lock` (`opened.OpenAccount.writing`).
Inside, files move first and the index commits last; a crash in between leaves a file without a row, which the next
`sync` recognises by its name. Reading needs no lock: a file that was renamed meanwhile is looked up again.

Modules by what they do: `names` and `filenames` (mapping to the file system), `files` and `metadata` (durable
writes), `schema` and `queries` (all SQL), `opened` (an open index, its lock, one write transaction), `mailboxes`,
`append`, `flags`, `copy`, `expunge`, `reading`, `sync`, `adopt`, `rebuild`, `check`, and `account`, which puts them together.
"""
