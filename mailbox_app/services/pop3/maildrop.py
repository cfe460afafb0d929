"""What a session knows of its messages: numbers, sizes, marks. Fixed at login, whatever happens to the mailbox. RFC 1939 4.

Twelve bytes a message; the marks cost one more, once there are any.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from mailbox_app.ids import MailboxId, Uid
from mailbox_app.services.pop3.replies import Refusal
from mailbox_app.store.interface import MaildropLock
from mailbox_app.store.model import Sizes

_LINES_A_PIECE = 2_000


class Maildrop:
    """The INBOX of one session, with its lock."""

    __slots__ = (
        "_lock",
        "_marks",
        "_size_bytes",
        "_uids",
        "deleted_bytes",
        "deleted_count",
        "mailbox_id",
        "total_bytes",
        "uidvalidity",
    )

    def __init__(self, mailbox_id: MailboxId, sizes: Sizes, lock: MaildropLock) -> None:
        self.mailbox_id = mailbox_id
        self.uidvalidity = sizes.uidvalidity
        self._uids: array[int] = sizes.uids
        self._size_bytes: array[int] = sizes.size_bytes
        self._lock = lock
        self.total_bytes = sum(sizes.size_bytes)
        """Of all messages, marked ones too."""
        self._marks = bytearray()
        self.deleted_count = 0
        self.deleted_bytes = 0

    @property
    def total_count(self) -> int:
        """All messages, marked ones too."""
        return len(self._uids)

    def index(self, number: int) -> int:
        """The place of a message that is there and not marked."""
        if not 1 <= number <= len(self._uids):
            raise Refusal("No such message")
        if self._marks and self._marks[number - 1]:
            raise Refusal("Message is marked as deleted")
        return number - 1

    def uid(self, index: int) -> Uid:
        """Of the message at this place."""
        return Uid(self._uids[index])

    def size(self, index: int) -> int:
        """Octets of the message at this place."""
        return self._size_bytes[index]

    def unique_id(self, index: int) -> str:
        """RFC 1939 7: the same in every session, also after the index was made anew, and never used again."""
        return f"{self.uidvalidity}.{self._uids[index]}"

    def mark(self, index: int) -> None:
        """To be removed at QUIT."""
        if not self._marks:
            self._marks = bytearray(len(self._uids))
        self._marks[index] = 1
        self.deleted_count += 1
        self.deleted_bytes += self._size_bytes[index]

    def unmark_all(self) -> None:
        """RSET."""
        self._marks = bytearray()
        self.deleted_count = self.deleted_bytes = 0

    def marked_uids(self) -> list[Uid]:
        """What QUIT removes, ascending."""
        return [Uid(uid) for uid, mark in zip(self._uids, self._marks, strict=False) if mark]

    def size_lines(self) -> Iterator[bytes]:
        """LIST, some thousand lines at a time."""
        for start, stop in self._spans():
            rows = enumerate(self._size_bytes[start:stop], start + 1)
            yield "".join([f"{number} {size}\r\n" for number, size in rows if self._is_there(number)]).encode("ascii")

    def unique_id_lines(self) -> Iterator[bytes]:
        """UIDL, some thousand lines at a time."""
        prefix = f" {self.uidvalidity}."
        for start, stop in self._spans():
            rows = enumerate(self._uids[start:stop], start + 1)
            text = "".join([f"{number}{prefix}{uid}\r\n" for number, uid in rows if self._is_there(number)])
            yield text.encode("ascii")

    def release(self) -> None:
        """Let the next session in."""
        self._lock.release()

    def _spans(self) -> Iterator[tuple[int, int]]:
        for start in range(0, len(self._uids), _LINES_A_PIECE):
            yield start, start + _LINES_A_PIECE

    def _is_there(self, number: int) -> bool:
        return not self._marks or not self._marks[number - 1]
