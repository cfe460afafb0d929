"""The memory of the server: who changed what (audit), and what became of each message (decisions).

Both live in `journal.db`. `audit.py` is a hash chain: every change made through the control socket is one durable entry, and a
changed, missing or cut-off entry is found by `verify`. `decisions.py` keeps the mail log's events for questions like "where
is my mail"; it is written behind the traffic, may lose its last half second in a crash, and never slows mail down.
`tables.py` holds all SQL.
"""
