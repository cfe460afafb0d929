"""Message bytes on their way in: written and fsynced in `tmp/`, rendered in the same pass, in constant memory."""

from __future__ import annotations

import itertools
import os
import time

from mailbox_app.proto.message import MessageScanner, Rendered, scan
from mailbox_app.store.interface import Content, Staged
from mailbox_app.store.maildir.files import start_writing, unlink_quietly, write_all

_CHUNK_BYTES = 262_144
STAGING_FOLDER = "tmp"


class Stage:
    """Makes staged files with names nobody used before."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._numbers = itertools.count()

    def path(self, maildir: str) -> str:
        """A fresh name in the account's `tmp/`. The second part becomes the unique part of the final name."""
        now = time.time_ns()
        unique = f"M{now // 1000}P{os.getpid()}Q{next(self._numbers)}"
        return f"{maildir}/{STAGING_FOLDER}/{now // 1_000_000_000}.{unique}.{self._host}"

    def write(self, maildir: str, content: Content, *, synced: bool) -> Staged:
        """Durable on return when `synced`; a failed one leaves no file. Raises OSError."""
        path = self.path(maildir)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                if isinstance(content.body, bytes):
                    size_bytes = write_all(descriptor, (content.prefix, content.body))
                    if not synced:
                        start_writing(descriptor)
                    rendered = scan(content.prefix + content.body)
                else:
                    size_bytes, rendered = self._stream(descriptor, content)
                if synced:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except BaseException:
            unlink_quietly(path)
            raise
        return Staged(path, size_bytes, rendered, synced)

    @staticmethod
    def _stream(descriptor: int, content: Content) -> tuple[int, Rendered]:
        assert not isinstance(content.body, bytes)
        scanner = MessageScanner()
        scanner.feed(content.prefix)
        size_bytes = write_all(descriptor, (content.prefix,))
        content.body.seek(0)
        while chunk := content.body.read(_CHUNK_BYTES):
            scanner.feed(chunk)
            size_bytes += write_all(descriptor, (chunk,))
        return size_bytes, scanner.finish()
