"""COMPRESS DEFLATE. RFC 4978."""

from __future__ import annotations

from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session


def parse_compress(cursor: Cursor) -> bytes:
    """The mechanism."""
    cursor.space()
    return cursor.word()


async def compress(session: Session, request: Request, mechanism: bytes) -> None:
    """Answer as it is, then compress both ways."""
    if mechanism != b"DEFLATE":
        raise Refusal("DEFLATE is the only mechanism", status="BAD")
    if session.is_compressed:
        raise Refusal("Compressed already", "COMPRESSIONACTIVE")
    session.write(request.tag, b" OK DEFLATE active\r\n")
    session.start_compression()


COMPRESS = Command(
    "COMPRESS", State.LOGGED_IN, Does.ANSWERS_ITSELF, "COMPRESS=DEFLATE", "RFC 4978", compress, parse_compress
)
