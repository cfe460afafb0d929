"""Where mail is kept: the model, the protocols every backend keeps, and the backends.

Start with `model` (plain values) and `interface` (what a store promises: a call that returns is durable, UIDs and
modseqs only grow, quota is counted in the transaction of the change). `maildir` is the backend: message files in a
Maildir++ tree that other programs can read and write, and one disposable SQLite index per account beside it.
Everything is synchronous and safe from any thread and any process; sessions call it through `db.offload`.

A new backend is a package beside `maildir` and a line in the parameters of `tests/store/test_conformance.py`.
"""
