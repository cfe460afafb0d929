"""Compiled filter scripts, kept as long as their files are unchanged. Compiling costs milliseconds, asking here one look.

A broken script is kept as its error, so that it is not read anew for each message. Bounded by number and by source bytes; what
was not used for the longest time goes.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass

from mailbox_app.errors import StoreError
from mailbox_app.proto.sieve.faults import SieveError
from mailbox_app.proto.sieve.limits import Limits
from mailbox_app.proto.sieve.script import Script, compile_script

_MAX_SCRIPTS = 1_000
_MAX_SOURCE_BYTES = 2_097_152
"""A compiled script takes some thirty times its source."""

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Kept:
    stamp: Stamp
    script: Script | SieveError
    source_bytes: int


class CompiledScripts:
    """One per process; safe from any thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._source_bytes = 0
        self._lock = threading.Lock()

    def of_file(self, path: str, stamp: Stamp | None = None) -> Script | None:
        """The script in a file, None when there is no such file; `SieveError` when it is not valid. Blocking.

        `stamp` is the file's inode, size and time of change, when the caller has looked already.
        """
        try:
            stamp = stamp or stamp_of(path)
            with self._lock:
                kept = self._kept.get(path)
                if kept is not None and kept.stamp == stamp:
                    self._kept.move_to_end(path)
                    return _given(kept.script)
            with open(path, "rb") as file:
                source = file.read(self._limits.script_bytes + 1)
                # of the very file that was read: a newer one in its place is compiled when it is asked for
                status = os.fstat(file.fileno())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError("store.failed", "a filter script cannot be read", temporary=True) from error
        script: Script | SieveError
        try:
            script = compile_script(source, self._limits)
        except SieveError as error:
            script = error
        self._keep(path, _Kept((status.st_ino, status.st_size, status.st_mtime_ns), script, len(source)))
        return _given(script)

    def _keep(self, path: str, kept: _Kept) -> None:
        with self._lock:
            old = self._kept.pop(path, None)
            self._source_bytes += kept.source_bytes - (old.source_bytes if old else 0)
            self._kept[path] = kept
            while len(self._kept) > 1 and (len(self._kept) > _MAX_SCRIPTS or self._source_bytes > _MAX_SOURCE_BYTES):
                _, oldest = self._kept.popitem(last=False)
                self._source_bytes -= oldest.source_bytes


def stamp_of(path: str) -> Stamp:
    """What differs when a file was replaced or written to; raises OSError."""
    status = os.stat(path)
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _given(script: Script | SieveError) -> Script:
    if isinstance(script, SieveError):
        raise SieveError(script.line, script.column, script.message, script.problems)
    return script
