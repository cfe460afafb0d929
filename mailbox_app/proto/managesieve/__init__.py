"""ManageSieve (RFC 5804) without input or output: requests out of framed commands, answers onto the wire.

The framing is IMAP's (`proto/imap/framing.py`): lines whose last word announces a literal. Here clients only send literals
without a wait (`{n+}`); whoever announces another one would wait for an answer that this protocol does not have.
"""
