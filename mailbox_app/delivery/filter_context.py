"""What a running filter script asks: the message as it will be stored, the account's mailboxes, scripts to include, memory.

Everything is read when it is asked for, and once; the mailboxes of an account are listed once per message. Blocking: scripts that
can ask run off the loop.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mailbox_app.delivery.compiled_scripts import CompiledScripts
from mailbox_app.delivery.filter_memory import FilterMemory, Kind
from mailbox_app.delivery.header_block import read_header, rest_behind
from mailbox_app.delivery.mail import Body, Mail
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef, MailboxId
from mailbox_app.proto.header import Header
from mailbox_app.proto.sieve.message import Message
from mailbox_app.proto.sieve.rewritten import Rewritten
from mailbox_app.proto.sieve.script import Script
from mailbox_app.store.interface import Store
from mailbox_app.store.model import MailboxInfo, SpecialUse
from mailbox_app.store.scripts import Scripts

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_OBJECT_ID_MARK = "F"
_BUFFER_BYTES = 65_536


class FilteredMessage:
    """A message in two pieces: `head` (our trace fields and the received header) and the `rest` behind it."""

    def __init__(self, head: bytes, rest: Body) -> None:
        self.head = head
        self.rest = rest
        self._rest_bytes = len(rest) if isinstance(rest, bytes) else rest.seek(0, os.SEEK_END)
        self._lock = threading.Lock()
        self._header: Header | None = None

    @classmethod
    def of(cls, mail: Mail) -> FilteredMessage:
        """The pieces of a mail. Its header may be in the prefix, when fields were cut out of it."""
        if b"\r\n\r\n" in mail.prefix:
            return cls(mail.prefix, mail.body)
        block = read_header(mail.body)
        return cls(mail.prefix + block, rest_behind(mail.body, len(block)))

    @property
    def size_bytes(self) -> int:
        """Of both pieces."""
        return len(self.head) + self._rest_bytes

    @property
    def header(self) -> Header:
        """The header with the trace fields."""
        if self._header is None:
            self._header = Header.parse(self.head)
        return self._header

    def with_head(self, head: bytes) -> FilteredMessage:
        """The same body below another header."""
        return FilteredMessage(head, self.rest)

    def rewritten(self, content: Rewritten) -> FilteredMessage:
        """What a script made of this message; it reads from this one."""
        head = content.read(0, content.header_bytes)
        return FilteredMessage(head, io.BufferedReader(_Behind(content), _BUFFER_BYTES))

    def as_message(self) -> Message:
        """As scripts read it."""
        return Message(self._read, self.size_bytes, header=self.header)

    def _read(self, offset: int, length: int) -> bytes:
        start = self.head[offset : offset + length]
        length -= len(start)
        if length <= 0:
            return start
        offset = max(0, offset - len(self.head))
        if isinstance(self.rest, bytes):
            return start + self.rest[offset : offset + length]
        with self._lock:
            return start + _read_at(self.rest, offset, length)


class _Behind(io.RawIOBase):
    """What is behind the header of a rewritten message, as a file."""

    def __init__(self, content: Rewritten) -> None:
        super().__init__()
        self._content = content
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As files do."""
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += self._content.size_bytes - self._content.header_bytes
        self._position = max(0, offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """As files do."""
        view = memoryview(buffer).cast("B")
        data = self._content.read(self._content.header_bytes + self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def _read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


class AccountMailboxes:
    """One account's mailboxes, as the script's `Mailboxes` and to find a place."""

    def __init__(self, store: Store, ref: AccountRef) -> None:
        self._store = store
        self._ref = ref
        self._known: dict[str, MailboxInfo] | None = None

    def exists(self, name: str) -> bool:
        """Whether mail can be put there now."""
        return self.find(name) is not None

    def find(self, name: str) -> str | None:
        """The mailbox's own spelling of a name; None when there is none."""
        found = self._infos().get(_key(name))
        return None if found is None else found.name

    def by_special_use(self, attribute: str) -> str | None:
        """The name of the mailbox with that attribute."""
        wanted = attribute.lstrip("\\").lower()
        for info in self._infos().values():
            if info.special_use is not None and info.special_use.value.lower() == wanted:
                return info.name
        return None

    def special_uses(self, name: str) -> Collection[str]:
        """The attributes of a mailbox."""
        info = self._infos().get(_key(name))
        return () if info is None or info.special_use is None else (f"\\{info.special_use.value}",)

    def by_id(self, mailbox_id: str) -> str | None:
        """The name of the mailbox with that id, as IMAP tells it (RFC 8474)."""
        account, _, number = mailbox_id.removeprefix(_OBJECT_ID_MARK).partition("-")
        if not mailbox_id.startswith(_OBJECT_ID_MARK) or account != str(self._ref.account_id):
            return None
        return next((info.name for info in self._infos().values() if str(info.mailbox_id) == number), None)

    def metadata(self, name: str | None, entry: str) -> str | None:
        """An annotation of a mailbox, shared with all who see it or private to the owner; none of the server."""
        if name is None or (info := self._infos().get(_key(name))) is None:
            return None
        value = self._store.notes(self._ref).annotations(info.mailbox_id).get(entry)
        return None if value is None else value.decode("utf-8", "replace")

    def mailbox_id(self, name: str) -> MailboxId | None:
        """The number of a mailbox."""
        info = self._infos().get(_key(name))
        return None if info is None else info.mailbox_id

    def create(self, name: str, special_use: SpecialUse | None = None) -> str | None:
        """Make a mailbox; its name, or None when there can be none of that name."""
        try:
            info = self._store.account(self._ref).create(name, special_use)
        except StoreError as error:
            self._known = None
            if error.temporary:
                raise
            return self.find(name) if error.code == "store.mailbox_exists" else None
        self._known = None
        self._store.account(self._ref).subscribe(info.name, True)
        return info.name

    def _infos(self) -> dict[str, MailboxInfo]:
        if self._known is None:
            self._known = {_key(info.name): info for info in self._store.account(self._ref).mailboxes()}
        return self._known


def _key(name: str) -> str:
    """INBOX in any case, RFC 9051 5.1; also as the first level."""
    first, separator, rest = name.partition("/")
    return f"INBOX{separator}{rest}" if first.upper() == "INBOX" else name


class ScriptLibrary:
    """Scripts to include: the account's own, and the administrator's from one folder. RFC 6609."""

    def __init__(self, scripts: Scripts, compiled: CompiledScripts, ref: AccountRef, global_dir: str) -> None:
        self._scripts = scripts
        self._compiled = compiled
        self._ref = ref
        self._global_dir = global_dir

    def script(self, location: str, name: str) -> Script | None:
        """A compiled script; None when there is none of that name."""
        if location == "personal":
            found = self._scripts.find(self._ref, name)
            return None if found is None else self._compiled.of_file(found.path, found.stamp)
        if not self._global_dir or "/" in name or "\0" in name or name.startswith("."):
            return None
        return self._compiled.of_file(str(Path(self._global_dir, f"{name}.sieve")))


class AccountMemory:
    """What `duplicate` saw in this account's mail."""

    def __init__(self, memory: FilterMemory, ref: AccountRef, kind: Kind = "duplicate") -> None:
        self._memory = memory
        self._ref = ref
        self._kind = kind

    def seen(self, identity: str) -> bool:
        """Whether the identity is remembered."""
        return self._memory.seen(self._ref.account_id, self._kind, identity)
