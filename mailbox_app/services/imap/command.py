"""A command is a row: what it is called, when it may run, what the dispatcher does around it, who parses and who acts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Flag, IntFlag, auto
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mailbox_app.proto.imap.grammar import Cursor

if TYPE_CHECKING:
    from mailbox_app.services.imap.session import Session

Arguments = TypeVar("Arguments")


class State(IntFlag):
    """RFC 9051 3. A row may name several."""

    NOT_AUTHENTICATED = 1
    AUTHENTICATED = 2
    SELECTED = 4
    LOGGED_IN = 6
    ANY = 7


class Does(Flag):
    """What the dispatcher does for a command."""

    NOTHING = 0
    KEEPS_NUMBERS = auto()
    """Uses sequence numbers: no EXPUNGE may be told while it runs (RFC 9051 7.5.1); does not hold for its UID form."""
    HAS_UID_FORM = auto()
    """`UID <verb>` exists too."""
    TAKES_NO_NUMBERS = auto()
    """Its form without UID neither takes nor tells sequence numbers, so it stays allowed under UIDONLY."""
    LOOKS = auto()
    """Always asks the store for news at its end, not only after a hint."""
    STREAMS = auto()
    """Its message literal is handed to the handler piece by piece, see `Session.next_event`."""
    ANSWERS_ITSELF = auto()
    """Writes its own tagged answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One command being worked on."""

    tag: bytes
    verb: str
    """Upper case, without UID."""
    uid: bool
    """The UID form."""
    text: bytes
    """The command's bytes with its literals; for a streaming command up to the literal's announcement."""


def no_arguments(cursor: Cursor) -> None:
    """Parser of commands that take nothing."""
    cursor.end()


@dataclass(frozen=True, slots=True)
class Command(Generic[Arguments]):
    """One row of the table. `parse` starts right after the verb and need not check that nothing follows."""

    verb: str
    states: State
    flags: Does
    capability: str
    """Advertised once logged in; empty for what the base protocol has."""
    rfc: str
    handler: Callable[[Session, Request, Arguments], Awaitable[str | None]]
    """The text of the OK answer, with its code; None for "<verb> done"."""
    parse: Callable[[Cursor], Arguments]


AnyCommand = Command[Any]
