"""The checks, one file each; `CHECKS` lists their classes in the order records show them."""

from __future__ import annotations

from collections.abc import Callable

from mailbox_app.policy.check import Check
from mailbox_app.policy.checks.attachments import Attachments
from mailbox_app.policy.checks.bans import Bans
from mailbox_app.policy.checks.bayes import BayesCheck
from mailbox_app.policy.checks.clamav import Clamav
from mailbox_app.policy.checks.connection_rate import ConnectionRate
from mailbox_app.policy.checks.dns_lists import Dnsbl, Dnswl
from mailbox_app.policy.checks.early_talker import EarlyTalker
from mailbox_app.policy.checks.first_time_sender import FirstTimeSender
from mailbox_app.policy.checks.greylist import Greylist, GreylistMessage
from mailbox_app.policy.checks.header_form import HeaderForm
from mailbox_app.policy.checks.loop import Loop
from mailbox_app.policy.checks.message_rate import MessageRate
from mailbox_app.policy.checks.ptr import Helo, Ptr
from mailbox_app.policy.checks.reputation import ReputationCheck
from mailbox_app.policy.checks.rspamd import Rspamd
from mailbox_app.policy.checks.sender_authentication import SenderAuthentication
from mailbox_app.policy.checks.url_lists import UrlLists
from mailbox_app.policy.tools import Tools

CHECKS: tuple[Callable[[Tools], Check], ...] = (
    Bans,
    ConnectionRate,
    EarlyTalker,
    MessageRate,
    Ptr,
    Helo,
    Dnsbl,
    Dnswl,
    Greylist,
    SenderAuthentication,
    GreylistMessage,
    Loop,
    HeaderForm,
    Attachments,
    UrlLists,
    ReputationCheck,
    FirstTimeSender,
    BayesCheck,
    Rspamd,
    Clamav,
)
