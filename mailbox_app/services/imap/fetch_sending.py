"""Sending what a fetch plan makes: from the arrays on the loop, everything else made in a thread, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from mailbox_app.net.connection import ConnectionGone
from mailbox_app.services.imap.bodies import CutShort
from mailbox_app.services.imap.fetching import FetchPlan
from mailbox_app.services.imap.session import Session


async def send_fetched(session: Session, plan: FetchPlan, positions: Sequence[int]) -> bool:
    """FETCH answers for ascending, loaded positions of the selected mailbox; True: from the arrays alone."""
    if plan.from_arrays:
        for piece in plan.array_lines(positions):
            session.write(piece)
            await session.drain()
        return True
    view = session.view
    try:
        pieces = plan.produce(lambda: session.mail_of(view), positions)
        await session.send_produced(partial(session.service.deps.offload.run, _next_piece, pieces))
    except CutShort as error:  # inside a literal nothing can be told any more
        session.service.unexpected(session, error)
        session.abort()
        raise ConnectionGone from error
    return False


def _next_piece(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    piece = next(pieces, None)
    return (b"", False) if piece is None else (piece, True)
