"""What leaves again: copies for outside members of aliases and lists, and for redirects of filter scripts.

The body and the received header stay as they are, so signatures hold; fields are only put in front, on top of all the ARC set of
what we found about the sender (`mailauth.arc_seal`), when the forwarding domain has a key for it. A forwarded copy gets
an envelope sender of ours (`mailqueue.srs`) when its sender is a stranger's, else their SPF would name us a forger; the null sender
stays null. `Delivered-To` names each address that forwarded: one that meets its own name again refuses, which ends loops
over any number of servers. A list takes its own bounces (`dev-bounces@`), so that no poster hears of members' full mailboxes.

For whoever delivers: `plan(mail)` parts a message into what stays (the mail with local recipients only) and the copies that
go into the queue; `prepare(mail, recipient, address)` makes the copy of one redirect. Both raise a `Refusal` when what
remains would be nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import structlog

from mailbox_app.accounts.addresses import canonical
from mailbox_app.accounts.interface import Directory
from mailbox_app.accounts.model import Account, Alias
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.header_block import read_header, rest_behind
from mailbox_app.delivery.mail import Body, Filing, Mail, Recipient
from mailbox_app.delivery.posting import account_may_post, author_may_post, refusal_text
from mailbox_app.errors import MailboxError
from mailbox_app.mailauth.arc_seal import ArcSealer
from mailbox_app.mailauth.dkim_sign import SigningKey
from mailbox_app.mailauth.results import AuthResults
from mailbox_app.mailqueue.model import Envelope, NewRecipient
from mailbox_app.mailqueue.srs import SenderRewriting
from mailbox_app.proto.header import Header
from mailbox_app.proto.smtp.orcpt import orcpt_of
from mailbox_app.proto.smtp.replies import Refusal, Reply

JunkRule = Literal["refuse", "forward", "keep"]


def _loop() -> Refusal:
    return Refusal(554, "5.4.6", "The message was here before, this is a loop", reason="loop")


_SEAL = b"ARC-Seal:"
_TOLD_TARGETS = 20
"""Of one copy in the decision record; a list may have thousands."""
_TRACES = re.compile(rb"^(?:delivered-to|list-id)[ \t]*:", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ForwardingRules:
    """What the configuration says."""

    srs_domain: str = ""
    junk: JunkRule = "refuse"


@dataclass(frozen=True, slots=True)
class Copy:
    """One message for the queue: the mail's body below this prefix, under this envelope."""

    envelope: Envelope
    prefix: bytes
    recipients: Sequence[NewRecipient]
    by: str = ""
    """The address of ours that passes it on; "" when its writer sends it there."""


@dataclass(slots=True)
class Plan:
    """A message in its parts."""

    mail: Mail
    """With the recipients that have accounts here."""
    copies: list[Copy] = field(default_factory=list)
    filings: list[Filing] = field(default_factory=list)
    """Of what leaves and of what goes nowhere, and why."""
    refusals: list[Refusal] = field(default_factory=list)
    replies: dict[str, Reply] = field(default_factory=dict)
    """By recipient address: who gets nothing at all. Told where each recipient has an answer of its own (LMTP)."""


