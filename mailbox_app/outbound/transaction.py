"""One message over one connection: MAIL, RCPT for all recipients, DATA, and a verdict for each of them.

Verdicts are what the host said: a refusal of MAIL or of DATA holds for everybody, one of RCPT for that recipient, the answer to the
whole message for those it accepted. When the connection breaks before the message was complete, nobody has it and
`HostTrouble` passes through; when it breaks while the final answer is awaited, the host may or may not have it: the
recipients are deferred, and this is the one place where a duplicate is possible. RFC 5321 4.5.4.2, RFC 1047.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from mailbox_app.db.offload import Offload
from mailbox_app.mailqueue.model import Fate, Lease, QueuedRecipient
from mailbox_app.mailqueue.spool import DamagedSpoolFile
from mailbox_app.outbound.dot_stuffing import DotStuffer
from mailbox_app.outbound.replies import Reply
from mailbox_app.outbound.smtp_client import HostTrouble, SmtpConnection
from mailbox_app.proto.smtp.orcpt import ascii_orcpt

_CHUNK_BYTES = 262_144
_WITH_ITS_END_BYTES = 32_768
"""So much goes in one piece with the end of the message; a host has no time to say something in between."""
_HEADER_BYTES = 262_144
_LINE_BYTES = 998
_ROUNDS = 100
"""Transactions on one connection when the host takes only some recipients at a time (452, RCPTMAX)."""
_AT_ONCE = 500
"""Recipients of one transaction: their answers fit the reader's buffer."""

_UNSENDABLE = re.compile(r"[\x00-\x1f<>\x7f]")
_FATES = {2: Fate.DELIVERED, 5: Fate.FAILED}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a recipient got."""

    fate: Fate
    code: int
    enhanced: str
    text: str
    retry_at: datetime | None = None
    """With `POSTPONED`, when to look again; with `DEFERRED`, not before."""
    relayed: bool = False
    """Taken by a host that sends no delivery reports (RFC 3461 5.2.2)."""
    said: str = ""
    """The host's own reply, where the text is ours."""


Verdicts = dict[str, Verdict]
Taken = Callable[[Sequence[QueuedRecipient], Verdict], None]
"""Told the moment a host has taken the message for recipients; raises nothing."""


