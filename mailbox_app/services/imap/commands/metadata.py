"""GETMETADATA and SETMETADATA. RFC 5464.

Reading needs `l` and `r`, as does writing one's private entries; writing shared ones needs `l` and `w` (RFC 5464 3.3).
The server's shared entries are the administrator's, but for the name of the script that runs on events in all of an account's
mailboxes (RFC 6785): that one is the account's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mailbox_app.delivery.mailbox_events import SCRIPT_ENTRY
from mailbox_app.errors import StoreError
from mailbox_app.ids import MailboxId
from mailbox_app.proto.imap.metadata import MetadataChange, MetadataQuery, parse_getmetadata, parse_setmetadata
from mailbox_app.services.imap.annotations import (
    SPECIAL_USE,
    metadata_line,
    of_mailbox,
    server_annotations,
    stored_key,
)
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.commands.mailboxes import special_use
from mailbox_app.services.imap.namespaces import Located, account_of, locate, permission_denied
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session
from mailbox_app.store.model import MailboxInfo
from mailbox_app.store.notes import ACCOUNT_NOTES, MAX_VALUE_BYTES


async def get_metadata(session: Session, request: Request, query: MetadataQuery) -> str | None:
    """Values of entries and of those below them."""

    def work() -> tuple[str, Mapping[str, bytes]]:
        if not query.mailbox:
            return "", server_annotations(session)
        located, info = _mailbox(session, query.mailbox, "lr")
        return located.shown, of_mailbox(session, located.ref, info)

    shown, known = await session.offload(work)
    found: dict[str, bytes | None] = dict(_asked_for(query, known))
    too_long = [
        len(value) for value in found.values() if value and query.max_size is not None and len(value) > query.max_size
    ]
    if too_long:
        found = {entry: value for entry, value in found.items() if value is None or len(value) <= (query.max_size or 0)}
    if found:
        session.write(metadata_line(session, shown, found))
    return f"[METADATA LONGENTRIES {max(too_long)}] GETMETADATA done" if too_long else None


def _asked_for(query: MetadataQuery, known: Mapping[str, bytes]) -> Iterable[tuple[str, bytes | None]]:
    """NIL for an entry that is named and absent; those below are told only when they are there."""
    for entry in query.entries:
        if entry in known:
            yield entry, known[entry]
        elif query.depth == 0:
            yield entry, None
        if query.depth != 0:
            for name, value in known.items():
                if name.startswith(entry + "/"):
                    level = name[len(entry) + 1 :].count("/") + 1
                    if query.depth is None or level <= query.depth:
                        yield name, value


async def set_metadata(session: Session, request: Request, change: MetadataChange) -> None:
    """All entries or none."""
    shared = any(entry.startswith("/shared/") for entry in change.values)
    private = any(entry.startswith("/private/") for entry in change.values)

    def work() -> None:
        if change.mailbox:
            located, info = _mailbox(session, change.mailbox, "lw" * shared + "lr" * private)
            ref, mailbox_id = located.ref, info.mailbox_id
            if SCRIPT_ENTRY in change.values and ref.account_id != account_of(session).account_id:
                raise permission_denied()  # the script is the owner's and acts in the owner's name
            if SPECIAL_USE in change.values and ref.account_id == account_of(session).account_id:
                _set_special_use(session, mailbox_id, change)
                return
        elif shared and any(entry.startswith("/shared/") and entry != SCRIPT_ENTRY for entry in change.values):
            raise permission_denied()
        else:
            ref, mailbox_id = account_of(session).ref, ACCOUNT_NOTES
        values = {stored_key(session, ref, entry): value for entry, value in change.values.items()}
        session.service.deps.store.notes(ref).annotate(mailbox_id, values)

    try:
        await session.offload(work)
    except StoreError as error:
        if error.code == "store.note_too_large":
            raise Refusal("Value too large", f"METADATA MAXSIZE {MAX_VALUE_BYTES}") from error
        if error.code == "store.too_many_notes":
            raise Refusal("No room for more annotations", "METADATA TOOMANY") from error
        raise


def _set_special_use(session: Session, mailbox_id: MailboxId, change: MetadataChange) -> None:
    if len(change.values) > 1:
        raise Refusal("What a mailbox is for is set alone", "CANNOT")
    uses = (change.values[SPECIAL_USE] or b"").decode("ascii", "replace").upper().split()
    session.mail().set_special_use(mailbox_id, special_use(tuple(uses)))


def _mailbox(session: Session, name: str, need: str) -> tuple[Located, MailboxInfo]:
    located = locate(session, name, need)
    return located, session.service.deps.store.account(located.ref).mailbox(located.name)


GETMETADATA = Command(
    "GETMETADATA", State.LOGGED_IN, Does.NOTHING, "METADATA", "RFC 5464 4.2", get_metadata, parse_getmetadata
)  # fmt: skip
SETMETADATA = Command(
    "SETMETADATA", State.LOGGED_IN, Does.NOTHING, "METADATA-SERVER", "RFC 5464 4.3", set_metadata, parse_setmetadata
)  # fmt: skip
