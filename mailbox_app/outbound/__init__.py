"""Mail to other servers: from a lease of the queue to one outcome per recipient.

`transport.SmtpTransport` is what the queue runner calls. It asks `next_hop` which hosts take mail for the domain (MX by
preference, the domain itself without MX, a smarthost instead of both), walks them, and lets `smtp_client` hold the dialogue
with each: greeting, EHLO, STARTTLS, one transaction for all recipients of the lease. `replies` and `dot_stuffing` are the
pure parts of that dialogue.

What a host answers about a recipient is final for this attempt. Only a host that cannot be used at all (no connection, no
greeting, failed TLS, a dialogue that broke off before the message was complete) makes the walk go on to the next one.
Nothing here decides when to try again or when to give up: that is the queue's.
"""
