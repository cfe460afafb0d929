"""Sender rewriting for forwarded mail: the envelope sender becomes an address of ours, so that SPF holds, and bounces find back.

`SRS0=hash=day=domain=localpart@ours` stands for `localpart@domain`; a sender that somebody rewrote before us becomes
`SRS1=hash=first==...@ours`, which leads back to the first rewriter at once, whatever the number of hops. The hash is an HMAC
over all that follows it in lower case, for some servers fold the case of local parts; an address is good for 21 days. Only
who holds the key can make one, so the way back is no open relay. Pure: the key and the time are given.
"""

from __future__ import annotations

import base64
import hmac
import re

from mailbox_app.errors import ProtocolError

_HASH_LENGTH = 6
"""30 bits: guessing one address takes a thousand million tries, each of which is a refused RCPT."""
_VALID_DAYS = 21
"""Longer than any queue keeps mail, ours five days, and short enough that a harvested address soon is worthless."""
_DAY_SECONDS = 86_400
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_DAYS = 1024
"""Two letters hold so many days."""
_MAX_LOCALPART_BYTES = 64  # RFC 5321 4.5.3.1.1
_SRS = re.compile(r"SRS([01])([=+-])(.*)", re.IGNORECASE | re.DOTALL)
_SRS0 = re.compile(r"([A-Z2-7]{6})=([A-Z2-7]{2})=([^=@]+)=(.+)", re.IGNORECASE | re.DOTALL)
_FOREIGN_SRS1 = re.compile(r"[^=@]+=([^=@]+)=([=+-].+)", re.DOTALL)
_PLAIN = re.compile(r"[^\x00-\x20\x7f\"(),:;<>@\[\]\\]+")
"""No quotes, no address literals: what becomes part of a local part must be able to."""
_SRS1 = re.compile(r"([A-Z2-7]{6})=([^=@]+)=([=+-].+)", re.IGNORECASE | re.DOTALL)


class SrsError(ProtocolError):
    """An address that looks rewritten and is not ours: `srs.forged`, `srs.expired`, `srs.malformed`."""


def is_rewritten(localpart: str) -> bool:
    """Whether a local part has the form of a rewritten sender, by us or by others."""
    return _SRS.match(localpart) is not None


class SenderRewriting:
    """Rewrites senders and undoes it, with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def rewrite(self, sender: str, domain: str, now_seconds: float) -> str | None:
        """The sender as an address of `domain`; None when that could be no address, or would not lead back."""
        localpart, _, own = sender.rpartition("@")
        found = _SRS.match(localpart)
        again = _FOREIGN_SRS1.fullmatch(found[3]) if found and found[1] == "1" else None
        if again:
            body, kind = f"{again[1]}={again[2]}", 1
        elif found and found[1] == "0":
            body, kind = f"{own}={found[2]}{found[3]}", 1
        else:
            body, kind = f"{_day_text(now_seconds)}={own}={localpart}", 0
        written = f"SRS{kind}={self._hash(body)}={body}"
        if len(written.encode()) > _MAX_LOCALPART_BYTES or not _PLAIN.fullmatch(written) or _has_bad_dots(written):
            return None
        try:
            self.restore(written, now_seconds)
        except SrsError:
            return None  # a sender of odd parts, which there would be no way back to
        return f"{written}@{domain}"

    def restore(self, localpart: str, now_seconds: float) -> str:
        """The sender that a rewritten local part of ours stands for; `SrsError`."""
        found = _SRS.match(localpart)
        if found is None:
            raise SrsError("srs.malformed", "This is no rewritten sender.")
        return self._restore_first(found[3], now_seconds) if found[1] == "0" else self._restore_further(found[3])

    def _restore_first(self, text: str, now_seconds: float) -> str:
        parts = _SRS0.fullmatch(text)
        if parts is None:
            raise SrsError("srs.malformed", "This is no rewritten sender of ours.")
        given, day, domain, localpart = parts.groups()
        self._check(given, f"{day}={domain}={localpart}")
        age = (int(now_seconds // _DAY_SECONDS) - _day_number(day)) % _DAYS
        if age > _VALID_DAYS and age != _DAYS - 1:  # one day ahead: another machine's clock
            raise SrsError("srs.expired", "This rewritten sender is too old.")
        return f"{localpart}@{domain}"

    def _restore_further(self, text: str) -> str:
        parts = _SRS1.fullmatch(text)
        if parts is None:
            raise SrsError("srs.malformed", "This is no rewritten sender of ours.")
        given, first, rest = parts.groups()
        self._check(given, f"{first}={rest}")
        return f"SRS0{rest}@{first}"

    def _check(self, given: str, body: str) -> None:
        if not hmac.compare_digest(given.upper(), self._hash(body)):
            raise SrsError("srs.forged", "This rewritten sender is not ours.")

    def _hash(self, body: str) -> str:
        digest = hmac.digest(self._key, body.lower().encode("utf-8", "replace"), "sha256")
        return base64.b32encode(digest)[:_HASH_LENGTH].decode()


def _day_text(now_seconds: float) -> str:
    day = int(now_seconds // _DAY_SECONDS) % _DAYS
    return _ALPHABET[day >> 5] + _ALPHABET[day & 31]


def _day_number(text: str) -> int:
    return _ALPHABET.index(text[0].upper()) << 5 | _ALPHABET.index(text[1].upper())


def _has_bad_dots(localpart: str) -> bool:
    return ".." in localpart or localpart.endswith(".")
