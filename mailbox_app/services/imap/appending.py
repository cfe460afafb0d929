"""Taking the messages of one APPEND or REPLACE in: literals streamed, URLs copied, each ready for the store when it ends.

A lone message stays in memory up to a bound, then in a temporary file; of several, each is staged in the account's `tmp/`
as it ends, so that memory does not grow with their number. After a fault the rest of the command is read and dropped,
so that the next one is found; nothing of what came is stored.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from mailbox_app.errors import MailboxError, ProtocolError, StoreError
from mailbox_app.net.service import Goodbye
from mailbox_app.proto.imap.append import AppendReader, Begin, Data, Step, Url
from mailbox_app.proto.imap.framing import Announced, Complete, Overlong
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.binary_content import without_nul
from mailbox_app.services.imap.catenating import UrlSource
from mailbox_app.services.imap.commands.store import system_bits
from mailbox_app.services.imap.namespaces import Located
from mailbox_app.services.imap.permissions import permitted
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session
from mailbox_app.store.interface import Content, NewMessage, Staged

MEMORY_BYTES = 1 << 18
"""More of one message goes to a file in pieces of this size; ten clients with large ones must not be felt."""
MAX_MESSAGES = 10_000
"""Of one command."""
_RENDERED_BYTES = 32 << 20
"""What all messages of one command may put into the index: it is kept in memory until the last one came."""
SKIP_LIMIT_BYTES = 1 << 30
"""A refused non-synchronising literal larger than this is not waited for."""


class IncomingMessage:
    """The bytes of one message as they come."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pieces: list[bytes] = []
        self._held = 0
        self._file: BinaryIO | None = None
        self.size = 0
        self.holds_nul = False

    async def add(self, data: bytes) -> None:
        """The next bytes; `store.full` when they cannot be kept."""
        self._pieces.append(data)
        self._held += len(data)
        self.size += len(data)
        if self._held > MEMORY_BYTES:
            await self._write_out()

    async def _write_out(self) -> None:
        pieces, self._pieces, self._held = self._pieces, [], 0
        try:
            if self._file is None:
                directory = self._session.service.deps.temporary_dir
                opened = await self._session.offload(tempfile.TemporaryFile, buffering=0, dir=directory)
                self._file = cast("BinaryIO", opened)
            await self._session.offload(_write_all, self._file.fileno(), pieces)
        except OSError as error:
            raise StoreError("store.full", "storage is not writable now", temporary=True) from error

    async def content(self) -> Content:
        """What was received, ready for the store."""
        if self.holds_nul:
            return await self._converted()
        if self._file is None:
            body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            return Content(b"", body, self.size)
        if self._pieces:
            await self._write_out()
        self._file.seek(0)
        return Content(b"", self._file, self.size)

    async def _converted(self) -> Content:
        """Binary parts as base64: no other command can show a NUL, nor can most programs that read the files."""
        if self._pieces or self._file is None:
            await self._write_out()
        source = self._file
        assert source is not None
        try:
            converted = await self._session.offload(without_nul, source, self._session.service.deps.temporary_dir)
        except OSError as error:
            raise StoreError("store.full", "storage is not writable now", temporary=True) from error
        if converted is None:  # RFC 3516 4.4
            raise Refusal("NUL is allowed in binary parts only", "UNKNOWN-CTE")
        source.close()
        self._file = converted
        self.size = os.fstat(converted.fileno()).st_size
        self.holds_nul = False
        return Content(b"", converted, self.size)

    def close(self) -> None:
        """Forget the bytes; the temporary file is gone with it."""
        self._pieces.clear()
        if self._file is not None:
            self._file.close()


