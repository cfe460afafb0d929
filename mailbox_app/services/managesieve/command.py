"""A command is a row: what it is called, when it may run, who acts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING

from mailbox_app.proto.managesieve.grammar import Request

if TYPE_CHECKING:
    from mailbox_app.services.managesieve.session import Session


class State(IntFlag):
    """RFC 5804 1.1: whether somebody is logged in."""

    STRANGER = 1
    LOGGED_IN = 2
    ANY = 3


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table."""

    verb: str
    states: State
    rfc: str
    handler: Callable[[Session, Request], Awaitable[str | None]]
    """The text of the OK answer, or None when it wrote its own."""
