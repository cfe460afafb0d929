"""The sections about mail that our own users and this machine's programs send."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from mailbox_app.config.section import Section


class Submission(Section, frozen=True):
    """What our users may ask of the server when they send."""

    future_release_days: Annotated[int, Meta(ge=0, le=365)] = 30
    """How far ahead mail may be handed in for later (FUTURERELEASE, RFC 4865); 0: not at all."""
    save_sent: bool = False
    """Keep what users send in their Sent mailbox. A mail program that stores the very same message there itself, before or within
    a quarter of an hour, finds it once; one that stores it with other bytes has it twice."""


class LocalSubmission(Section, frozen=True):
    """Mail that programs of this machine hand to `mailbox sendmail`: cron, mail(1), web applications. Who runs the program is
    asked of the kernel; what it sends is treated as if its account had logged in."""

    enabled: bool = True
    """Whether the socket submit.sock is there. A change needs a restart."""
    users: dict[str, str] = field(default_factory=dict)
    """The account that a Unix user sends as: { "www-data" = "shop@example.org" }. Whoever is not named here may not send; but root
    and the server's own user send as postmaster of the first domain when they are not named."""
