"""The trash of removed accounts: mail comes back by one rename, and is destroyed after thirty days.

Synchronous. Only folders below the data directory's `trash/` are ever moved or deleted, whatever the directory's rows say.
"""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import structlog

from mailbox_app.control.context import ControlContext
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef
from mailbox_app.store.maildir.names import account_folder

_DECISION_DAYS = 30


def put_back(data_dir: Path, ref: AccountRef, place: str) -> None:
    """An account's folder from the trash to where the store looks for it; `store.exists`, `store.no_such_account`."""
    _move(_inside(data_dir, place), _home(data_dir, ref))


def take_again(data_dir: Path, ref: AccountRef, place: str) -> None:
    """Undo `put_back`."""
    _move(_home(data_dir, ref), _inside(data_dir, place))


def empty(context: ControlContext) -> int:
    """Forget accounts whose thirty days are over, with their mail; how many."""
    log = structlog.get_logger("control")
    forgotten = 0
    for entry in context.directory.expired_removals():
        try:
            if entry.place and (place := _inside(context.data_dir, entry.place)).exists():
                shutil.rmtree(place)
        except (StoreError, OSError):
            log.exception("trash_not_emptied", account=entry.account.address)
            continue  # tried again in an hour; the others are not kept waiting
        context.directory.forget_account(entry.account.account_id)
        forgotten += 1
        log.info("trash_emptied", account=entry.account.address)
    context.decisions.prune(context.clock.now() - timedelta(days=_DECISION_DAYS))
    context.directory.flush_logins()
    return forgotten


def _move(source: Path, target: Path) -> None:
    if target.exists():
        raise StoreError("store.exists", "there is mail of another account at this address already")
    if not source.exists():
        raise StoreError("store.no_such_account", "the account's mail is not in the trash any more")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.rename(source, target)
        for folder in (target.parent, source.parent):
            _fsync(folder)
    except OSError as error:
        raise StoreError("store.full", "the account's mail cannot be moved now", temporary=True) from error


def _home(data_dir: Path, ref: AccountRef) -> Path:
    return data_dir / "mail" / account_folder(ref.domain) / account_folder(ref.localpart)


def _inside(data_dir: Path, place: str) -> Path:
    target = (data_dir / place).resolve()  # an absolute place stays itself
    if (data_dir / "trash").resolve() not in target.parents:
        raise StoreError("store.outside_trash", "the directory names a place outside the trash")
    return target


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