class Forwarder:
    """One per process."""

    def __init__(
        self,
        directory: Directory,
        rewriting: SenderRewriting,
        sealer: ArcSealer,
        offload: Offload,
        clock: Clock,
        rules: ForwardingRules,
    ) -> None:
        self._directory = directory
        self._rewriting = rewriting
        self._sealer = sealer
        self._offload = offload
        self._clock = clock
        self._log = structlog.get_logger("delivery")
        self.rules = rules
        """Replaced at a reload."""

    async def plan(self, mail: Mail) -> Plan:
        """Part a message. A `Refusal` when nobody may have it."""
        if not any(recipient.outside or recipient.lists for recipient in mail.recipients):
            return Plan(mail)
        plan = Plan(mail)
        traces = _traces(mail)
        staying: list[Recipient] = []
        gone: set[str] = set()
        for recipient in mail.recipients:
            served, refused = len(staying) + len(plan.copies), len(plan.refusals)
            if recipient.accounts:
                staying.append(replace(recipient, outside=(), lists=()))
            outside = [address for address in recipient.outside if _key(address) not in gone]
            gone.update(map(_key, outside))
            if outside and not recipient.is_forward:
                plan.copies.append(Copy(mail.envelope, mail.prefix, _targets(outside, recipient)))
            elif outside:
                staying += self._forward(plan, mail, replace(recipient, outside=outside), traces)
            for alias in recipient.lists:
                self._post(plan, mail, alias, traces)
            if len(plan.refusals) > refused and len(staying) + len(plan.copies) == served:
                plan.replies[recipient.address] = plan.refusals[refused].reply
        if plan.refusals and not staying and not plan.copies:
            raise plan.refusals[0]
        plan.mail = replace(mail, recipients=staying)
        plan.copies = [await self._sealed(mail, _held(copy, mail)) for copy in _joined(plan.copies)]
        plan.filings += [filing for copy in plan.copies for filing in _leaving(copy, mail)]
        return plan

    async def prepare(self, mail: Mail, recipient: Recipient, address: str) -> Copy:
        """The copy of a redirect to `address` by a script of this recipient; `Refusal` when it was here before."""
        by = recipient.canonical or recipient.address
        if by.lower().encode() in _traces(mail).get(b"delivered-to", ()):
            raise _loop()
        return await self._sealed(mail, self._copy(mail, by, _targets([address], recipient)))

    def restored(self, localpart: str, domain: str) -> str | None:
        """The stranger behind a rewritten sender of ours; None when the address is nothing of ours. `SrsError`."""
        srs_domain = self.rules.srs_domain
        if domain != srs_domain and not self._directory.is_local_domain(domain):
            return None
        return self._rewriting.restore(localpart, self._clock.epoch_seconds())

    def _forward(
        self, plan: Plan, mail: Mail, recipient: Recipient, traces: Mapping[bytes, Sequence[bytes]]
    ) -> list[Recipient]:
        """Queue the outside copies of an alias; recipients here that take their place."""
        if recipient.canonical.encode() in traces.get(b"delivered-to", ()):
            _note(plan, recipient.address, _loop())
            return []
        if mail.judgement.is_junk() and self.rules.junk != "forward":
            keepers = self._postmaster(recipient.canonical) if self.rules.junk == "keep" else ()
            if keepers:
                return [replace(recipient, accounts=keepers, outside=(), lists=())]
            text = "This address leads outside and does not pass on what looks like junk"
            _note(plan, recipient.address, Refusal(550, "5.7.1", text, reason="junk_not_forwarded"))
            return []
        plan.copies.append(self._copy(mail, recipient.canonical, _targets(recipient.outside, recipient)))
        return []

    def _copy(self, mail: Mail, by: str, targets: Sequence[NewRecipient]) -> Copy:
        prefix = f"Delivered-To: {by}\r\n".encode() + mail.prefix
        sender = self._sender(mail.envelope.sender, by.rpartition("@")[2])
        return Copy(replace(mail.envelope, sender=sender), prefix, targets, by)

    def _sender(self, sender: str, domain: str) -> str:
        if not sender or self._directory.is_local_domain(canonical(sender)[1]):
            return sender
        domain = self.rules.srs_domain or domain
        rewritten = self._rewriting.rewrite(sender, domain, self._clock.epoch_seconds())
        # Too long to be an address: its bounces reach our postmaster, who is a person, instead of nobody.
        return rewritten or f"postmaster@{domain}"

    def _post(self, plan: Plan, mail: Mail, alias: Alias, traces: Mapping[bytes, Sequence[bytes]]) -> None:
        refusal = self._refused_post(mail, alias, traces)
        if refusal is not None:
            _note(plan, alias.address, refusal)
            return
        found = self._directory.members(alias)
        targets = [NewRecipient(account.address, "local", "FAILURE") for account in found.accounts]
        targets += [NewRecipient(address, "smtp", "FAILURE") for address in found.outside]
        if not targets:
            _note(plan, alias.address, Refusal(550, "5.1.1", "The list has no members", reason="no_such_user"))
            return
        fields = f"Delivered-To: {alias.address}\r\nList-Id: <{list_id(alias)}>\r\nPrecedence: list\r\n"
        envelope = replace(mail.envelope, sender=alias.bounces_to, ret="HDRS", envid="")
        plan.copies.append(Copy(envelope, fields.encode() + mail.prefix, targets, alias.address))

    def _refused_post(self, mail: Mail, alias: Alias, traces: Mapping[bytes, Sequence[bytes]]) -> Refusal | None:
        here_before = f"<{list_id(alias)}>".encode() in traces.get(b"list-id", ())
        if here_before or alias.address.encode() in traces.get(b"delivered-to", ()):
            return _loop()
        if alias.max_bytes and mail.size_bytes > alias.max_bytes:
            return Refusal(552, "5.2.3", "The message is larger than this list takes", reason="too_large")
        submitter = self._directory.account(mail.envelope.submitter) if mail.envelope.submitter else None
        may = (
            account_may_post(self._directory, alias, submitter)
            if submitter is not None
            else bool(mail.envelope.sender) and author_may_post(self._directory, alias, mail.author)
        )
        if not may:
            return Refusal(550, "5.7.1", refusal_text(alias), reason="not_a_poster", address=alias.address)
        if mail.judgement.is_junk():
            return Refusal(550, "5.7.1", "This list takes nothing that looks like junk", reason="junk_not_forwarded")
        return None

    async def _sealed(self, mail: Mail, copy: Copy) -> Copy:
        """The copy below the ARC set of the domain that passes it on. RFC 8617 5.1"""
        domain = copy.by.rpartition("@")[2]
        if mail.auth is None or not domain:
            return copy
        keys = [
            SigningKey(key.domain, key.selector, "rsa", key.private_pem)
            for key in self._directory.dkim_keys(domain)
            if key.active and key.algorithm == "rsa"
        ]
        if not keys:
            return copy
        try:
            fields = await self._offload.run(self._seal, keys, replace(mail, prefix=copy.prefix), mail.auth)
        except MailboxError as error:
            self._log.warning("arc_seal_failed", domain=domain, code=error.code)  # unsealed mail is better than none
            return copy
        return replace(copy, prefix=fields + copy.prefix)

    def _seal(self, keys: Sequence[SigningKey], mail: Mail, auth: AuthResults) -> bytes:
        header, body = _parted(mail)
        now_seconds = int(self._clock.epoch_seconds())
        return self._sealer.seal(keys, header, body, authres=auth.field, arc=auth.arc, now_seconds=now_seconds)

    def _postmaster(self, address: str) -> Sequence[Account]:
        return self._directory.resolve(f"postmaster@{address.rpartition('@')[2]}").accounts


