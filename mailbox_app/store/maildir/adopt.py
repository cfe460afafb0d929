"""Taking a file that no row knows into a mailbox: put there by another program, or met in a rebuild.

The file is read once to render it. Lines that end in a bare LF (other programs' files do) are rewritten with CRLF, as
IMAP shows them and as byte ranges count them. The name gets our size and UID; nothing else about the file changes.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from functools import partial
from typing import BinaryIO

from mailbox_app.proto.message import MessageScanner, Rendered
from mailbox_app.store.maildir import filenames, keywords, queries
from mailbox_app.store.maildir.files import write_all
from mailbox_app.store.maildir.opened import Work
from mailbox_app.store.maildir.queries import MailboxRow
from mailbox_app.store.model import SystemFlag

_CHUNK_BYTES = 262_144
_BARE_LF = re.compile(rb"(?<!\r)\n")


def adopt(work: Work, row: MailboxRow, directory: str, name: str, *, uid: int | None = None) -> bool:
    """Give the file a row and a name with a UID (`uid`, or the next one); False when it is no readable file."""
    path = os.path.join(directory, name)
    try:
        facts = os.lstat(path)
        if not stat.S_ISREG(facts.st_mode):
            return False
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # unreadable, or gone again; `check` tells of it
    with open(descriptor, "rb", buffering=0) as file:
        rendered, size_bytes, bare = read_file(file)
        stem, flag_letters = filenames.split(name)
        if uid is None:
            work.reserve_uids(row, 1)
            uid = row.uidnext
        row.uidnext = max(row.uidnext, uid + 1)
        work.reserve_uids(row, 0)
        source = path
        if bare and filenames.delivered(stem) is None:
            source = os.path.join(work.opened.folder(row), "tmp", f"{facts.st_ino}.{uid}.crlf")
            rendered, size_bytes = _rewrite(file, source)
            os.utime(source, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    seconds = internal_seconds(stem, facts)
    final_stem = stem if _fits(stem, uid, size_bytes) else filenames.adopted_stem(stem, size_bytes, uid)
    letters_flags = filenames.flags_of(flag_letters)
    target = f"{work.opened.cur(row)}/{filenames.file_name(final_stem, letters_flags)}"
    _place(work, path, source, target)
    saved = filenames.saved_seconds_of(stem) or int(facts.st_ctime)
    _insert(work, row, uid, (letters_flags, size_bytes, seconds, saved, final_stem), rendered)
    return True


def _place(work: Work, path: str, source: str, target: str) -> None:
    if source != path:
        os.rename(source, target)
        work.created.append(target)
        work.replaced.append(path)
    elif path != target:
        os.rename(path, target)
        work.undo.append(partial(os.rename, target, path))


def _insert(work: Work, row: MailboxRow, uid: int, facts: tuple[int, int, int, int, str], rendered: Rendered) -> None:
    name_flags, size_bytes, seconds, saved, stem = facts
    flags = name_flags & keywords.mask(row)
    modseq, key = work.next_modseq(row), row.base + uid
    row.message_count += 1
    row.size_bytes += size_bytes
    row.unseen_count += not flags & SystemFlag.SEEN
    row.deleted_count += bool(flags & SystemFlag.DELETED)
    work.account.used_bytes += size_bytes
    work.account.used_messages += 1
    queries.insert_messages(
        work.connection,
        [(key, row.mailbox_id, modseq, flags, size_bytes, seconds, saved, name_flags, stem)],
        [queries.rendered_row(key, rendered)],
    )


def read_file(file: BinaryIO) -> tuple[Rendered, int, bool]:
    """(rendered, size, whether a line ends in a bare LF)."""
    scanner, size_bytes, bare, last = MessageScanner(), 0, False, b""
    while chunk := file.read(_CHUNK_BYTES):
        scanner.feed(chunk)
        size_bytes += len(chunk)
        if not bare:
            bare = chunk.count(b"\n") != chunk.count(b"\r\n") + (last == b"\r" and chunk.startswith(b"\n"))
        last = chunk[-1:]
    return scanner.finish(), size_bytes, bare


def _rewrite(file: BinaryIO, path: str) -> tuple[Rendered, int]:
    """Write the file to `path` with CRLF line ends, durable; (rendered, size)."""
    file.seek(0)
    with suppress(FileNotFoundError):
        os.unlink(path)
    scanner, size_bytes, last = MessageScanner(), 0, b""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while chunk := file.read(_CHUNK_BYTES):
            data = _BARE_LF.sub(b"\r\n", last + chunk)[len(last) :]
            last = chunk[-1:] if chunk.endswith(b"\r") else b""
            scanner.feed(data)
            size_bytes += write_all(descriptor, [data])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return scanner.finish(), size_bytes


def internal_seconds(stem: str, facts: os.stat_result) -> int:
    """The time in a name of ours (hard links share one time of change); else the file's."""
    if filenames.uid_of(stem) is not None:
        seconds = filenames.seconds_of(stem)
        if seconds is not None:
            return seconds
    return int(facts.st_mtime)


def _fits(stem: str, uid: int, size_bytes: int) -> bool:
    return stem.endswith(f",S={size_bytes},U={uid}")
