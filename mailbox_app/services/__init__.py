"""Sessions and listeners, one package per protocol; they know nothing of each other.

A service is made from its dependencies by `runtime/wiring.py`, hands out protocol factories for its listening sockets,
and drains when the process is told to stop. What a protocol means lives in `proto/`, what happens to mail in `delivery/`.
"""
