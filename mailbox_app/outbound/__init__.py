"""Mail to other servers: from a lease of the queue to one outcome per recipient.

`transport.SmtpTransport` is what the queue runner calls. For each recipient it asks, anew at each attempt:

1. which way (`routes/`): a rule's route, a smarthost, or the recipient's own servers; `next_hop` finds those by DNS;
2. whether the host may be gone to now (`passages`: breaker, pace, warm-up), and from which address (`routes/sources`, `reach`);
3. what encryption it must show (`tls/`): REQUIRETLS, DANE, MTA-STS, exceptions, the best it ever did;
4. for a connection: one that was kept (`pool`) or a new one (`smtp_client`: greeting, EHLO, STARTTLS, login);
5. `transaction` hands the message over and has a verdict for each recipient. `walk` keeps what the attempt has found out.

What a host answers about a recipient is final for this attempt. Only a host that cannot be used at all (no connection, no
greeting, failed TLS, a dialogue that broke off before the message was complete) makes the walk go on to the next one.
Nothing here decides when to try again or when to give up: that is the queue's. `replies` and `dot_stuffing` are the pure parts
of the dialogue, `advice` tells what well-known refusals mean, `key_rotation` changes signing keys by plan.
"""
