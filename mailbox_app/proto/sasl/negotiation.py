"""The table of mechanisms, the best first, and which of them a channel can carry."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

from mailbox_app.proto.sasl.mechanism import Channel


class Kind(NamedTuple):
    """What one mechanism needs."""

    name: str
    hash_name: str = ""
    """SCRAM: which hash."""
    plus: bool = False
    """Needs channel binding."""


KINDS = (
    Kind("SCRAM-SHA-256-PLUS", "sha256", plus=True),
    Kind("SCRAM-SHA-256", "sha256"),
    Kind("SCRAM-SHA-1-PLUS", "sha1", plus=True),
    Kind("SCRAM-SHA-1", "sha1"),
    Kind("EXTERNAL"),
    Kind("OAUTHBEARER"),
    Kind("XOAUTH2"),
    Kind("PLAIN"),
    Kind("LOGIN"),
)
"""Names on the wire, in the order they are offered. Clients that take the first they know take a good one."""

NAMES = tuple(kind.name for kind in KINDS)


def offered(channel: Channel, allowed: Container[str]) -> Sequence[Kind]:
    """The mechanisms in `allowed` that work on this channel."""
    return [
        kind
        for kind in KINDS
        if kind.name in allowed
        and (not kind.plus or channel.binding_types)
        and (kind.name != "EXTERNAL" or channel.client_addresses)
    ]
