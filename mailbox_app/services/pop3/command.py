"""A command is a row: what it is called, when it may run, what it takes, who acts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailbox_app.services.pop3.session import Session


class State(IntFlag):
    """RFC 1939 3; the UPDATE state is QUIT at work."""

    AUTHORIZATION = 1
    TRANSACTION = 2
    ANY = 3


class Takes(Enum):
    """What may follow the keyword."""

    NOTHING = 0
    MAYBE = 1
    SOMETHING = 2


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table."""

    verb: str
    states: State
    takes: Takes
    rfc: str
    handler: Callable[[Session, bytes], Awaitable[str | None]]
    """Given all behind the first space; the text of the +OK answer, or None when it wrote its own."""
