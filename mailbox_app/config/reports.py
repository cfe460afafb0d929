"""The section of the configuration about reports between mail servers; `schema.py` puts it into the whole."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from mailbox_app.config.section import Section


class Reports(Section, frozen=True):
    """Reports that mail servers send each other once a day, see docs/reports.md."""

    dmarc: bool = True
    """Tell domains whose DMARC record asks for it (rua=) what came here in their name."""
    tls: bool = True
    """Tell domains whose _smtp._tls record asks for it what became of encryption with their servers (RFC 8460)."""
    address: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._+-]+(@[A-Za-z0-9.-]+)?$")] = "postmaster"
    """Where others send theirs: `domain dns` prints it. A name stands for that name at each domain; an address for all domains. It
    must be an account or alias here; what arrives there is also read for `mailbox report`."""
    sender: Annotated[str, Meta(pattern=r"^([A-Za-z0-9._+-]+@[A-Za-z0-9.-]+)?$")] = ""
    """Who our reports are from; its domain should be ours and have a DKIM key. "": noreply-dmarc at the domain of the server's
    name, when it is ours, else at our first domain."""
    contact: Annotated[str, Meta(max_length=200)] = ""
    """How to reach you about them: an address or a page, told in each report."""
    skip: list[str] = field(default_factory=list)
    """Domains, with all below them, that get no reports."""
    max_per_day: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    """Reports sent in a day, at most; further ones are sent later or, after three days, not at all."""
    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 400
    """How long received reports are kept."""
