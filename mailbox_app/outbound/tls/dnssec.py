"""Whether signed DNS (DNSSEC) can be relied upon here, in one sentence: DANE needs it, everything else goes without.

Any resolver will do for mail. DANE is used when the resolvers validate and their word may be believed: they are on this machine, or
`dns.dnssec` says so. Found out by asking for the root's name servers, which are signed.
"""

from __future__ import annotations

from mailbox_app.errors import ResolveError
from mailbox_app.net.resolver import Resolver


class Dnssec:
    """Whether the resolver validates and its word is believed. Any resolver will do; DANE needs one that validates."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.works: bool | None = None
        """None: not known yet."""
        self.sentence = "Whether DANE can be used is not known yet."

    async def look(self) -> None:
        """Ask for the root's name servers, which are signed."""
        if not getattr(self._resolver, "trusts_ad", True):
            self.works = False
            self.sentence = (
                "DANE is not used: the DNS resolver is not on this machine, and dns.dnssec does not say that it may be"
                " trusted."
            )
            return
        try:
            answer = await self._resolver.query(".", "NS")
        except ResolveError:
            self.works = None
            self.sentence = "Whether DANE can be used is not known: the DNS resolver does not answer for the root."
            return
        self.works = answer.authenticated
        self.sentence = (
            "DANE is used: the DNS resolver validates answers (DNSSEC)."
            if answer.authenticated
            else "DANE is not used: the DNS resolver does not validate answers (DNSSEC); unbound on this machine would."
        )
