"""The queue: mail that was accepted and has not yet arrived.

A message waits as its bytes (`spool`, or Redis) and one row per recipient (the backend, the truth about who is still waiting
and until when). `interface` holds the seams: the backend, which hands out leases so that a recipient has one owner at a time,
and the transports, which deliver one lease and answer with one outcome per recipient. `opening` opens the backend that the
configuration names: `sqlite/`, the default, or `redis/`, which several nodes share; `moving` brings a queue from one to the other.

A message's way: a front writes the bytes and calls `enqueue` (durable before anybody says 250; what a rule of `hold_rules`
meets is held from the start); the hint wakes `runner`, which claims what is due, lets the transport deliver, and has the
outcomes written, many in one durable step (`settling`): finished recipients leave for the history, the others wait as
`schedule` says. What nobody would take now is not tried: `destinations/` knows which hosts are dead (breakers) and how fast mail
may go (pace, warm-up). A recipient that failed, or whose time or tries are used up, is reported to the sender by `bounces`
before its row goes; `delay_notices` tells once that a message is late.

To add a backend, see docs/extending.md.
"""
