"""The filter scripts of an account: plain files below `mail/<domain>/<localpart>/sieve/`, beside its Maildir.

A script `name` is the file `<escaped name>.sieve`; a name too long for a file name is kept in a file of its own beside a
digest of it. `.active` holds the name of the script that runs, so switching is one atomic replace. Every change is durable on
return and appears whole or not at all; a lock file keeps the writers of all processes in order. Readers take no lock.
Names are in Unicode's composed form, 1 to 128 characters without controls (RFC 5804 1.6). Blocking, like all of the store.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef
from mailbox_app.store.maildir.files import DiskErrors, fsync_directory, unlink_quietly, write_durably
from mailbox_app.store.maildir.locking import AccountLock
from mailbox_app.store.maildir.names import account_folder

MAX_NAME_CHARACTERS = 128
"""RFC 5804 1.6 asks for at least so many."""
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SUFFIX = ".sieve"
_NAME_SUFFIX = ".name"
_SAFE = " !$&'()+,;=@[]{}^`"
_DIGEST_MARK = "#"
"""Begins the file names of long script names; no escaped name begins with it."""
_MAX_FILE_CHARACTERS = 200
_ACTIVE = ".active"
_FOLDERS_KEPT = 10_000
"""Asked for with each message."""
_LOCK = ".lock"
_AWAY = ".away"
_FAILURE = ".failure"
_MAX_FAILURE_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class ScriptLimits:
    """What one account may keep."""

    max_script_bytes: int = 65_536
    max_scripts: int = 32


class ScriptInfo(NamedTuple):
    """One stored script."""

    name: str
    size_bytes: int
    active: bool


class ScriptFile(NamedTuple):
    """A script as a file; equal values mean equal bytes."""

    name: str
    path: str
    stamp: tuple[int, int, int]
    """Inode, size and time of change: a new version differs."""


class Scripts:
    """All accounts' scripts. Safe from any thread and in any process."""

    def __init__(self, data_dir: str | os.PathLike[str], limits: ScriptLimits | None = None) -> None:
        self._mail = os.path.join(data_dir, "mail")
        self.limits = limits or ScriptLimits()
        """For what is put from now on; set it anew when the configuration changes."""
        self._folders: dict[tuple[str, str], str] = {}

    def names(self, ref: AccountRef) -> Sequence[ScriptInfo]:
        """All scripts, by name."""
        folder = self._folder(ref)
        active = self._active_name(folder)
        found = []
        with DiskErrors():
            for name, path in _files(folder):
                with suppress(FileNotFoundError):
                    found.append(ScriptInfo(name, os.stat(path).st_size, name == active))
        return sorted(found)

    def get(self, ref: AccountRef, name: str) -> bytes:
        """A script's source; `script.no_such`."""
        path = os.path.join(self._folder(ref), _file_of(_canonical(name)))
        with DiskErrors():
            try:
                return Path(path).read_bytes()
            except FileNotFoundError as error:
                raise _no_such() from error

    def put(self, ref: AccountRef, name: str, source: bytes) -> None:
        """Store or replace a script; an active one runs in its new form from now on. Codes as `have_space`."""
        name = _canonical(name)
        folder = self._made(ref)
        with DiskErrors(), AccountLock(os.path.join(folder, _LOCK)):
            self._check_space(folder, name, len(source))
            _write(folder, name, source)
            unlink_quietly(os.path.join(folder, _FAILURE))

    def have_space(self, ref: AccountRef, name: str, size_bytes: int) -> None:
        """Whether a put of so many bytes would be taken: `script.too_large`, `script.too_many`, `script.bad_name`."""
        with DiskErrors():
            self._check_space(self._folder(ref), _canonical(name), size_bytes)

    def activate(self, ref: AccountRef, name: str) -> None:
        """Let this one run, or none with the empty name; `script.no_such`."""
        folder = self._made(ref)
        with DiskErrors(), AccountLock(os.path.join(folder, _LOCK)):
            unlink_quietly(os.path.join(folder, _FAILURE))
            if not name:
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, _ACTIVE))
                fsync_directory(folder)
                return
            name = _canonical(name)
            if not os.path.isfile(os.path.join(folder, _file_of(name))):
                raise _no_such()
            write_durably(folder, _ACTIVE, name.encode())

    def delete(self, ref: AccountRef, name: str) -> None:
        """Remove one; `script.no_such`, `script.active` for the one that runs (RFC 5804 2.10)."""
        name = _canonical(name)
        folder = self._made(ref)
        with DiskErrors(), AccountLock(os.path.join(folder, _LOCK)):
            if self._active_name(folder) == name:
                raise StoreError("script.active", "the active script cannot be deleted; deactivate it first")
            if not os.path.isfile(os.path.join(folder, _file_of(name))):
                raise _no_such()
            _remove(folder, name)

    def rename(self, ref: AccountRef, old: str, new: str) -> None:
        """A new name; an active script stays active (RFC 5804 2.11.1); `script.no_such`, `script.exists`."""
        old, new = _canonical(old), _canonical(new)
        folder = self._made(ref)
        with DiskErrors(), AccountLock(os.path.join(folder, _LOCK)):
            source, target = (os.path.join(folder, _file_of(name)) for name in (old, new))
            if not os.path.isfile(source):
                raise _no_such()
            if os.path.lexists(target):
                raise StoreError("script.exists", "there is a script of that name already")
            # Both names, then the pointer, then one name: a crash in between leaves a second copy, never no active script.
            _write_long_name(folder, new)
            os.link(source, target)
            if self._active_name(folder) == old:
                write_durably(folder, _ACTIVE, new.encode())
            _remove(folder, old)

    def active(self, ref: AccountRef) -> ScriptFile | None:
        """The script that runs, or None; two or three system calls. A pointer to a script that is gone is none."""
        with DiskErrors():
            name = self._active_name(self._folder(ref))
        return self.find(ref, name) if name else None

    def find(self, ref: AccountRef, name: str) -> ScriptFile | None:
        """Where a script is; None when there is none of that name (or no script can have it)."""
        try:
            path = os.path.join(self._folder(ref), _file_of(_canonical(name)))
        except StoreError:
            return None
        with DiskErrors():
            try:
                status = os.stat(path)
            except FileNotFoundError:
                return None
        return ScriptFile(name, path, (status.st_ino, status.st_size, status.st_mtime_ns))

    def has_active(self, ref: AccountRef) -> bool:
        """Whether a script runs for the account: a look at three names, mostly at one, so it may be asked on the loop."""
        folder = self._folder(ref)
        return _may_exist(folder) and (_may_exist(f"{folder}/{_ACTIVE}") or _may_exist(f"{folder}/{_AWAY}"))

    def may_have_any(self, ref: AccountRef) -> bool:
        """False only when the account has no script at all: a look at one name, so it may be asked on the loop."""
        return _may_exist(self._folder(ref))

    def away(self, ref: AccountRef) -> ScriptFile | None:
        """The out-of-office script that runs beside the active one; it has no name and counts for no quota."""
        path = os.path.join(self._folder(ref), _AWAY)
        with DiskErrors():
            try:
                status = os.stat(path)
            except FileNotFoundError:
                return None
        return ScriptFile("", path, (status.st_ino, status.st_size, status.st_mtime_ns))

    def set_away(self, ref: AccountRef, source: bytes | None) -> None:
        """Put the out-of-office script, or take it away."""
        folder = self._made(ref)
        with DiskErrors(), AccountLock(os.path.join(folder, _LOCK)):
            if source is not None:
                write_durably(folder, _AWAY, source)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, _AWAY))
                fsync_directory(folder)

    def failure(self, ref: AccountRef) -> str:
        """What went wrong with the account's script the last time it did, since a script was put or activated."""
        with DiskErrors():
            try:
                with open(os.path.join(self._folder(ref), _FAILURE), "rb") as file:
                    return file.read(_MAX_FAILURE_BYTES).decode("utf-8", "replace")
            except FileNotFoundError:
                return ""

    def note_failure(self, ref: AccountRef, text: str) -> None:
        """Let the owner find out; the same trouble is written once."""
        data = text.encode("utf-8", "replace")[:_MAX_FAILURE_BYTES]
        if self.failure(ref).encode("utf-8", "replace") == data:
            return
        folder = self._made(ref)
        with DiskErrors(), AccountLock(os.path.join(folder, _LOCK)):
            write_durably(folder, _FAILURE, data)

    def _folder(self, ref: AccountRef) -> str:
        key = (ref.domain, ref.localpart)
        found = self._folders.get(key)
        if found is None:
            if len(self._folders) >= _FOLDERS_KEPT:
                self._folders.clear()
            found = os.path.join(self._mail, account_folder(ref.domain), account_folder(ref.localpart), "sieve")
            self._folders[key] = found
        return found

    def _made(self, ref: AccountRef) -> str:
        folder = self._folder(ref)
        if not os.path.isdir(folder):
            with DiskErrors():
                os.makedirs(folder, 0o700, exist_ok=True)
                path = folder
                for _ in range(3):  # the folder's own name, its account's and its domain's
                    path = os.path.dirname(path)
                    fsync_directory(path)
        return folder

    def _active_name(self, folder: str) -> str:
        try:
            with open(os.path.join(folder, _ACTIVE), "rb") as file:
                return file.read(4 * MAX_NAME_CHARACTERS).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _check_space(self, folder: str, name: str, size_bytes: int) -> None:
        if size_bytes > self.limits.max_script_bytes:
            text = f"a script may have {self.limits.max_script_bytes} bytes"
            raise StoreError("script.too_large", text)
        names = [found for found, _ in _files(folder)]
        if name not in names and len(names) >= self.limits.max_scripts:
            raise StoreError("script.too_many", f"there may be {self.limits.max_scripts} scripts")


