"""IMAP4rev1 (RFC 3501, read with RFC 9051) with the extensions of `capabilities.py`.

A newcomer's map: `server.py` is the service (on `net/service.py`, which sweeps deadlines and drains); `connection.py`
adds compression to `net/connection.py`, which moves bytes with back-pressure; `session.py` runs one command after the
other by its row in `commands/`; `selected.py` is what a session knows of its mailbox and how changes become untagged
answers; `fetching.py` and `bodies.py` answer FETCH; `searching.py` and `message_text.py` answer SEARCH; `appending.py`
takes a message in.

Rules kept here: an idle session holds no task, no thread, no timer and no store handle. `OK` after a change means it
is durable. Sequence numbers change only where the row of the running command allows it. The store is asked off the
loop, never while bytes are being written inside a transaction, and its change log is the truth: hints only say when
to look. To add a command: one file in `commands/`, one line in its tuple, one dialog in `tests/dialogs/`.
"""
