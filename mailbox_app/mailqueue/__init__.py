"""The queue: mail that was accepted and has not yet arrived.

A message waits as one spool file (`spool`, the bytes) and one row per recipient (`sqlite`, the truth about who is still
waiting and until when). `interface` holds the two seams: the backend, which hands out leases so that a recipient
has one owner at a time, and the transports, which deliver one lease and answer with one outcome per recipient.

A message's way: a front writes the spool file and calls `enqueue` (durable before anybody says 250); the hint wakes
`runner`, which claims what is due, lets the transport deliver, and settles the outcomes: finished recipients leave, the
others wait as `schedule` says. A recipient that failed, or whose time or tries are used up, is reported to the sender by
`bounces` before its row goes; the last recipient takes the spool file along.

To add a backend: one module with the methods of `interface.QueueBackend`; the suite `tests/mailqueue/test_conformance.py`
runs on every backend.
"""
