"""Empties what nobody can ask for any more: mail of accounts removed thirty days ago, and old decisions.

Synchronous. Only folders below the data directory's `trash/` are ever deleted, whatever the directory's rows say.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import structlog

from mailbox_app.control.context import ControlContext

_DECISION_DAYS = 30


def empty(context: ControlContext) -> int:
    """Forget accounts whose thirty days are over, with their mail; how many."""
    expired = context.directory.expired_removals()
    for entry in expired:
        if entry.place:
            _destroy(context.data_dir, Path(entry.place))
        context.directory.forget_account(entry.account.account_id)
        structlog.get_logger("control").info("trash_emptied", account=entry.account.address)
    context.decisions.prune(context.clock.now() - timedelta(days=_DECISION_DAYS))
    context.directory.flush_logins()
    return len(expired)


def _destroy(data_dir: Path, place: Path) -> None:
    trash = (data_dir / "trash").resolve()
    target = (data_dir / place).resolve()  # an absolute place stays itself
    if trash not in target.parents:
        structlog.get_logger("control").error("trash_outside", place=str(place))
        return
    if target.exists():
        shutil.rmtree(target)
