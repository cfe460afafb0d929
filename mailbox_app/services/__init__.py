"""Sessions and listeners, one package per protocol; they know nothing of each other.

A service is made from its dependencies by `runtime/wiring.py`, hands out protocol factories for its listening sockets,
and drains when the process is told to stop. What IMAP and POP3 have in common as services (connections, deadlines, counts,
sweep, drain) is `net/connection.py` and `net/service.py`; SMTP's connections are aiosmtpd's. What a
protocol means lives in `proto/`, what happens to mail in `delivery/`.
"""
