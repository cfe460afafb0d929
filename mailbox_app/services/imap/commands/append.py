"""APPEND of one message or several. RFC 9051 6.3.12, APPENDUID: RFC 4315 3, MULTIAPPEND: RFC 3502, CATENATE: RFC 4469.

Several are stored all or none. A lone one shares its commit with whatever else arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.errors import StoreError
from mailbox_app.proto.imap.append import AppendReader, Step
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.sequence import compress
from mailbox_app.services.imap.appending import Intake, Taken
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.namespaces import USERS_PREFIX, Located, locate
from mailbox_app.services.imap.replies import Refusal, refusal
from mailbox_app.services.imap.session import Session
from mailbox_app.services.imap.telling import tell_new
from mailbox_app.store.appender import Place
from mailbox_app.store.interface import Content
from mailbox_app.store.model import Appended, FlagMode, SpecialUse
from mailbox_app.store.twins import find_twin


@dataclass(frozen=True, slots=True)
class Appending:
    """The command up to its first message literal, or all of it."""

    mailbox: str
    reader: AppendReader
    steps: Sequence[Step]


def parse_append(cursor: Cursor) -> Appending:
    """Mailbox, then messages up to the first literal that is streamed."""
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    reader = AppendReader()
    return Appending(mailbox, reader, reader.read(cursor))


async def append(session: Session, request: Request, appending: Appending) -> str:
    """Take the messages in, store them, tell their UIDs."""
    target, intake = await begin_intake(session, appending)
    try:
        taken = await intake.run(appending.reader, appending.steps)
        appended = await _store(session, intake, target, taken)
    except StoreError as error:
        raise store_refusal(session, error) from error
    finally:
        await intake.close()
    first = appended[0]
    if session.selected is not None and session.selected.mailbox_id == first.mailbox_id:
        session.on_hint()
    await tell_new(session, target.ref, first.mailbox_id, [each.uid for each in appended], "APPEND")
    return f"[APPENDUID {first.uidvalidity} {compress(each.uid for each in appended)}] APPEND done"


async def begin_intake(session: Session, appending: Appending, *, single: bool = False) -> tuple[Located, Intake]:
    """Where the messages go, and what takes them; a refusal has left the command behind."""
    name = appending.mailbox
    try:
        if name.startswith(USERS_PREFIX):
            target = await session.offload(locate, session, name, "i")
        else:
            target = locate(session, name, "i")  # asks no store
    except (StoreError, Refusal) as error:
        Intake.leave(session, appending.steps)
        raise refusal(error, creatable=True) if isinstance(error, StoreError) else error from error
    return target, Intake(session, target, single=single)


def store_refusal(session: Session, error: StoreError) -> Refusal:
    """The answer to what the store says to a new message."""
    if error.code == "store.over_quota":
        session.service.deps.metrics.quota_exceeded.inc()
    return refusal(error, creatable=True)


async def _store(session: Session, intake: Intake, target: Located, taken: Sequence[Taken]) -> Sequence[Appended]:
    """Durable when this returns."""
    if len(taken) == 1:
        (lone,) = taken
        if session.service.config.submission.save_sent and isinstance(lone.message, Content):
            known = await session.offload(_sent_before, session, target, lone, lone.message)
            if known is not None:
                return [known]
        place = Place(target.name, lone.flags, lone.keywords, lone.seconds)
        return [await session.service.appender.append(target.ref, lone.message, place)]
    messages = [each.new_message(target.name) for each in taken]
    intake.stored()

    def work() -> Sequence[Appended | Exception]:
        return session.service.deps.store.account(target.ref).append(messages, atomic=True)

    return [each for each in await session.offload(work) if isinstance(each, Appended)]


def _sent_before(session: Session, target: Located, taken: Taken, content: Content) -> Appended | None:
    """The copy of a message that submission has just kept in this mailbox, with the flags that the client gives it (D22)."""
    deps = session.service.deps
    account = deps.store.account(target.ref)
    mailbox = account.mailbox(target.name)
    if mailbox.special_use is not SpecialUse.SENT:
        return None
    twin = find_twin(account, mailbox, content, deps.clock.epoch_seconds())
    if twin is None:
        return None
    account.store_flags(mailbox.mailbox_id, [twin.uid], FlagMode.ADD, taken.flags, taken.keywords)
    return twin


APPEND = Command(
    "APPEND", State.LOGGED_IN, Does.STREAMS, "MULTIAPPEND", "RFC 9051 6.3.12", append, parse_append
)  # fmt: skip
