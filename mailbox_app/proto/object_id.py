"""EMAILID and THREADID: made from a message alone, so that any index of the same files gives the same ones. RFC 8474.

EMAILID is a digest of the bytes: equal ids mean equal messages, in whatever mailbox. THREADID is a digest of the message
that began the conversation as its own header names it (the first of References, else of In-Reply-To, else itself), so
neither arrival order nor a rebuild changes it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

THREAD_FIELDS = frozenset({b"references", b"in-reply-to", b"message-id"})
_MESSAGE_ID = re.compile(rb"<([^<>\s]{1,998})>")
_DIGITS = 24


def email_id(digest: str) -> bytes:
    """The EMAILID of a message with this SHA-256 in hexadecimal."""
    return b"M" + digest[:_DIGITS].encode("ascii")


def thread_id(values: Mapping[bytes, bytes], digest: str) -> bytes:
    """The THREADID; `values` are the header's unfolded THREAD_FIELDS. A message without any id is its own thread."""
    for name in (b"references", b"in-reply-to", b"message-id"):
        found = _MESSAGE_ID.search(values.get(name, b""))
        if found is not None:
            return b"T" + hashlib.sha256(found[1]).hexdigest()[:_DIGITS].encode("ascii")
    return b"T" + digest[:_DIGITS].encode("ascii")
