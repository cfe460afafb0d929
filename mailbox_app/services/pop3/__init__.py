"""POP3 (RFC 1939) with CAPA, STLS, AUTH, UTF8, LANG and response codes: the INBOX, one session at a time.

A newcomer's map: `server.py` is the service (on `net/service.py`, which sweeps deadlines and drains);
`net/connection.py` moves bytes with back-pressure; `session.py` runs one command after the other by its row in
`commands/`; `maildrop.py` is what a session knows of its messages, `read_ahead.py` the one that is likely to be asked
for next.

Rules kept here: an idle session holds no task, no thread, no timer and no store handle, only two arrays (UID and size of
each message) and the maildrop's lock. Messages keep their numbers whatever other sessions do; one that is gone is an
error of its own. Only QUIT removes, and `+OK` to it means that what was marked is gone from the disk. The store is asked
off the loop. To add a command: one file in `commands/`, one line in its tuple, one dialog in `tests/dialogs/`.
"""
