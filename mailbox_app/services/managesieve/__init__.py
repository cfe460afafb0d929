"""ManageSieve (RFC 5804): people put, check and choose the scripts that filter their mail.

A newcomer's map: `server.py` is the service (on `net/service.py`, which sweeps deadlines and drains);
`net/connection.py` moves bytes with back-pressure; `session.py` runs one command after the other by its row in
`commands/`; the scripts themselves are `store/scripts.py`, what is right in them `proto/sieve`.

Rules kept here: no credentials in clear; a script that does not compile is never stored nor switched on, and the answer
says line and column of every problem; what a stranger may send before the login is bounded by a few kilobytes; scripts are
compiled and stored off the loop. To add a command: a function in `commands/`, one line in its tuple, one dialog in
`tests/dialogs/`.
"""
