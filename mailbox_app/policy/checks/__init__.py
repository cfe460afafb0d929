"""The checks, one file each; `CHECKS` lists their classes in the order records show them."""

from __future__ import annotations

from collections.abc import Callable

from mailbox_app.policy.check import Check
from mailbox_app.policy.checks.dnsbl import Dnsbl
from mailbox_app.policy.checks.dnswl import Dnswl
from mailbox_app.policy.checks.greylist import Greylist, GreylistMessage
from mailbox_app.policy.checks.ptr import Helo, Ptr
from mailbox_app.policy.checks.sender_authentication import SenderAuthentication
from mailbox_app.policy.tools import Tools

CHECKS: tuple[Callable[[Tools], Check], ...] = (
    Ptr,
    Helo,
    Dnsbl,
    Dnswl,
    Greylist,
    SenderAuthentication,
    GreylistMessage,
)
