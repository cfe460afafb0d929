"""DATA and BDAT: content from the stream into an `IncomingBody`, in constant memory, then on to `receive`.

Whatever is wrong with a content (too large, bad line endings, a full disk), it is read to its true end before the
answer, so the stream stays in step; only a content far beyond the limit ends the session instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from mailbox_app.delivery.mail import Body
from mailbox_app.proto.smtp.dot_stream import DotStream, LineEndings
from mailbox_app.proto.smtp.replies import Refusal, Reply
from mailbox_app.services.smtp import lmtp
from mailbox_app.services.smtp.body import IncomingBody

if TYPE_CHECKING:
    from mailbox_app.services.smtp.session import SmtpSession

_MAX_CHUNK_DIGITS = 12
_SMALL_CHUNK_BYTES = 4_096
"""Chunks below this count as commands that bring nothing on its way."""


async def data(session: SmtpSession, argument: bytes) -> Reply | bytes:
    """DATA. RFC 5321 4.1.1.4."""
    transaction, service = session.transaction, session.service
    try:
        _check_data(session, argument)
    except Refusal:
        # What waits behind a refused DATA is content, perhaps a stranger's: never read it as commands.
        session.ending = session.has_input
        raise
    session.reply(Reply(354, "", "End the message with <CR><LF>.<CR><LF>"))
    _expect_answers(session)
    transaction.in_content = True
    transaction.chunks = body = service.new_body()
    progress = _Progress(session)
    stream = DotStream(repair=session.account is not None)
    while not stream.done:
        chunk = await session.next_chunk(progress.deadline())
        await progress.keep(body, stream.feed(chunk), len(chunk))
    session.give_back(stream.rest)
    return await _finish(session, body, stream.fault, too_large=progress.too_large)


async def bdat(session: SmtpSession, argument: bytes) -> Reply | bytes:
    """BDAT: so many octets follow, whatever we answer. RFC 3030 2."""
    transaction = session.transaction
    count, last = _parse_bdat(session, argument)
    session.idle_command_count += count < _SMALL_CHUNK_BYTES
    if last:
        _expect_answers(session)
    if transaction.chunks is None and transaction.chunks_failed is None:
        try:
            _check_recipients(session)
            transaction.chunks = session.service.new_body()
            transaction.endings = LineEndings(repair=session.account is not None)
        except Refusal as refusal:
            transaction.chunks_failed = refusal
    await _read_chunk(session, count)
    failed = transaction.chunks_failed
    if failed is not None:
        transaction.is_over = transaction.sender is None or last
        raise failed
    assert transaction.chunks is not None
    if not last:
        return Reply(250, "2.0.0", f"{count} octets received")
    if transaction.chunks.add(transaction.endings.finish()):
        await transaction.chunks.spill()
    return await _finish(session, transaction.chunks, transaction.endings.fault)


async def _read_chunk(session: SmtpSession, count: int) -> None:
    """Exactly so many octets, kept while nothing is wrong with them."""
    transaction = session.transaction
    progress = _Progress(session)
    transaction.in_content = True
    while count:
        chunk = await session.next_chunk(progress.deadline())
        if len(chunk) > count:
            session.give_back(chunk[count:])
            chunk = chunk[:count]
        count -= len(chunk)
        if transaction.chunks is None or transaction.chunks_failed is not None:
            await progress.keep(None, b"", len(chunk))
            continue
        await progress.keep(transaction.chunks, transaction.endings.feed(chunk), len(chunk))
        if progress.too_large:
            transaction.chunks_failed = _too_large()
    transaction.in_content = False


class _Progress:
    """Size and pace of one content."""

    def __init__(self, session: SmtpSession) -> None:
        self._session = session
        self._limits = session.service.limits
        self._limit_bytes = session.service.config.limits.max_message_bytes
        self._clock = session.service.clock
        self._started_at = self._clock.monotonic_seconds()
        self._received = 0
        self.too_large = False

    def deadline(self) -> float:
        """Until when the next piece must come."""
        limits = self._limits
        slowest = self._started_at + limits.content_seconds + self._received / limits.content_bytes_per_second
        return min(self._clock.monotonic_seconds() + limits.block_seconds, slowest)

    async def keep(self, body: IncomingBody | None, content: bytes, received: int) -> None:
        """Count a piece of the stream and keep its content, if there is one and it is not too much."""
        self._received += received
        if self._received > self._limit_bytes + self._limits.surplus_bytes:
            self._session.ending = True
            raise _too_large()
        if body is None or not content or self.too_large:
            return
        if body.size_bytes + len(content) > self._limit_bytes:
            self.too_large = True
            body.drop()
        elif body.add(content):
            await body.spill()


def _expect_answers(session: SmtpSession) -> None:
    """RFC 2033 4.2: LMTP has an answer for each accepted recipient, whatever becomes of the content."""
    if session.kind == "lmtp":
        session.answers_due = max(1, len(session.transaction.accepted))


async def _finish(session: SmtpSession, body: IncomingBody, fault: str, *, too_large: bool = False) -> Reply | bytes:
    """The content is read: refuse it or hand it on. The transaction ends either way."""
    session.transaction.in_content = False
    try:
        content = await _accepted(session, body, fault, too_large=too_large)
        reply = await session.service.receiver.receive(session, content, body.size_bytes)
    except Exception:
        session.transaction.is_over = True
        raise
    answer = reply if session.kind != "lmtp" else lmtp.answer_each(session, reply, session.transaction.replies)
    session.forget_transaction()
    session.message_count += 1
    session.error_count = session.idle_command_count = 0
    return answer


async def _accepted(session: SmtpSession, body: IncomingBody, fault: str, *, too_large: bool) -> Body:
    if fault:
        text = f"The message holds {fault}; lines end with CR LF only"
        raise Refusal(554, "5.6.0", text, reason="bad_line_ending")
    if too_large:
        raise _too_large()
    try:
        return await body.whole()
    except OSError as error:
        structlog.get_logger("smtp").error("content_not_kept", session_id=session.session_id, error=str(error))
        raise Refusal(452, "4.3.1", "Insufficient storage, try again later", reason="storage") from error


def _check_data(session: SmtpSession, argument: bytes) -> None:
    if argument:
        raise Refusal(501, "5.5.4", "DATA takes no argument", reason="syntax")
    if session.transaction.chunks is not None:  # RFC 3030 3
        raise Refusal(503, "5.5.1", "DATA cannot follow BDAT", reason="sequence")
    _check_recipients(session)


def _check_recipients(session: SmtpSession) -> None:
    if session.transaction.sender is None:
        raise Refusal(503, "5.5.1", "Say MAIL first", reason="sequence")
    if not session.transaction.recipients:
        raise Refusal(554, "5.5.1", "No valid recipients", reason="sequence")


def _parse_bdat(session: SmtpSession, argument: bytes) -> tuple[int, bool]:
    words = argument.upper().split()
    last = words[1:] == [b"LAST"]
    if not words or not (last or len(words) == 1) or not words[0].isdigit() or len(words[0]) > _MAX_CHUNK_DIGITS:
        session.ending = True  # how much content follows is unknown: nothing behind it can be a command
        raise Refusal(501, "5.5.4", "BDAT takes a count and perhaps LAST", reason="syntax")
    return int(words[0]), last


def _too_large() -> Refusal:
    return Refusal(552, "5.3.4", "The message is too large", reason="too_large")
