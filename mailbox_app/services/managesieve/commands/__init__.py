"""The command table: one tuple of rows, one file per small family of verbs."""

from __future__ import annotations

from mailbox_app.services.managesieve.command import Command
from mailbox_app.services.managesieve.commands.authenticate import AUTHENTICATE, UNAUTHENTICATE
from mailbox_app.services.managesieve.commands.connection import CAPABILITY, LOGOUT, NOOP, STARTTLS
from mailbox_app.services.managesieve.commands.scripts import (
    CHECKSCRIPT,
    DELETESCRIPT,
    GETSCRIPT,
    HAVESPACE,
    LISTSCRIPTS,
    PUTSCRIPT,
    RENAMESCRIPT,
    SETACTIVE,
)

COMMANDS: tuple[Command, ...] = (
    CAPABILITY,
    STARTTLS,
    AUTHENTICATE,
    UNAUTHENTICATE,
    LOGOUT,
    NOOP,
    HAVESPACE,
    PUTSCRIPT,
    CHECKSCRIPT,
    LISTSCRIPTS,
    SETACTIVE,
    GETSCRIPT,
    DELETESCRIPT,
    RENAMESCRIPT,
)
