"""What one attempt has found out so far: which recipients have a verdict, and why the others have none."""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.mailqueue.destinations.breakers import Refusal
from mailbox_app.mailqueue.model import Fate, Lease, Outcome, QueuedRecipient
from mailbox_app.outbound.routes.choosing import Route
from mailbox_app.outbound.routes.sources import FamilyState
from mailbox_app.outbound.tls.policy import Rules
from mailbox_app.outbound.transaction import Verdict


class Walk:
    """From host to host on one route, for those recipients of a lease that take it."""

    def __init__(self, lease: Lease, recipients: Sequence[QueuedRecipient], route: Route) -> None:
        self.lease = lease
        self.route = route
        self.families: Sequence[FamilyState] = ()
        """In the order to try them; empty: as they come."""
        self.host = ""
        self.tls = ""
        self.last: Verdict | None = None
        """Why the recipients without a verdict have none."""
        self.refusals: list[Refusal] = []
        """Hosts that were passed over."""
        self.rules: dict[str, Rules] = {}
        """What binds mail to a domain, as found out in this attempt."""
        self.is_untouched = True
        """Whether the last connection told nothing about any recipient."""
        self.has_another = False
        """Whether there is another address to try after the present one."""
        self._recipients = recipients
        self._settled: dict[str, tuple[Verdict, str, str]] = {}

    @property
    def destination(self) -> str:
        """The recipients' domain."""
        return self._recipients[0].destination

    def waiting(self) -> list[QueuedRecipient]:
        """Recipients without a verdict."""
        return [one for one in self._recipients if one.address not in self._settled]

    def take(self, verdicts: dict[str, Verdict]) -> None:
        """What the present host said about recipients."""
        for address, verdict in verdicts.items():
            self._settled[address] = (verdict, self.host, self.tls)

    def note(self, verdict: Verdict) -> None:
        """Why the present host was of no use; one that may work tomorrow outweighs those that never will."""
        rank = {Fate.DEFERRED: 2, Fate.POSTPONED: 1}
        if self.last is None or rank.get(verdict.fate, 0) >= max(rank.get(self.last.fate, 0), 1):
            self.last = verdict

    def source_for(self, address: str) -> tuple[str, str]:
        """(our address to send from to this one, the name it gives); "" for the usual ones."""
        family = 6 if ":" in address else 4
        for state in self.families:
            if state.family == family and state.source.address:
                return state.source.address, state.source.name
        return "", ""

    def outcomes(self, duration_seconds: float) -> list[Outcome]:
        """One per recipient; those without a verdict get the last trouble."""
        rest = self.last or Verdict(Fate.DEFERRED, 451, "4.4.0", "no host gave an answer")
        return [
            self.outcome(
                recipient, *self._settled.get(recipient.address, (rest, self.host, self.tls)), duration_seconds
            )
            for recipient in self._recipients
        ]

    @staticmethod
    def outcome(recipient: QueuedRecipient, verdict: Verdict, host: str, tls: str, duration_seconds: float) -> Outcome:
        """A host's verdict as the queue takes it."""
        return Outcome(
            recipient.address,
            verdict.fate,
            verdict.code,
            verdict.enhanced,
            verdict.text,
            host,
            tls,
            duration_seconds,
            verdict.retry_at,
            verdict.relayed,
            verdict.said,
        )
