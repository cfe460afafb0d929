"""ENABLE. RFC 5161; IMAP4rev2: RFC 9051 6.3.1, QRESYNC: RFC 7162 3.2.3, UTF8=ACCEPT: RFC 9755, UIDONLY: RFC 9586."""

from __future__ import annotations

from collections.abc import Mapping

from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.search_contexts import drop_numbered
from mailbox_app.services.imap.session import Session

IMPLIED: Mapping[str, tuple[str, ...]] = {
    "CONDSTORE": (),
    "QRESYNC": ("CONDSTORE",),
    "IMAP4REV2": (),
    "UTF8=ACCEPT": (),
    "UIDONLY": (),
}
"""What can be switched on, in upper case, and what comes with it."""


def parse_enable(cursor: Cursor) -> list[bytes]:
    """One or more capability names."""
    names: list[bytes] = []
    while not cursor.at_end() or not names:
        cursor.space()
        names.append(cursor.word())
    return names


async def enable(session: Session, request: Request, names: list[bytes]) -> None:
    """Switch on what we know; what we do not know is passed over. RFC 5161 3.1."""
    enabled: list[str] = []
    for raw in names:
        name = raw.decode("ascii", "replace").upper()
        if name not in IMPLIED or session.is_hidden(name):
            continue
        if name in session.enabled and name not in enabled:
            continue
        for each in (*IMPLIED[name], name):
            if each == "CONDSTORE":
                session.enable_condstore()
            session.enabled.add(each)
        if name not in enabled:
            enabled.append(name)
    if session.selected is not None:
        session.selected.uidonly = session.uidonly
        if session.uidonly:
            drop_numbered(session, session.selected)
    session.line(" ".join(["ENABLED", *enabled]))


ENABLE = Command("ENABLE", State.LOGGED_IN, Does.NOTHING, "ENABLE", "RFC 5161", enable, parse_enable)
