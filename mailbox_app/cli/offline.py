"""Work on the data folder while the server does not run: only under the folder's lock, so the server cannot start meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.clock import SystemClock
from mailbox_app.config.load import load
from mailbox_app.config.paths import config_path, resolve
from mailbox_app.errors import ControlError
from mailbox_app.events.bus import LocalBus
from mailbox_app.runtime import data_lock
from mailbox_app.store.maildir.backend import MaildirStore


@dataclass(frozen=True, slots=True)
class Offline:
    """The directory and the store, ours alone."""

    directory: SqliteDirectory
    store: MaildirStore
    data_dir: Path


@contextmanager
def data_folder(config_file: str | None) -> Iterator[Offline]:
    """Temporary `control.busy` when the server runs after all."""
    file = config_path(config_file)
    config = load(file)
    data_dir = resolve(config, file).data_dir
    if not (data_dir / "directory.db").exists():
        raise ControlError("store.no_data", f"there is no mail in {data_dir}")
    lock = data_lock.acquire(data_dir)
    if lock is None:
        raise ControlError("control.busy", "the server is starting or stopping; try again", temporary=True)
    try:
        clock = SystemClock()
        directory = SqliteDirectory(data_dir / "directory.db", clock)
        store = MaildirStore(data_dir, LocalBus(), hostname=config.server.hostname, clock=clock)
        try:
            yield Offline(directory, store, data_dir)
        finally:
            store.close()
            directory.close()
    finally:
        os.close(lock)