def _write_all(descriptor: int, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        view = memoryview(piece)
        while view:
            view = view[os.write(descriptor, view) :]


async def _added(message: IncomingMessage, piece: bytes, literal: Data) -> MailboxError | Refusal | None:
    """Keep a piece of a literal; what went wrong is told, and raised when the rest of it was read."""
    if b"\0" in piece:
        if not literal.binary:  # RFC 9051 4.3: NUL only in a literal8
            return Refusal("Message contains NUL", "CANNOT")
        message.holds_nul = True
    try:
        await message.add(piece)
    except StoreError as error:
        return error
    return None


@dataclass(frozen=True, slots=True)
class Taken:
    """One message that came whole."""

    message: Content | Staged
    flags: int
    keywords: tuple[str, ...]
    seconds: int | None

    def new_message(self, mailbox: str) -> NewMessage:
        """For the store; of a staged one."""
        assert isinstance(self.message, Staged)
        return NewMessage(self.message, mailbox, self.flags, self.keywords, self.seconds)


class Intake:
    """The messages of one command; `close` in any case, it removes what was not stored."""

    def __init__(self, session: Session, target: Located, *, single: bool = False) -> None:
        self._session = session
        self._target = target
        self._single = single
        self._urls = UrlSource(session)
        self._begun: Begin | None = None
        self._current: IncomingMessage | None = None
        self._announced: Data | None = None
        self._complete = False
        self._mailbox_known = False
        self._rendered_bytes = 0
        self.taken: list[Taken] = []

    async def run(self, reader: AppendReader, steps: Sequence[Step]) -> Sequence[Taken]:
        """All messages of the command whose first words said `steps`."""
        try:
            while True:
                last = steps[-1]
                self._announced = last if isinstance(last, Data) else None
                self._complete = self._complete or self._announced is None
                for step in steps:
                    await self._take(step)
                if self._complete:
                    return self.taken
                steps = await self._next_steps(reader)
        except (MailboxError, Refusal):
            await self._skip_rest()
            raise

    async def _next_steps(self, reader: AppendReader) -> Sequence[Step]:
        session = self._session
        while True:
            event = await session.next_event()
            if isinstance(event, Complete):
                self._complete = True
                cursor = Cursor(event.data, utf8=session.utf8)
                steps = reader.read(cursor)
                cursor.end()
                return steps
            if isinstance(event, Announced):
                try:
                    return reader.read(Cursor(event.prefix, utf8=session.utf8))
                except ProtocolError:  # a literal that is no message: a URL, or wrong syntax, told at the end
                    _check_skip(event)
                    if not session.framer.collect():
                        self._complete = True
                        raise
                if event.synchronising:
                    session.continuation()
            elif isinstance(event, Overlong):
                self._complete = True
                raise ProtocolError("imap.limit", "line too long")

    async def _take(self, step: Step) -> None:
        if isinstance(step, Begin):
            await self._begin(step)
        elif isinstance(step, Data):
            await self._data(step)
        elif isinstance(step, Url):
            assert self._current is not None
            await self._urls.copy(step.url, self._current, self._session.service.config.limits.max_message_bytes)
        else:
            await self._end()

    async def _begin(self, begin: Begin) -> None:
        system_bits(begin.flags, recent_passes=True)
        if self.taken:
            if self._single:
                raise Refusal("One message only", status="BAD")
            if len(self.taken) >= MAX_MESSAGES or self._rendered_bytes > _RENDERED_BYTES:
                raise Refusal("Too many messages at once", "LIMIT")
            await self._stage_last()
        if begin.catenated and not self._mailbox_known:
            # Before any URL is looked at: a client that may make the mailbox and try again is told so first.
            await self._session.offload(self._look_up)
            self._mailbox_known = True
        self._begun = begin
        self._current = IncomingMessage(self._session)

    def _look_up(self) -> None:
        self._session.service.deps.store.account(self._target.ref).mailbox(self._target.name)

    async def _data(self, data: Data) -> None:
        session, message = self._session, self._current
        assert message is not None
        assert self._begun is not None
        if message.size + data.size > session.service.config.limits.max_message_bytes:
            raise Refusal("Message too large", "TOOBIG")  # RFC 7889 4
        if not data.size and not self._begun.catenated:
            raise Refusal("Message is empty", "CANNOT")
        if data.synchronising:
            session.continuation("OK")
        session.framer.stream()
        self._announced = None
        fault: MailboxError | Refusal | None = None
        while True:
            chunk = await session.read_chunk()
            if fault is None:
                fault = await _added(message, chunk.data, data)
            if chunk.last:
                break
        if fault is not None:
            raise fault

    async def _end(self) -> None:
        assert self._current is not None
        assert self._begun is not None
        if not self._current.size:
            raise Refusal("Message is empty", "CANNOT")
        begin = self._begun
        bits = system_bits(begin.flags, recent_passes=True)
        bits, keywords = permitted(self._target.rights, bits, begin.flags.keywords)
        self.taken.append(Taken(await self._current.content(), bits, keywords, begin.seconds))
        if len(self.taken) > 1 or self._single:
            await self._stage_last()

    async def _stage_last(self) -> None:
        last = self.taken[-1]
        if isinstance(last.message, Content):
            store = self._session.service.deps.store
            staged = await self._session.offload(store.stage, self._target.ref, last.message, synced=False)
            self.taken[-1] = Taken(staged, last.flags, last.keywords, last.seconds)
            rendered = staged.rendered
            self._rendered_bytes += len(rendered.header) + len(rendered.envelope) + 2 * len(rendered.bodystructure)
            if self._current is not None:
                self._current.close()

    async def _skip_rest(self) -> None:
        """Leave the command behind."""
        session = self._session
        if self._complete or session.closed:
            return
        if self._announced is not None:
            drop_literal(session, self._announced)
            return
        event = await session.next_event()
        if isinstance(event, Announced):
            drop_literal(session, event)

    @staticmethod
    def leave(session: Session, steps: Sequence[Step]) -> None:
        """Drop a command none of whose literals was taken."""
        if isinstance(steps[-1], Data):
            drop_literal(session, steps[-1])

    def stored(self) -> None:
        """The staged files are the store's now."""
        self.taken.clear()

    async def close(self) -> None:
        """Remove what was staged and not stored."""
        if self._current is not None:
            self._current.close()
        left = [each.message for each in self.taken if isinstance(each.message, Staged)]
        self.taken.clear()
        if left:
            await self._session.offload(self._discard, left)

    def _discard(self, left: Sequence[Staged]) -> None:
        for staged in left:
            self._session.service.deps.store.discard(staged)


def _check_skip(announced: Data | Announced) -> None:
    if not announced.synchronising and announced.size > SKIP_LIMIT_BYTES:
        raise Goodbye("[TOOBIG] Literal too large")


def drop_literal(session: Session, announced: Data | Announced) -> None:
    """Refuse an announced literal, and with it the rest of the command."""
    _check_skip(announced)
    session.framer.refuse()
