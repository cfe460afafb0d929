"""What the store put right by itself, on its way to the audit.

Any process may meet a damaged index or a missing file, but only the core writes the audit. So a repair is noted as a small
file in `data/repairs/` and hinted on the bus; the core takes the files in order, also those it finds at its start.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from mailbox_app.events.hints import REPAIRS_TOPIC, Bus
from mailbox_app.ids import AccountRef

FOLDER = "repairs"
_MAX_WAITING = 10_000
"""Notes nobody takes; more are only logged."""


class Repair(msgspec.Struct, frozen=True):
    """One repair: whose mail, and what was wrong and was done about it."""

    address: str
    text: str


class RepairNotes:
    """The writer; safe from any thread and process."""

    def __init__(self, data_dir: str | os.PathLike[str], bus: Bus) -> None:
        self._folder = os.path.join(data_dir, FOLDER)
        self._bus = bus
        self._numbers = itertools.count()
        self._log = structlog.get_logger("store")

    def note(self, ref: AccountRef, text: str) -> None:
        """Never fails: a repair that cannot be noted is in the log all the same."""
        address = f"{ref.localpart}@{ref.domain}"
        self._log.error("mail storage repaired", account=address, what=text)
        name = f"{time.time_ns():020d}.{os.getpid()}.{next(self._numbers)}.json"
        try:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            if len(os.listdir(self._folder)) >= _MAX_WAITING:
                return
            temporary = os.path.join(self._folder, f".{name}")
            Path(temporary).write_bytes(msgspec.json.encode(Repair(address, text)))
            os.rename(temporary, os.path.join(self._folder, name))
        except OSError as error:
            self._log.error("a repair is not in the audit", account=address, reason=str(error))
            return
        self._bus.publish(REPAIRS_TOPIC)


def waiting(data_dir: str | os.PathLike[str]) -> Iterator[tuple[Path, Repair]]:
    """(file, repair) of what waits for the audit, oldest first; unlink a file when it is written there."""
    folder = Path(data_dir, FOLDER)
    with suppress(FileNotFoundError):
        for path in sorted(folder.glob("[0-9]*.json")):
            try:
                yield path, msgspec.json.decode(path.read_bytes(), type=Repair)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                path.unlink(missing_ok=True)  # written by nobody we know
