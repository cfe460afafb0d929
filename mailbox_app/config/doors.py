"""The sections about who stands in front of this server: proxies, and another mail server."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from mailbox_app.config.section import Section


class Proxy(Section, frozen=True):
    """Proxies that pass connections on and tell whose they are by the PROXY protocol, version 1 or 2 (HAProxy, nginx, AWS NLB)."""

    trusted_networks: list[str] = field(default_factory=list)
    """Addresses or networks of the proxies, like "192.0.2.10" or "10.0.0.0/24"; []: none. Every connection from there to any mail
    listener must begin with a PROXY header, and its client is then who the header says; a header from anywhere else ends
    the connection. A change needs a restart."""


class Lmtp(Section, frozen=True):
    """Mail from another mail server that stands in front of this one (RFC 2033); `listen.lmtp` opens the door."""

    trusted_networks: list[str] = field(default_factory=lambda: ["127.0.0.0/8", "::1"])
    """Who may deliver by LMTP over TCP. Whoever may is believed: no greylisting, no rates, no checks of the sender. What comes by
    a Unix socket is let in by the socket's permissions."""
    authserv_id: str = ""
    """The name by which that server signs its Authentication-Results, whose results then count; empty: none counts and the field
    is left as it is."""
    socket_mode: Annotated[str, Meta(pattern=r"^0?[0-7]{3}$")] = "660"
    """Permissions of the Unix sockets, so that the other server's group can write to them."""
