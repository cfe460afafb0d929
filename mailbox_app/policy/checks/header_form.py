"""Is this built like mail? Scores for headers that honest programs do not write and for authors who dress up as others.

Small scores, each with its reason: much honest mail is sloppy. Nothing is refused unless `[junk] refuse_malformed` is set, and then
only what RFC 5322 3.6 makes impossible: not exactly one From and one Date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import ClassVar

from mailbox_app.policy.check import Mode, QuickCheck
from mailbox_app.policy.content import content_of
from mailbox_app.policy.facts import Facts, MessageFacts, Stage
from mailbox_app.policy.identity import Identity, is_registrable, of_facts, organisation_of
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict
from mailbox_app.proto.address_list import AUTHOR_BYTES, parse_address_items
from mailbox_app.proto.dates import parse_date
from mailbox_app.proto.header import Header, decode_words
from mailbox_app.proto.smtp.replies import Reply

_ONCE = (b"from", b"date", b"subject", b"to", b"cc", b"message-id", b"reply-to", b"sender", b"content-type")
"""RFC 5322 3.6: at most one each."""
_MANY_FIELDS = 300
_FUTURE_SECONDS = 2 * 86_400
_PAST_SECONDS = 30 * 86_400
_ADDRESS = re.compile(r"[\w.+-]{1,64}@([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})")
_REFUSAL = Reply(550, "5.6.0", "The message needs exactly one From and one Date field")

Fault = tuple[str, float]


class HeaderForm(QuickCheck):
    """Sum of small scores."""

    name: ClassVar[str] = "header_form"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"
    is_about_strangers: ClassVar[bool] = True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """A finding for each fault."""
        message = facts.message
        if message is None:
            return ()
        faults = list(_faults(message, self._tools.clock.now()))
        faults += _dressed_up(message.header, of_facts(facts), self._tools.directory.is_local_domain)
        content = await content_of(message, self._tools.offload)
        if content.too_many_parts:
            faults.append((f"has {content.part_count} parts or more", 3.0))
        refused = self._tools.config().junk.refuse_malformed and is_malformed(message.header)
        findings = [Finding(self.name, reason, score) for reason, score in faults]
        if refused:
            findings.append(
                Finding(self.name, "not exactly one From and one Date field", verdict=Verdict.REJECT, reply=_REFUSAL)
            )
        return findings


def is_malformed(header: Header) -> bool:
    """Whether it breaks what RFC 5322 3.6 says about the two fields every message has."""
    return header.count(b"from") != 1 or header.count(b"date") != 1


def _faults(message: MessageFacts, now: datetime) -> Iterator[Fault]:
    header, block = message.header, message.block
    if not header.count(b"from"):
        yield "has no From field", 3.0
    twice = [key.decode() for key in _ONCE if header.count(key) > 1]
    if twice:
        yield f"has more than one {', '.join(twice)} field", 2.5 if "from" in twice else 1.5
    if not header.count(b"message-id"):
        yield "has no Message-ID", 1.0
    if b"\0" in block:
        yield "has a NUL in the header", 2.5
    if len(header.fields) > _MANY_FIELDS:
        yield f"has {len(header.fields)} header fields", 2.0
    if not block.isascii() and not _is_utf8(block):
        yield "has raw 8-bit characters in the header that are no UTF-8", 1.5
    if sum(field.end - field.start for field in header.fields) < len(block.rstrip(b"\r\n")):
        yield "has lines in the header that are no fields", 1.5
    yield from _date_faults(header, now)


def _date_faults(header: Header, now: datetime) -> Iterator[Fault]:
    value = header.first(b"date")
    if value is None:
        yield "has no Date", 1.0
        return
    date = parse_date(value)
    if date is None:
        yield "has a Date that is none", 1.0
        return
    age_seconds = now.timestamp() - date.timestamp()
    if age_seconds < -_FUTURE_SECONDS:
        yield "is dated in the future", 2.0
    elif age_seconds > _PAST_SECONDS:
        yield "is dated more than a month ago", 1.0


def _dressed_up(header: Header, identity: Identity, is_ours: Callable[[str], bool]) -> Sequence[Fault]:
    """Authors who show another address than theirs, and answers that go elsewhere. Services that write for our people show our
    addresses, too, but vouch for themselves."""
    faults: list[Fault] = []
    if identity.domain:
        items = parse_address_items((header.first(b"from") or b"")[:AUTHOR_BYTES], limit=3)
        shown = decode_words(items[0].name or b"")[:500] if items else ""
        for match in _ADDRESS.finditer(shown):
            other = match[1].lower()
            if is_registrable(other) and organisation_of(other) != identity.organisation:
                score = 4.5 if is_ours(other) and not identity.aligned else 2.5
                faults.append((f"the sender's name shows an address at {other[:80]}", score))
                break
        if not identity.aligned:
            for each in parse_address_items((header.first(b"reply-to") or b"")[:AUTHOR_BYTES], limit=3):
                domain = (each.domain or b"").decode("utf-8", "replace").lower()
                if domain and organisation_of(domain) != identity.organisation:
                    faults.append((f"answers go to {domain[:80]}, and nothing vouches for the sender", 1.0))
                    break
    return faults


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
