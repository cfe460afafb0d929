"""Hints between the parts of the server: "something changed there", never what.

`hints` is the seam that the store, the queue and sessions see; `bus` is the bus of one process; `hub` joins the buses of
all processes over run/hub.sock. The store's modseq log is the truth, so whatever may have lost a hint (an overrun buffer, a
broken connection) calls every subscriber back instead of keeping count.
"""