def list_id(alias: Alias) -> str:
    """The list's name as RFC 2919 wants it; one in other letters than ASCII goes by a digest."""
    localpart, _, domain = alias.address.rpartition("@")
    if not localpart.isascii():
        localpart = f"list-{hashlib.sha256(localpart.encode()).hexdigest()[:16]}"
    return f"{localpart}.{domain}"


def _traces(mail: Mail) -> dict[bytes, list[bytes]]:
    """The values of Delivered-To and List-Id, in lower case, whatever part of the header the prefix holds."""
    block = mail.prefix if _has_header(mail) else mail.prefix + read_header(mail.body)
    found: dict[bytes, list[bytes]] = {}
    if _TRACES.search(block) is None:
        return found
    for field_ in Header.parse(block).fields:
        if field_.key == b"delivered-to":
            found.setdefault(b"delivered-to", []).append(field_.value.strip().lower())
        elif field_.key == b"list-id":
            found.setdefault(b"list-id", []).append(b"<" + field_.value.rpartition(b"<")[2].strip().lower())
    return found


def _has_header(mail: Mail) -> bool:
    """Whether the prefix holds all of the header, the body being what is behind it."""
    return mail.prefix.endswith(b"\r\n\r\n")


def _parted(mail: Mail) -> tuple[bytes, Body]:
    """The header block as it leaves, and the rest."""
    if _has_header(mail):
        return mail.prefix, rest_behind(mail.body, 0)
    block = read_header(mail.body)
    return mail.prefix + block, rest_behind(mail.body, len(block))


def _targets(addresses: Sequence[str], recipient: Recipient) -> list[NewRecipient]:
    # RFC 3461 5.2.7.1: a report from further on names the address that the sender knows
    orcpt = recipient.orcpt or (orcpt_of(recipient.address) if recipient.is_forward else "")
    return [NewRecipient(address, "smtp", recipient.notify, orcpt) for address in addresses]


def _joined(copies: Sequence[Copy]) -> list[Copy]:
    """Copies that differ in their recipients only become one message in the queue."""
    if len(copies) < 2:
        return list(copies)
    together: dict[tuple[Envelope, bytes, str], list[NewRecipient]] = {}
    for copy in copies:
        together.setdefault((copy.envelope, copy.prefix, copy.by), []).extend(copy.recipients)
    return [Copy(envelope, prefix, targets, by) for (envelope, prefix, by), targets in together.items()]


def _held(copy: Copy, mail: Mail) -> Copy:
    """Nothing of a message that is held leaves, by whatever way."""
    if not mail.hold_reason:
        return copy
    targets = [
        replace(each, hold_reason=mail.hold_reason) if each.transport == "smtp" else each for each in copy.recipients
    ]
    return replace(copy, recipients=targets)


def _note(plan: Plan, address: str, refusal: Refusal) -> None:
    plan.refusals.append(refusal)
    plan.filings.append(Filing(address, "rejected", str(refusal.reply), refusal.reason))


def _leaving(copy: Copy, mail: Mail) -> list[Filing]:
    """In words for the decision record: where to, for whom, and what was done to the copy."""
    reason = []
    if copy.by and copy.envelope.sender != mail.envelope.sender:
        reason.append(f"the sender is {copy.envelope.sender} from here on")
    if copy.prefix.startswith(_SEAL):
        reason.append("sealed by ARC")
    action = "redirected" if copy.by else "queued"
    told = copy.recipients[:_TOLD_TARGETS]
    filings = [
        Filing(copy.by or each.address, action, each.address if copy.by else "", ", ".join(reason)) for each in told
    ]
    if len(copy.recipients) > len(told):
        filings.append(Filing(copy.by, action, f"{len(copy.recipients) - len(told)} more"))
    return filings


def _key(address: str) -> str:
    return "@".join(canonical(address))
