"""Compares the records a domain should publish with what DNS says.

A record is `ok` when it does its job, also in other words than ours: a stricter DMARC policy, an SPF that allows this server by
another term, a further MX. `differs` means that what is published would not do, `missing` that there is nothing, `unknown` that
DNS could not be asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal, Protocol

from mailbox_app.errors import ResolveError
from mailbox_app.net.resolver import Resolver

State = Literal["ok", "differs", "missing", "unknown"]
_SHOWN = 5
"""Records of one name that are told; nobody has more that matter."""


class Published(Protocol):
    """One record as it should be; TXT values are whole strings."""

    type: str
    name: str
    value: str


async def compare(resolver: Resolver, wanted: Sequence[Published]) -> Sequence[tuple[State, Sequence[str]]]:
    """For each record its state and what was found instead or as well, in order. Bounded by the resolver's own deadline."""
    return await asyncio.gather(*(_compare_one(resolver, record) for record in wanted))


async def _compare_one(resolver: Resolver, record: Published) -> tuple[State, Sequence[str]]:
    try:
        answer = await resolver.query(record.name.rstrip("."), record.type)
    except ResolveError:
        return "unknown", ()
    kind = _kind(record.value) if record.type == "TXT" else ""
    found = [text for text in answer.records if not kind or _kind(text) == kind]
    if not found:
        return "missing", ()
    return ("ok" if _serves(record, found, kind) else "differs"), found[:_SHOWN]


def _serves(record: Published, found: Sequence[str], kind: str) -> bool:
    if record.type in ("MX", "SRV"):  # the preference is the operator's, the last words are not
        count = 1 if record.type == "MX" else 2
        return any(_last_words(text, count) == _last_words(record.value, count) for text in found)
    if len(found) > 1 and kind != "v=dkim1":  # RFC 7208 4.5, RFC 9989 4.7, RFC 8460 3: several count as none
        return False
    if kind == "v=dkim1":
        return any(_public_key(text) == _public_key(record.value) for text in found)
    if kind == "v=spf1":
        ours = {term.lower().removeprefix("+") for term in record.value.split()[1:-1]}
        return bool(ours & {term.lower().removeprefix("+") for term in found[0].split()})
    return True


def _kind(text: str) -> str:
    """What a TXT record is for: its version tag."""
    return text.replace(" ;", ";").partition(";")[0].strip().partition(" ")[0].lower()


def _last_words(text: str, count: int) -> Sequence[str]:
    return [word.lower().rstrip(".") for word in text.split()[-count:]]


def _public_key(text: str) -> str:
    tags = dict(tag.strip().partition("=")[::2] for tag in text.split(";"))
    return "".join(tags.get("p", "").split())
