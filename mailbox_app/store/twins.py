"""Whether a mailbox just got a message byte for byte: so that a message that was sent is there once.

Only whole equality counts, and only among the latest messages of the last minutes: what differs in one byte is another message and
is stored. Blocks: call off the loop.
"""

from __future__ import annotations

from typing import BinaryIO

from mailbox_app.errors import StoreError
from mailbox_app.ids import Uid
from mailbox_app.store.interface import Account, Content
from mailbox_app.store.model import Appended, MailboxInfo

_LATEST = 20
_SECONDS = 900
_PIECE_BYTES = 262_144


def find_twin(account: Account, mailbox: MailboxInfo, content: Content, now_seconds: float) -> Appended | None:
    """Where the same bytes lie already; the content can be read from its start afterwards."""
    sizes = account.sizes(mailbox.mailbox_id)
    uids = [
        Uid(uid)
        for uid, size in zip(sizes.uids[-_LATEST:], sizes.size_bytes[-_LATEST:], strict=True)
        if size == content.size_bytes
    ]
    for message in account.messages(mailbox.mailbox_id, uids):
        if abs(now_seconds - message.internal_seconds) > _SECONDS:
            continue
        try:
            with account.open_message(mailbox.mailbox_id, message.uid) as file:
                is_same = _equals(file, content)
        except StoreError as error:
            if error.code != "store.no_such_message":
                raise
            continue  # expunged meanwhile
        if is_same:
            return Appended(mailbox.mailbox_id, sizes.uidvalidity, message.uid, message.modseq)
    return None


def _equals(file: BinaryIO, content: Content) -> bool:
    if file.read(len(content.prefix)) != content.prefix:
        return False
    body = content.body
    if isinstance(body, bytes):
        return file.read(len(body) + 1) == body
    try:
        body.seek(0)
        while piece := body.read(_PIECE_BYTES):
            if file.read(len(piece)) != piece:
                return False
        return not file.read(1)
    finally:
        body.seek(0)
