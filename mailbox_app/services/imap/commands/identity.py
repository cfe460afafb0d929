"""ID: who we are, and who the client says it is. RFC 2971."""

from __future__ import annotations

from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.session import Session

_MAX_FIELDS = 30
"""RFC 2971 3.3: at most 30 field-value pairs."""


def parse_id(cursor: Cursor) -> dict[bytes, bytes | None]:
    """NIL or a list of pairs."""
    cursor.space()
    fields: dict[bytes, bytes | None] = {}
    if cursor.accept(b"NIL"):
        return fields
    cursor.expect(b"(")
    while not cursor.accept(b")"):
        if fields:
            cursor.space()
        name = cursor.string().lower()
        cursor.space()
        fields[name] = cursor.nstring()
        if len(fields) > _MAX_FIELDS:
            raise cursor.fail("at most 30 pairs")
    return fields


async def identity(session: Session, request: Request, fields: dict[bytes, bytes | None]) -> None:
    """Tell our name; the version is nobody's business before a bug is looked for."""
    name = (fields.get(b"name") or b"")[:60].decode("utf-8", "replace")
    session.service.deps.log.debug("client", session=session.session_id, name=name)
    session.client_name = name
    session.hide_capabilities()
    session.line('ID ("name" "Mailbox")')


ID = Command("ID", State.ANY, Does.NOTHING, "ID", "RFC 2971", identity, parse_id)