class Transaction:
    """Sends one lease's message over a connection, in as many rounds as the host wants."""

    def __init__(
        self,
        connection: SmtpConnection,
        lease: Lease,
        offload: Offload,
        taken: Taken = lambda recipients, verdict: None,
    ) -> None:
        self._connection = connection
        self._lease = lease
        self._offload = offload
        self._taken = taken
        self.verdicts: Verdicts = {}
        """Filled as answers come in."""
        self.in_step = True
        """Whether the connection can be used for another command."""
        self.needs_another = False
        """Recipients are left that want a connection of their own, to the same host at once."""

    async def run(self, recipients: Sequence[QueuedRecipient]) -> None:
        """Deliver to the recipients; `HostTrouble` when the host failed before it had the whole message.

        `OSError` when the spool file cannot be read. Recipients without a verdict may be tried at another host.
        """
        waiting = await self._without_unfit([one for one in recipients if not self._refused_by_us(one)])
        at_once = min(self._connection.limit("RCPTMAX") or _AT_ONCE, _AT_ONCE)  # RFC 9422 4.2
        transactions = self._connection.limit("MAILMAX")
        for _ in range(_ROUNDS):
            if not waiting:
                return
            if transactions and self._connection.messages >= transactions:  # RFC 9422 4.1
                self.needs_another = True
                return
            if (
                not self._connection.at_rest and not await self._connection.rest()
            ):  # nobody of the round before was taken
                self.in_step, self.needs_another = False, True
                return
            now, later = waiting[:at_once], waiting[at_once:]
            self._connection.messages += 1
            waiting = [*await self._round(now), *later]
            if not self.in_step:
                self.needs_another = bool(waiting)
                return

    def _refused_by_us(self, recipient: QueuedRecipient) -> bool:
        if _UNSENDABLE.search(recipient.address + self._lease.message.envelope.sender) is None:
            return False
        self.verdicts[recipient.address] = Verdict(Fate.FAILED, 553, "5.1.3", "the address cannot be sent")
        return True

    async def _without_unfit(self, waiting: list[QueuedRecipient]) -> list[QueuedRecipient]:
        """Fail what the host's extensions rule out before anything is sent."""
        message, extensions = self._lease.message, self._connection.extensions
        limit = extensions.get("SIZE", "")
        unfit: Verdict | None = None
        if limit.isdigit() and 0 < int(limit) < message.size_bytes:  # RFC 1870 6.1
            unfit = Verdict(Fate.FAILED, 552, "5.3.4", f"the message is larger than the {limit} bytes the server takes")
        elif message.envelope.body == "BINARYMIME" and not self._sends_binary and not await self._is_text():
            # RFC 3030 3: only with BDAT; making other MIME of it would break signatures
            unfit = Verdict(Fate.FAILED, 554, "5.6.1", "the message is binary, which the server does not take")
        elif message.envelope.smtputf8 and "SMTPUTF8" not in extensions and await self._needs_smtputf8(waiting):
            # RFC 6531 3.5
            unfit = Verdict(Fate.FAILED, 553, "5.6.7", "the server does not take internationalised mail")
        if unfit is None:
            return waiting
        self.verdicts.update((recipient.address, unfit) for recipient in waiting)
        return []

    @property
    def _sends_binary(self) -> bool:
        """Whether the message goes by BDAT. Others go by DATA, which takes no more round trips and is the better known."""
        extensions = self._connection.extensions
        wanted = self._lease.message.envelope.body == "BINARYMIME"
        return wanted and "CHUNKING" in extensions and "BINARYMIME" in extensions

    async def _is_text(self) -> bool:
        """Whether a message that was sent as binary is none: it goes as 8BITMIME."""
        return await self._offload.run(_is_text, self._lease.spool_path)

    async def _needs_smtputf8(self, waiting: Sequence[QueuedRecipient]) -> bool:
        texts = [self._lease.message.envelope.sender, *(recipient.address for recipient in waiting)]
        return not all(map(str.isascii, texts)) or not await self._offload.run(_ascii_header, self._lease.spool_path)

    async def _round(self, waiting: Sequence[QueuedRecipient]) -> list[QueuedRecipient]:
        """One transaction; the recipients to try again at once."""
        file, first = await self._content()
        self._connection.at_rest = False
        try:
            if self._sends_binary:
                return await self._binary_round(waiting, file, first)
            data, answers = await self._envelope(waiting)
            accepted = [recipient for recipient, reply in answers if reply.positive]
            if data is not None and data.positive:
                data, self.in_step = _out_of_step("DATA"), False
            elif data is not None and data.code == 354:
                # RFC 2920 3.1 would end an unwanted DATA with a lone dot; leaving is as good and delivers nothing
                self.in_step = bool(accepted)
                if accepted:
                    data = await self._message(file, first, accepted)
        finally:
            file.close()
        if data is None or not accepted:
            return []
        self._judge(accepted, data)
        self._connection.at_rest = data.positive  # RFC 5321 4.1.1.4; after a refusal some servers still have it open
        return _left(data, answers)

    async def _content(self) -> tuple[BinaryIO, bytes]:
        """The message from its second chunk on, and the first."""
        if (content := self._lease.content) is not None:
            return io.BytesIO(), content
        return await self._offload.join(_open, self._lease.spool_path, self._lease.message.size_bytes)

    async def _binary_round(
        self, waiting: Sequence[QueuedRecipient], file: BinaryIO, first: bytes
    ) -> list[QueuedRecipient]:
        """The same with BDAT: the chunks tell their length, and each has an answer. RFC 3030 2."""
        commands = [self._mail(), *(self._rcpt(recipient) for recipient in waiting)]
        replies, trouble = await self._connection.commands(commands)
        answers = [(recipient, _too_many(reply)) for recipient, reply in zip(waiting, replies[1:], strict=False)]
        if replies and not replies[0].positive:
            self._judge(waiting, replies[0])
            self.in_step = trouble is None
            return []
        for recipient, reply in answers:
            if not reply.positive:
                self._judge([recipient], reply)
        if trouble is not None:
            raise trouble
        accepted = [recipient for recipient, reply in answers if reply.positive]
        if not accepted:
            return []
        data = await self._chunks(file, first, accepted)
        self._judge(accepted, data)
        self._connection.at_rest = data.positive  # RFC 5321 4.1.1.4; after a refusal some servers still have it open
        return _left(data, answers)

    async def _chunks(self, file: BinaryIO, data: bytes, accepted: Sequence[QueuedRecipient]) -> Reply:
        """All chunks; the answer to the last, or the refusal of one before it."""
        self.in_step = False
        while True:
            following = await self._offload.run(file.read, _CHUNK_BYTES) if len(data) == _CHUNK_BYTES else b""
            last = not following
            if last:
                self._await_verdict(accepted)
            early = await self._connection.send(b"BDAT %d%b\r\n%b" % (len(data), b" LAST" if last else b"", data))
            try:
                reply = early or await self._connection.end_of_data()
            except HostTrouble as trouble:
                if not last:
                    raise
                return _perhaps_taken(trouble)
            if last:
                self.in_step = reply.code != 421
                return reply if reply.code // 100 != 3 else _out_of_step("the last chunk")
            if not reply.positive:
                return reply if reply.code // 100 != 3 else _out_of_step("a chunk")
            data = following

    async def _envelope(
        self, waiting: Sequence[QueuedRecipient]
    ) -> tuple[Reply | None, list[tuple[QueuedRecipient, Reply]]]:
        """(the answer to DATA, None when it was not said; each recipient's answer). Refusals are judged."""
        commands = [self._mail(), *(self._rcpt(recipient) for recipient in waiting), b"DATA"]
        pipelining = "PIPELINING" in self._connection.extensions
        replies, trouble = await self._connection.commands(commands if pipelining else commands[:1])
        if not pipelining and trouble is None and replies[0].positive:
            more, trouble = await self._connection.commands(commands[1:-1])
            replies += more
        answers = [(recipient, _too_many(reply)) for recipient, reply in zip(waiting, replies[1:], strict=False)]
        if replies and not replies[0].positive:
            self._judge(waiting, replies[0])
            self.in_step = trouble is None and (not pipelining or replies[-1].code != 354)
            return None, []
        for recipient, reply in answers:  # also when the host broke off later: what it said about them stands
            if not reply.positive:
                self._judge([recipient], reply)
        if trouble is not None:
            raise trouble
        if pipelining:
            return replies[-1], answers
        if not any(reply.positive for _, reply in answers):
            return None, answers
        return await self._connection.command(b"DATA"), answers

    async def _message(self, file: BinaryIO, data: bytes, accepted: Sequence[QueuedRecipient]) -> Reply:
        """Send the message; the final answer, or ours when none came."""
        self.in_step = False
        stuffer = DotStuffer()
        while len(data) > _WITH_ITS_END_BYTES:
            if (early := await self._connection.send(stuffer.chunk(data))) is not None:
                return _out_of_step("a part of the message") if early.code // 100 in (2, 3) else early
            data = await self._offload.run(file.read, _CHUNK_BYTES) if len(data) == _CHUNK_BYTES else b""
        if self._connection.has_unread:
            return _out_of_step("a part of the message")
        self._await_verdict(accepted)
        try:
            reply = await self._connection.send(stuffer.chunk(data) + stuffer.end())
            reply = reply or await self._connection.end_of_data()
        except HostTrouble as trouble:
            return _perhaps_taken(trouble)
        self.in_step = reply.code != 421
        return reply if reply.code // 100 != 3 else _out_of_step("the message")

    def _await_verdict(self, accepted: Sequence[QueuedRecipient]) -> None:
        """What comes next is the answer to the whole message: a yes is told before anything else happens."""

        def heard(reply: Reply) -> None:
            if reply.positive:
                self._taken(accepted, self._verdict(reply))

        self._connection.await_verdict(heard)

    def _verdict(self, reply: Reply) -> Verdict:
        fate = _FATES.get(reply.code // 100, Fate.DEFERRED)
        relayed = fate is Fate.DELIVERED and "DSN" not in self._connection.extensions
        return Verdict(fate, reply.code, reply.enhanced, reply.text, relayed=relayed)

    def _judge(self, recipients: Sequence[QueuedRecipient], reply: Reply) -> None:
        verdict = self._verdict(reply)
        self.verdicts.update((recipient.address, verdict) for recipient in recipients)

    def _mail(self) -> bytes:
        envelope, extensions = self._lease.message.envelope, self._connection.extensions
        line = b"MAIL FROM:<" + envelope.sender.encode() + b">"
        if "SIZE" in extensions:
            line += b" SIZE=%d" % self._lease.message.size_bytes
        if self._sends_binary:
            line += b" BODY=BINARYMIME"
        elif envelope.body != "7BIT" and "8BITMIME" in extensions:
            # RFC 6152 3 would have us convert or give up without the extension; every server of today passes the octets
            # on, and a conversion would break signatures.
            line += b" BODY=8BITMIME"
        if envelope.smtputf8 and "SMTPUTF8" in extensions:
            line += b" SMTPUTF8"
        if envelope.require_tls and "REQUIRETLS" in extensions:  # RFC 8689 4.2.1
            line += b" REQUIRETLS"
        if "DSN" in extensions:
            line += _parameters(RET=envelope.ret, ENVID=envelope.envid)
        return line

    def _rcpt(self, recipient: QueuedRecipient) -> bytes:
        line = b"RCPT TO:<" + recipient.address.encode() + b">"
        if "DSN" in self._connection.extensions:
            orcpt = recipient.orcpt if "SMTPUTF8" in self._connection.extensions else ascii_orcpt(recipient.orcpt)
            line += _parameters(NOTIFY=recipient.notify, ORCPT=orcpt)
        return line


def _left(data: Reply, answers: Sequence[tuple[QueuedRecipient, Reply]]) -> list[QueuedRecipient]:
    """RFC 5321 4.5.3.1.10: 452 after others were accepted means the rest at once, in a transaction of their own."""
    if not data.positive:
        return []
    return [recipient for recipient, reply in answers if reply.code == 452 and not reply.enhanced.startswith("4.2.")]


def _perhaps_taken(trouble: HostTrouble) -> Reply:
    return Reply(451, (f"4.4.2 {trouble.public_text} after the whole message was sent; it may have been taken",))


def _too_many(reply: Reply) -> Reply:
    """RFC 5321 4.5.3.1.10: an answer of 552 to RCPT means too many recipients, as 452 does."""
    return Reply(452, reply.lines) if reply.code == 552 and not reply.enhanced.startswith("5.2.") else reply


def _out_of_step(what: str) -> Reply:
    """A yes to what was not yet said is an answer to something else: taken for the message's, the message would be lost."""
    return Reply(451, (f"4.5.0 the server answered {what} with a yes, which makes no sense",))


def _parameters(**given: str) -> bytes:
    return b"".join(f" {name}={value}".encode() for name, value in given.items() if value and value.isprintable())


def _open(path: str, size_bytes: int) -> tuple[BinaryIO, bytes]:
    file = open(path, "rb")  # noqa: SIM115 - the caller closes it
    if os.fstat(file.fileno()).st_size != size_bytes:
        file.close()
        raise DamagedSpoolFile(f"{path} has another size than it was written with")
    return file, file.read(_CHUNK_BYTES)


def _is_text(path: str) -> bool:
    """Lines of at most 998 octets that end in CRLF, and no NUL: what DATA can carry (RFC 6152 2)."""
    held = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            if chunk.endswith(b"\r"):
                chunk += file.read(1)
            if b"\0" in chunk or chunk.count(b"\n") != (pairs := chunk.count(b"\r\n")) or chunk.count(b"\r") != pairs:
                return False
            lines = chunk.split(b"\r\n")
            if held + len(lines[0]) > _LINE_BYTES or max(map(len, lines)) > _LINE_BYTES:
                return False
            held = len(lines[-1]) + (held if len(lines) == 1 else 0)
    return True


def _ascii_header(path: str) -> bool:
    with open(path, "rb") as file:
        block = file.read(_HEADER_BYTES)
    end = block.find(b"\r\n\r\n")
    return block[: end if end >= 0 else len(block)].isascii() and (end >= 0 or os.path.getsize(path) <= len(block))
