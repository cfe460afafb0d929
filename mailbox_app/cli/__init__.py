"""The command `mailbox`. Nearly every command is one question to the running server over its control socket.

* `main.py` is the entry: global options, exit codes, errors as one sentence. `commands/` has one file per subject, imported
  only when it is used, so that `mailbox version` loads nearly nothing; its `__init__.py` lists them.
* `connection.py` finds the configuration and the socket; `output.py` prints tables, JSON and sizes.

To add a command: a file with a click command named `command`, one line in `commands/__init__.py`, a test of its output.
Exit codes: 0 done, 1 failed, 2 usage, 3 done but something still waits, 75 server not reachable or busy, 77 not permitted.
"""
