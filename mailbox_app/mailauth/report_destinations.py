"""Where reports may go: the addresses of a record's rua= tag, and whether a stranger's address wants them (RFC 9990 4).

Without that check anybody could have us send mail to a third party. Only mailto: is known; a size limit at its end counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from mailbox_app.errors import ProtocolError
from mailbox_app.mailauth.dmarc_record import parse_tags
from mailbox_app.mailauth.organizations import Organizations
from mailbox_app.net.resolver import Resolver
from mailbox_app.proto.address import parse_address
from mailbox_app.proto.domain_names import a_labels

MAX_DESTINATIONS = 5
_LIMIT = re.compile(r"!([0-9]{1,12})([kmgtKMGT]?)\Z")
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_MAX_NAME = 253
_MAX_TEXTS = 20


@dataclass(frozen=True, slots=True)
class Destination:
    """One address."""

    address: str
    host: str
    """Its domain, lower case."""
    max_bytes: int | None = None
    """The largest message it takes; None: not told."""


def read_destinations(uris: Sequence[str]) -> Sequence[Destination]:
    """Those that can be served, in order, each address once."""
    found: dict[str, Destination] = {}
    for uri in uris:
        destination = _read(uri)
        if destination is not None and len(found) < MAX_DESTINATIONS:
            found.setdefault(destination.address.lower(), destination)
    return list(found.values())


def _read(uri: str) -> Destination | None:
    scheme, _, rest = uri.strip().partition(":")
    if scheme.lower() != "mailto":
        return None
    limit = _LIMIT.search(rest)
    if limit is not None:
        rest = rest[: limit.start()]
    try:
        address = parse_address(unquote(rest.partition("?")[0]).strip())
    except ProtocolError:
        return None
    host = (address.domain if address.domain.isascii() else a_labels(address.domain) or "").lower()
    if not address.localpart.isascii() or "." not in host or host.startswith("["):
        return None
    most = int(limit[1]) << _UNITS[limit[2].lower()] if limit is not None else None
    return Destination(f"{str(address).rpartition('@')[0]}@{host}", host, most)


async def admitted(resolver: Resolver, domain: str, destination: Destination) -> Sequence[Destination]:
    """Where reports about `domain` go instead of the published destination: there, or where its host says; empty: it does not
    want them. Raises `ResolveError` when that could not be found out."""
    if await Organizations(resolver).share(domain, destination.host):
        return (destination,)
    name = f"{domain}._report._dmarc.{destination.host}"
    if len(name) > _MAX_NAME:
        return ()
    answer = await resolver.query(name, "TXT")
    records = [tags for text in answer.records[:_MAX_TEXTS] if (tags := parse_tags(text)) is not None]
    if not records:
        return ()
    overriding = next((tags["rua"] for tags in records if tags.get("rua")), "")
    others = read_destinations([uri.strip() for uri in overriding.split(",")]) if overriding else ()
    # the same host, or a stranger could be named again
    return [each for each in others if each.host == destination.host] or (destination,)
