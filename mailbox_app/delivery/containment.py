"""What keeps a stolen password from ruining this server's name: limits of what an account sends, and a brake on bursts.

Mail beyond a limit is taken and held, never refused: an honest sender loses nothing, an operator looks and lets it go. Each
message beyond a limit is held by itself. A burst that is unlike the account adds a hold rule for it: everything it sends from then
on waits until the rule is removed. Only recipients outside count. The built-in limits spare clients of this machine and of trusted
networks, where no stolen password comes from; limits that the configuration names bind everybody. A Unix user other than root that
sends by `mailbox sendmail` is bound by all: the web server's programs are what gets broken into first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from mailbox_app.accounts.model import Account
from mailbox_app.config.abuse import Abuse
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.journal.audit import Change
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import BRAKE, HoldRule
from mailbox_app.observe.metrics import Metrics
from mailbox_app.policy.state.correspondents import Correspondents
from mailbox_app.policy.state.rates import DAY, HOUR, Rates

_BURST_SECONDS = 600
_MONTH_DAYS = 30
_UNLIKE = 3
"""A burst is more in ten minutes than three of the account's usual days."""


class AuditLog(Protocol):
    """Where operators see it; `journal.audit.Audit`."""

    def append(self, change: Change) -> object:
        """Blocks."""
        ...


@dataclass(frozen=True, slots=True)
class _Counts:
    hour: int
    day: int
    new: int
    burst: int
    usual: int
    """A day's recipients, as the mean of the month before."""


class Containment:
    """One per process; the counts are shared."""

    def __init__(
        self,
        rates: Rates,
        correspondents: Correspondents,
        queue: QueueBackend,
        audit: AuditLog,
        offload: Offload,
        metrics: Metrics,
        limits: Callable[[], Abuse],
        spares: Callable[[str], bool],
    ) -> None:
        self._rates = rates
        self._correspondents = correspondents
        self._queue = queue
        self._audit = audit
        self._offload = offload
        self._metrics = metrics
        self._limits = limits
        self._spares = spares
        self._log = structlog.get_logger("submission")

    def unknown(self, account: Account, addresses: Sequence[str]) -> int:
        """To how many of the addresses the account never wrote before. Blocks."""
        return sum(not self._correspondents.knows([account.account_id], address) for address in addresses)

    async def judge(
        self, account: Account, addresses: Sequence[str], new: int, remote_ip: str, *, is_bound: bool = False
    ) -> str:
        """Count a message to these outside addresses, `new` of them `unknown`; why it is held, "" when it may go. Raises the
        queue's own trouble.

        `is_bound`: the built-in limits count wherever it comes from.
        """
        if not addresses:
            return ""
        is_spared = not is_bound and self._spares(remote_ip)
        counts = self._count(account, len(addresses), new)
        limits = self._limits()
        if self._is_burst(counts, limits, is_spared):
            return await self._offload.run(self._brake, account, counts)
        reason = _beyond(account, counts, limits, is_spared)
        if reason:
            self._metrics.messages_held.labels("limit").inc()
            self._log.warning("held", account=account.address, reason=reason)
        return reason

    def _count(self, account: Account, amount: int, new: int) -> _Counts:
        key = f"send {account.address}"  # not its number, which is each node's own
        month = self._rates.count(key, _MONTH_DAYS * DAY, amount) - amount
        burst = self._rates.count(key, _BURST_SECONDS, amount)
        return _Counts(
            hour=self._rates.count(key, HOUR, amount),
            day=self._rates.count(key, DAY, amount),
            new=self._rates.count(f"send new {account.address}", DAY, new),
            burst=burst,
            usual=max(month - (burst - amount), 0) // _MONTH_DAYS,
        )

    @staticmethod
    def _is_burst(counts: _Counts, limits: Abuse, is_spared: bool) -> bool:
        limit = _limit(limits, "account_burst", is_spared)
        return bool(limit) and counts.burst > max(limit, _UNLIKE * counts.usual)

    def _brake(self, account: Account, counts: _Counts) -> str:
        """The rule that holds all that follows, made once. Blocks."""
        what = f"wrote to {counts.burst} recipients within ten minutes, usually to {counts.usual} a day"
        reason = f"{BRAKE}: {account.address} {what}"
        mine = [rule for rule in self._queue.rules() if rule.submitter == account.address and rule.is_brake]
        self._metrics.messages_held.labels(BRAKE).inc()
        if mine:
            return mine[0].reason
        self._queue.add_rule(HoldRule(0, submitter=account.address, reason=reason))
        self._log.error("account_braked", account=account.address, reason=reason)
        try:
            self._audit.append(
                Change("mailserver", 0, "submission", "user.braked", object=account.address, detail=reason)
            )
        except MailboxError as error:
            self._log.error("brake_not_audited", account=account.address, code=error.code)
        return reason


def _limit(limits: Abuse, name: str, is_spared: bool) -> int:
    """0: none."""
    value = int(getattr(limits, name))
    return 0 if is_spared and value == getattr(_BUILT_IN, name) else value


def _beyond(account: Account, counts: _Counts, limits: Abuse, is_spared: bool) -> str:
    for name, count, text in (
        ("account_recipients_per_hour", counts.hour, "recipients in an hour"),
        ("account_recipients_per_day", counts.day, "recipients in a day"),
        ("account_new_recipients_per_day", counts.new, "people in a day whom it never wrote to before"),
    ):
        limit = _limit(limits, name, is_spared)
        if limit and count > limit:
            return f"{account.address} wrote to more than {limit} {text}"
    return ""


_BUILT_IN = Abuse()
