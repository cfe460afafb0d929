"""Methods `policy.*`: which checks look at mail from outside, which DNS lists are asked, and how much is held up."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Method, NoParams
from mailbox_app.policy.checks import CHECKS

_NUMBERS_SECONDS = 2.0
"""Counting those who wait reads an index: many consoles ask together, once in so long."""

_WHAT: Mapping[str, str] = {
    "bans": "Who was banned does not get in.",
    "connection_rate": "Clients and networks that connect too often are told to come back.",
    "early_talker": "Programs that do not wait for the greeting, as spam programs do.",
    "message_rate": "Clients, networks and accounts that send too much have to wait.",
    "ptr": "Whether the client's address has a host name that leads back to it.",
    "helo": "Whether the client greets with a name that can be true.",
    "dnsbl": "Whether DNS block lists know the client for spam.",
    "dnswl": "Whether DNS allow lists know the client for good mail.",
    "greylist": "Strangers that look risky are asked to come back a little later.",
    "sender_authentication": "SPF, DKIM and DMARC: whether the sender is who it says; what its domain wants done if not.",
    "loop": "Mail that comes round again and again is refused.",
    "header_form": "Headers that are missing, twice, or written as only spam programs do.",
    "attachments": "Attached programs, and files that hide what they are.",
    "url_lists": "Links to domains that junk leads to.",
    "reputation": "What people here did with earlier mail of this sender, domain and network.",
    "first_time_sender": "Whether this account knows the sender, or wrote to it.",
    "bayes": "Words, compared with what people here called junk.",
    "rspamd": "Asks rspamd, when rspamd.url is set.",
    "clamav": "Asks ClamAV for viruses, when clamav.address is set.",
}
"""For people, by check."""


class CheckView(Struct):
    """One check; `stage` tells where it looks, by commas where it looks twice."""

    name: str
    stage: str
    mode: str
    default_mode: str
    doc: str


class ListView(Struct):
    """One DNS list."""

    zone: str
    use: str
    """block, allow or links."""
    off: bool
    """It answers wrong and is not asked for now."""
    meanings: list[str]
    """What its documented answers stand for, with their scores."""


class PolicyView(Struct):
    """How mail from outside is judged."""

    junk_score: float
    reject_score: float
    """0: a score alone never refuses."""
    checks: list[CheckView]
    lists: list[ListView]


class Numbers(Struct):
    """The topic `spam`."""

    waiting: int
    allowed: int
    bans: int
    lists_off: int


class SpamNumbers:
    """How much is held up, for Home and the topic. Synchronous; safe from any thread."""

    def __init__(self, context: ControlContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._known = Numbers(0, 0, 0, 0)
        self._known_at = float("-inf")

    def look(self) -> Numbers:
        """The numbers, two seconds old at most."""
        with self._lock:
            now = self._context.clock.monotonic_seconds()
            if now - self._known_at >= _NUMBERS_SECONDS:
                self._known, self._known_at = _numbers(self._context), now
            return self._known


async def show(context: ControlContext, _call: Call, _params: NoParams) -> PolicyView:
    """Checks and lists."""
    policy = context.config.policy
    checks: dict[str, CheckView] = {}
    made: Sequence[Any] = CHECKS
    for each in made:
        stage = each.stage.name.lower()
        if known := checks.get(each.name):
            known.stage += f", {stage}"
        else:
            mode = policy.checks.get(each.name, each.default_mode)
            checks[each.name] = CheckView(each.name, stage, mode, each.default_mode, _WHAT.get(each.name, ""))
    off = set(await context.offload.run(context.lists_off))
    return PolicyView(policy.junk_score, policy.reject_score, list(checks.values()), _lists(context, off))


def _lists(context: ControlContext, off: set[str]) -> list[ListView]:
    config = context.config
    uses = (("block", config.dnsbl.lists), ("allow", config.dnswl.lists), ("links", config.url_lists.lists))
    return [
        ListView(zone, use, zone in off, [f"{answer.meaning} {answer.score:+g}" for answer in each.answers.values()])
        for use, lists in uses
        for zone, each in lists.items()
    ]


def _numbers(context: ControlContext) -> Numbers:
    state = context.policy_state
    lists = len(context.lists_off()) if any(_lists(context, set())) else 0
    _, waiting = state.greylist.waiting(1, 0)
    return Numbers(waiting, len(state.allowances.all()), len(state.bans.all()), lists)


METHODS = (Method("policy.show", NoParams, PolicyView, show, "How mail from outside is judged."),)
