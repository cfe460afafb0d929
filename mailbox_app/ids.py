"""Identifiers: small types so that a UID is never passed where a modseq is meant, and the makers of fresh ones.

Queue and session ids are 13 or 10 characters of lower-case base 32 without look-alikes; time-ordered queue ids sort
in order of arrival. They name and do not protect, so their chance comes from `random` (seeded anew after a fork) and costs
no system call. Account and mailbox ids are database integers and never reused.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import NewType

AccountId = NewType("AccountId", int)
MailboxId = NewType("MailboxId", int)
Uid = NewType("Uid", int)
Modseq = NewType("Modseq", int)
QueueId = NewType("QueueId", str)
SessionId = NewType("SessionId", str)


@dataclass(frozen=True, slots=True)
class AccountRef:
    """Which account's store to open: its id and its place below `data/mail/`."""

    account_id: AccountId
    domain: str
    localpart: str
    quota_bytes: int
    """0: no limit."""
    quota_messages: int = 0
    """0: no limit."""


_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


def _base32(number: int, length: int) -> str:
    """The last `length` characters; two at a time, since each message takes several."""
    pairs = [_PAIRS[number >> shift & 1023] for shift in range(10 * ((length - 1) // 2), -1, -10)]
    return "".join(pairs)[-length:]


def new_queue_id() -> QueueId:
    """A fresh queue id: 9 characters of milliseconds, 4 of chance."""
    return QueueId(_base32(time.time_ns() // 1_000_000, 9) + _base32(random.getrandbits(20), 4))


def new_session_id() -> SessionId:
    """A fresh session id for log lines."""
    return SessionId(_base32(random.getrandbits(50), 10))
