"""The rules for our own users' mail: who may send as whom, what is added, what is removed; then signed and delivered.

Nothing here can be reached without an account (D1). The received bytes stay as they are but for two things: whole Bcc fields and
those that claim to be this server's word (RFC 8601 5) are cut out, and a missing Date or Message-ID is put in front. All outside
recipients share one queued message that is written before any local mailbox gets its copy, so what fails can still be
answered with a 4xx.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from mailbox_app.accounts.interface import Directory
from mailbox_app.accounts.model import Account
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.containment import Containment
from mailbox_app.delivery.header_block import read_header, rest_behind
from mailbox_app.delivery.inbound import Inbound
from mailbox_app.delivery.mail import Body, Delivered, Mail
from mailbox_app.delivery.sent_copies import SentCopies
from mailbox_app.delivery.urgency import Urgency
from mailbox_app.mailauth.dkim_sign import SigningKey
from mailbox_app.policy import verdict_field
from mailbox_app.policy.state.correspondents import Correspondents
from mailbox_app.proto.address import MailAddress, parse_address_list
from mailbox_app.proto.authres import forged_authres
from mailbox_app.proto.dates import format_date
from mailbox_app.proto.header import Field, Header
from mailbox_app.proto.smtp.replies import Refusal

_CUT = frozenset({b"bcc", b"resent-bcc", verdict_field.KEY})
"""Whom nobody else shall see, and what only this server says."""
_INLINE_BYTES = 65_536
"""Up to here an Ed25519 signature is cheaper than a thread; RSA never is."""


class Signer(Protocol):
    """Makes DKIM-Signature fields; `mailauth.dkim_sign.DkimSigner`."""

    def sign(self, keys: Sequence[SigningKey], header: bytes | Header, body: Body, now_seconds: int) -> bytes:
        """One field per key, each ending in CRLF."""
        ...


class Submission:
    """Takes mail of logged-in users."""

    def __init__(
        self,
        directory: Directory,
        inbound: Inbound,
        signer: Signer,
        offload: Offload,
        clock: Clock,
        *,
        hostname: str,
        correspondents: Correspondents | None = None,
        containment: Containment | None = None,
        sent: SentCopies | None = None,
    ) -> None:
        self._sent = sent
        self._directory = directory
        self._inbound = inbound
        self._signer = signer
        self._offload = offload
        self._clock = clock
        self._hostname = hostname
        self._correspondents = correspondents
        self._containment = containment
        self._urgency = Urgency(clock)

    def check_sender(self, account: Account, sender: str) -> None:
        """Refuse an envelope sender that is not the account's. The null sender is allowed (RFC 8098 receipts)."""
        self._check_active(account)
        if sender and not self._directory.owns(account, sender):
            raise Refusal(553, "5.7.1", "The sender address is not yours", reason="sender_not_owned", address=sender)

    async def submit(
        self,
        account: Account,
        mail: Mail,
        remote_ip: str = "",
        *,
        keep_copy: bool = True,
        is_bound: bool = False,
        read: tuple[bytes, Header] | None = None,
    ) -> Delivered:
        """Check and complete the header, sign, queue and store. `mail.prefix` holds the trace fields; `remote_ip` is who brought
        it, "" for this machine; `keep_copy`: a person sends, who may want it in Sent; `is_bound`: no built-in limit is waived;
        `read`: the body's header block, when it was read before."""
        self._check_active(account)
        given = mail.body
        block, header = read or _read(mail.body)
        domain = self._check_author(account, header)
        added = self._missing_fields(header, domain)
        cut = cut_fields(block, header, _CUT, forged_authres(header, self._hostname))
        rest = rest_behind(mail.body, len(block))
        outside = _outside(mail)
        news = self._correspondents.news(account.account_id, outside) if self._correspondents is not None else ()
        leaving = header if not added and cut is block else added + cut
        signatures, unknown = await self._prepare(account, domain, leaving, rest, news)
        prefix = signatures + mail.prefix + added + cut
        reason = ""
        if self._containment is not None:
            reason = await self._containment.judge(account, outside, unknown, remote_ip, is_bound=is_bound)
        mail = replace(
            mail,
            envelope=replace(
                mail.envelope,
                submitter=account.address,
                message_id=message_id_of(header, added),
                priority=self._urgency.of(account.account_id, header, len(mail.recipients)),
            ),
            prefix=prefix,
            body=rest,
            size_bytes=mail.size_bytes - len(block) - len(mail.prefix) + len(prefix),
            hold_reason=reason,
        )
        delivered = await self._inbound.deliver(mail)
        if self._correspondents is not None and news:
            self._correspondents.note(account.account_id, news)  # answers from there are not held up
        if self._sent is not None and keep_copy and mail.envelope.sender:
            await self._sent.keep(account, added, given)
        return replace(delivered, message_id=mail.envelope.message_id, hold_reason=reason)

    async def _prepare(
        self, account: Account, domain: bytes, header: bytes | Header, body: Body, news: Sequence[str]
    ) -> tuple[bytes, int]:
        """The signatures, and how many of these recipients the account never wrote to; both in one visit to a thread."""
        keys = self._signing_keys(domain)
        containment = self._containment if news else None
        if not keys and containment is None:
            return b"", 0
        now_seconds = int(self._clock.epoch_seconds())

        def prepare() -> tuple[bytes, int]:
            signatures = self._signer.sign(keys, header, body, now_seconds)
            return signatures, containment.unknown(account, news) if containment is not None else 0

        is_quick = isinstance(body, bytes) and len(body) <= _INLINE_BYTES
        if containment is None and is_quick and all(key.algorithm == "ed25519" for key in keys):
            return prepare()
        return await self._offload.run(prepare)

    def _check_active(self, account: Account) -> None:
        """A session may be older than a new password or the end of its account."""
        if not account.still_lets_in(self._directory.account_by_id(account.account_id)):
            raise Refusal(530, "5.7.0", "Your login counts no more, log in again", reason="login_void")

    def _check_author(self, account: Account, header: Header) -> bytes:
        """The first author's domain, after a look at every address in From and Sender."""
        if header.count(b"from") != 1 or header.count(b"sender") > 1:  # RFC 5322 3.6
            raise Refusal(550, "5.6.0", "The message needs exactly one From field", reason="bad_header")
        authors = parse_address_list(header.all(b"from")[0])
        if not authors:
            raise Refusal(550, "5.6.0", "The From field holds no address", reason="bad_header")
        senders = [address for value in header.all(b"sender") for address in parse_address_list(value)]
        for address in (*authors, *senders):
            if not self._directory.owns(account, _text(address)):
                raise Refusal(553, "5.7.1", "An address in From or Sender is not yours", reason="sender_not_owned")
        return authors[0].domain or b""

    def _missing_fields(self, header: Header, domain: bytes) -> bytes:
        """RFC 6409 8.2 and 8.3."""
        added = b""
        if not header.count(b"date"):
            added += b"Date: " + format_date(self._clock.now()) + b"\r\n"
        if not header.count(b"message-id"):
            right = domain if domain.isascii() else self._hostname.encode()
            added += b"Message-ID: <%b@%b>\r\n" % (secrets.token_hex(16).encode(), right)
        return added

    def _signing_keys(self, domain: bytes) -> Sequence[SigningKey]:
        """The active keys of the author's domain."""
        name = domain.decode("utf-8", "replace").lower()
        found = self._directory.dkim_keys(name) if self._directory.is_local_domain(name) else ()
        return [
            SigningKey(key.domain, key.selector, "rsa" if key.algorithm == "rsa" else "ed25519", key.private_pem)
            for key in found
            if key.active
        ]


def _read(body: Body) -> tuple[bytes, Header]:
    block = read_header(body)
    return block, Header.parse(block)


def _outside(mail: Mail) -> list[str]:
    """Whom a user of ours wrote to elsewhere."""
    return [address for each in mail.recipients if not each.is_forward for address in each.outside]


def cut_fields(block: bytes, header: Header, keys: frozenset[bytes], further: Sequence[Field] = ()) -> bytes:
    """The block without whole fields of these names and without the `further` ones; all other bytes untouched."""
    starts = {field.start for field in further}
    kept, position = list[bytes](), 0
    for field in header.fields:
        if field.key in keys or field.start in starts:
            kept.append(block[position : field.start])
            position = field.end
    return b"".join([*kept, block[position:]]) if position else block


def message_id_of(header: Header, added: bytes = b"") -> str:
    """The Message-ID for envelope and log."""
    value = header.first(b"message-id") or Header.parse(added).first(b"message-id") or b""
    return value.decode("utf-8", "replace")[:250]


def _text(address: MailAddress) -> str:
    return (
        f"{(address.localpart or b'').decode('utf-8', 'replace')}@{(address.domain or b'').decode('utf-8', 'replace')}"
    )
