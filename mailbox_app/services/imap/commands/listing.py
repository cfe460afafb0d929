"""LIST with everything it may be asked for, and LSUB. RFC 9051 6.3.9, RFC 5258, RFC 3501 6.3.9."""

from __future__ import annotations

from mailbox_app.proto.imap.listing import Listing, parse_list, parse_lsub
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.listings import list_lines, lsub_lines
from mailbox_app.services.imap.session import Session

_LINES_AT_ONCE = 500


async def list_mailboxes(session: Session, request: Request, listing: Listing) -> None:
    """Mailboxes that exist, and names that only have children."""
    if listing.asks_for_delimiter:
        session.line('LIST (\\Noselect) "/" ""')
        return
    if "HIGHESTMODSEQ" in listing.status:
        session.enable_condstore()
    await _tell(session, await session.offload(list_lines, session, listing))


async def list_subscribed(session: Session, request: Request, listing: Listing) -> None:
    """Subscribed names, existing or not."""
    if listing.asks_for_delimiter:
        session.line('LSUB (\\Noselect) "/" ""')
        return
    await _tell(session, await session.offload(lsub_lines, session, listing))


async def _tell(session: Session, lines: list[bytes]) -> None:
    for start in range(0, len(lines), _LINES_AT_ONCE):
        session.write(*lines[start : start + _LINES_AT_ONCE])
        await session.drain()


LIST = Command("LIST", State.LOGGED_IN, Does.NOTHING, "LIST-EXTENDED", "RFC 9051 6.3.9", list_mailboxes, parse_list)
LSUB = Command("LSUB", State.LOGGED_IN, Does.NOTHING, "", "RFC 3501 6.3.9", list_subscribed, parse_lsub)