def _may_exist(path: str) -> bool:
    """False only when it is surely not there: trouble is told by whoever reads it."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _canonical(name: str) -> str:
    if name and not name.isascii():
        name = unicodedata.normalize("NFC", name)
    if not name or len(name) > MAX_NAME_CHARACTERS:
        raise StoreError("script.bad_name", f"a script's name has 1 to {MAX_NAME_CHARACTERS} characters")
    if _FORBIDDEN.search(name):
        raise StoreError("script.bad_name", "a script's name holds no control characters")
    return name


def _no_such() -> StoreError:
    return StoreError("script.no_such", "there is no script of that name")


def _file_of(name: str) -> str:
    """The file of a canonical name: never hidden, no separator, short enough for every file system."""
    escaped = quote(name, safe=_SAFE)
    if escaped.startswith("."):
        escaped = "%2E" + escaped[1:]
    if len(escaped) > _MAX_FILE_CHARACTERS:
        escaped = _DIGEST_MARK + hashlib.sha256(name.encode()).hexdigest()
    return escaped + _SUFFIX


def _files(folder: str) -> Sequence[tuple[str, str]]:
    """(name, path) of every script; files that are none are passed over."""
    found = []
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        return ()
    for entry in entries:
        if not entry.endswith(_SUFFIX) or entry.startswith("."):
            continue
        stem, path = entry[: -len(_SUFFIX)], os.path.join(folder, entry)
        if stem.startswith(_DIGEST_MARK):
            try:
                name = Path(folder, stem + _NAME_SUFFIX).read_text("utf-8")
            except (FileNotFoundError, UnicodeError):
                continue
        else:
            name = unquote(stem, errors="replace")
        try:
            is_its_file = _file_of(_canonical(name)) == entry
        except StoreError:
            continue
        if is_its_file:
            found.append((name, path))
    return found


def _write(folder: str, name: str, source: bytes) -> None:
    _write_long_name(folder, name)
    write_durably(folder, _file_of(name), source)


def _write_long_name(folder: str, name: str) -> None:
    file = _file_of(name)
    if file.startswith(_DIGEST_MARK):
        write_durably(folder, file[: -len(_SUFFIX)] + _NAME_SUFFIX, name.encode())


def _remove(folder: str, name: str) -> None:
    file = _file_of(name)
    os.unlink(os.path.join(folder, file))
    if file.startswith(_DIGEST_MARK):
        unlink_quietly(os.path.join(folder, file[: -len(_SUFFIX)] + _NAME_SUFFIX))
    fsync_directory(folder)
