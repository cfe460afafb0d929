"""Greylisting's memory over Redis: the rules of `policy/state/greylist.py`, one script for each attempt.

Below `<prefix>:greylist:` lie, each under a digest of what it is about: `w:` who waits, `l:` letters, `o:` origins, `d:`
domains, and sorted sets that say which of them are the oldest: `first`, `last` and `numbers` of those who wait, `letters`,
`origins`, `domains`. `passed` is such a set alone: who came back, by the last visit. With the bounds below a flood of
strangers fills some 120 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import cast

import msgspec
import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.redis import RedisLink
from mailbox_app.errors import StoreError
from mailbox_app.policy.state import greylist
from mailbox_app.policy.state.greylist import (
    TEXT_CHARACTERS,
    TOUCH_SECONDS,
    WAITING_SECONDS,
    Attempt,
    Decision,
    KnownDomain,
    Rule,
    Waiting,
    Word,
    letter_of,
)
from mailbox_app.policy.state.shared import greylist_scripts as scripts
from mailbox_app.policy.state.trouble import Trouble

_DOMAIN_SECONDS = 400 * 86_400
_LET_IN_SECONDS = 35 * 86_400
"""At least: every visit makes it the configured age again."""
_PAGE = 500


class RedisGreylist:
    """`Greylist` for all processes of all nodes."""

    def __init__(self, link: RedisLink, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._root = link.key("greylist", "")
        self._decide = link.script(scripts.DECIDE)
        self._list = link.script(scripts.LIST)
        self._let_in = link.script(scripts.LET_IN)
        self._proved = link.script(scripts.PROVED)
        self._trouble = Trouble(structlog.get_logger("greylist"), "greylist_unusable")

    def decide(self, attempt: Attempt, rule: Rule) -> Decision:
        """Count the attempt and say whether it waits."""
        letter = letter_of(attempt.sender, attempt.sender_key)
        whole = "" if not attempt.sender or attempt.is_disowned else letter[letter.rfind("@") :]
        is_named = attempt.origin.startswith(("spf:", "ptr:"))
        shown = (attempt.origin, attempt.sender, attempt.recipient, attempt.remote_ip, attempt.reason)
        args = (
            self._root,
            repr(self._clock.epoch_seconds()),
            rule.max_age_seconds,
            rule.min_delay_seconds,
            rule.ceiling_seconds,
            rule.attempts,
            rule.network_passes,
            int(WAITING_SECONDS),
            TOUCH_SECONDS,
            greylist.MAX_ROWS,
            _digest(attempt.origin, attempt.sender_key, attempt.recipient),
            _digest(letter, attempt.recipient),
            _digest(whole, attempt.recipient) if whole else "",
            "" if is_named else "1",
            _digest(attempt.origin),
            msgspec.json.encode([text[:TEXT_CHARACTERS] for text in shown]),
        )
        try:
            found = self._decide((), args)
        except StoreError as error:
            self._trouble.met(error)
            return Decision("error")
        self._trouble.over()
        word = cast("Word", found[0].decode())
        return Decision(word) if len(found) == 1 else Decision(word, float(found[1]), int(found[2]))

    def domain(self, name: str, max_age_seconds: float) -> KnownDomain:
        """What is known about a sender's domain; nothing when it is too long ago."""
        try:
            found = self._link.call(lambda client: client.get(f"{self._root}d:{_digest(name)}"))
        except StoreError as error:
            self._trouble.met(error)
            return KnownDomain()
        if not isinstance(found, bytes):
            return KnownDomain()
        since = self._clock.epoch_seconds() - max_age_seconds
        return KnownDomain(*(at if at > since else 0.0 for at in map(float, found.split(b"\n"))))

    def proved(self, name: str, *, spf: bool, dkim: bool) -> None:
        """Remember that a message of this domain was wanted and vouched for."""
        now = repr(self._clock.epoch_seconds())
        args = (self._root, _digest(name), now if spf else 0, now if dkim else 0, now, _DOMAIN_SECONDS)
        try:
            self._proved((), (*args, greylist.MAX_ROWS // 4))
        except StoreError as error:
            self._trouble.met(error)

    def waiting(self, limit: int, offset: int, text: str = "") -> tuple[Sequence[Waiting], int]:
        """Who waits, the longest first, and how many in all; only those in whose row a text occurs."""
        if not text:
            total, rows = self._window(offset, offset + limit - 1)
            return rows, total
        found: list[Waiting] = []
        wanted = text.lower()
        for start in range(0, greylist.MAX_ROWS, _PAGE):
            total, rows = self._window(start, start + _PAGE - 1)
            found += [row for row in rows if wanted in _searched(row)]
            if start + _PAGE >= total:
                break
        return found[offset : offset + limit], len(found)

    def let_in(self, greylist_id: int) -> Waiting | None:
        """End one wait now, also for the rest of a pool; None: there is no such row any more."""
        now = repr(self._clock.epoch_seconds())
        value = self._let_in((), (self._root, greylist_id, now, int(WAITING_SECONDS), _LET_IN_SECONDS))
        return _read(value) if value else None

    def _window(self, first: int, last: int) -> tuple[int, Sequence[Waiting]]:
        before = repr(self._clock.epoch_seconds() - WAITING_SECONDS)
        total, *rows = self._list((), (self._root, before, first, last))
        return int(total), [_read(row) for row in rows]


def _digest(*texts: str) -> str:
    """A short key for texts of strangers, whatever their length."""
    return blake2b("\0".join(texts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _read(value: bytes) -> Waiting:
    number, first, last, attempts, _, shown = value.split(b"\n", scripts.WAITING_COLUMNS - 1)
    origin, sender, recipient, remote_ip, reason = msgspec.json.decode(shown, type=tuple[str, str, str, str, str])
    return Waiting(int(number), origin, sender, recipient, remote_ip, reason, float(first), float(last), int(attempts))


def _searched(row: Waiting) -> str:
    return f"{row.sender} {row.recipient} {row.remote_ip} {row.origin} {row.reason}".lower()
