"""What needs an operator, one sentence each: the same for the console's first screen and for `mailbox status`. Blocks.

A sentence says what is wrong and, where one command helps, which. Nothing here asks the network: everything is known already.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mailbox_app.control import machine
from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.spans import duration
from mailbox_app.errors import MailboxError
from mailbox_app.mailqueue.model import QueueStats
from mailbox_app.mailqueue.problems import queue_problems
from mailbox_app.proto.plain_text import clean

_WEIGHTS = ("BAD!", "WARN", "info")
_LONG_SECONDS = 3600.0
"""A host that is passed over for less is nobody's business: most come back by themselves."""
_HOSTS = 3
"""Told by name; the rest as a number."""
_LOOKED_AT = 1_000

Thing = tuple[str, str, str]
"""(weight, sentence without a full stop, the console's screen)."""


def things_to_do(
    context: ControlContext, queue: QueueStats, now: datetime, disk: machine.Disk, certificate_days: int | None
) -> Sequence[Thing]:
    """The worst first."""
    found = [*_disk(disk), *_certificate(certificate_days), *_queue(context, queue, now), *_outbound(context, now)]
    found.extend(("WARN", _upper(text), "Queue") for text in context.key_problems())
    if context.config.dnsbl.lists or context.config.dnswl.lists:
        text = "The DNS list {} answers wrong and is switched off for now"
        found.extend(("WARN", text.format(zone), "Spam") for zone in context.lists_off())
    if not context.directory.domains():
        found.append(("WARN", "There is no domain yet, so all mail is refused: mailbox domain add", "Domains"))
    return sorted(found, key=lambda each: _WEIGHTS.index(each[0]))


def _disk(disk: machine.Disk) -> Sequence[Thing]:
    if not disk.total_bytes:
        return ()
    free_percent = disk.free_bytes * 100 // disk.total_bytes
    if free_percent >= 10:
        return ()
    return (("BAD!" if free_percent < 3 else "WARN", f"Only {free_percent} % of the disk is free", "Home"),)


def _certificate(days: int | None) -> Sequence[Thing]:
    if days is None or days >= 21:
        return ()
    text = f"The certificate ends in {days} days" if days >= 0 else "The certificate has ended"
    return (("BAD!" if days < 3 else "WARN", text, "TLS"),)


def _queue(context: ControlContext, queue: QueueStats, now: datetime) -> Sequence[Thing]:
    """The queue's own; while it cannot be asked, only that."""
    found: list[Thing] = []
    if context.redis_up() is False:
        text = "The Redis server that the nodes share cannot be reached: no mail is queued or leaves"
        found.append(("BAD!", text, "Queue"))
    try:
        told = queue_problems(queue, context.queue.pauses(), now, context.queue.rules())
        unsafe = context.queue.problems()
    except MailboxError:
        if context.redis_up() is None:
            raise
        if not found:
            text = "The Redis server that the nodes share answers and refuses: no mail is queued or leaves, its log says why"
            found.append(("BAD!", text, "Queue"))
        return found
    found.extend((weight, text, "Accounts" if ": mailbox user " in text else "Queue") for weight, text in told)
    found.extend(("WARN", _upper(text), "Queue") for text in unsafe)
    return found


def _outbound(context: ControlContext, now: datetime) -> Sequence[Thing]:
    found: list[Thing] = []
    if trouble := context.routes.trouble():
        found.append(("WARN", _upper(trouble), "Queue"))
    long_open = [
        each
        for each in context.breakers.not_closed(_LOOKED_AT)
        if now.timestamp() - each.opened_seconds >= _LONG_SECONDS
    ]
    for each in long_open[:_HOSTS]:
        host, since = each.host.removesuffix(":25"), duration(now.timestamp() - each.opened_seconds)
        text = f"{clean(host)} has not been reached for {since}, so its mail waits: mailbox breaker show {clean(host)}"
        found.append(("info", text, "Queue"))
    if len(long_open) > _HOSTS:
        more = len(long_open) - _HOSTS
        one = "host of others is" if more == 1 else "hosts of others are"
        found.append(("info", f"{more} more {one} passed over: mailbox breaker list", "Queue"))
    return found


def _upper(text: str) -> str:
    return clean(text[:1].upper() + text[1:]).rstrip(".")
