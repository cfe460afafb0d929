"""The command table: one tuple of rows, one file per verb or small family of verbs."""

from __future__ import annotations

from mailbox_app.services.pop3.command import Command
from mailbox_app.services.pop3.commands.auth import AUTH
from mailbox_app.services.pop3.commands.capabilities import CAPA
from mailbox_app.services.pop3.commands.languages import LANG, UTF8
from mailbox_app.services.pop3.commands.listing import LIST, STAT, UIDL
from mailbox_app.services.pop3.commands.login import PASS, USER
from mailbox_app.services.pop3.commands.marking import DELE, NOOP, RSET
from mailbox_app.services.pop3.commands.quit import QUIT
from mailbox_app.services.pop3.commands.retrieval import RETR, TOP
from mailbox_app.services.pop3.commands.stls import STLS

COMMANDS: tuple[Command, ...] = (
    CAPA,
    STLS,
    USER,
    PASS,
    AUTH,
    UTF8,
    LANG,
    STAT,
    LIST,
    UIDL,
    RETR,
    TOP,
    DELE,
    NOOP,
    RSET,
    QUIT,
)
