"""Loads in the background."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from textual.dom import DOMNode
from textual.worker import Worker


def begin(owner: DOMNode, load: Callable[[], Coroutine[Any, Any, None]], group: str, *, exclusive: bool = True) -> None:
    """Runs `load` for a widget. It is called when its turn comes: one that another of its group replaces before is never begun."""
    _: Worker[None] = owner.run_worker(load, group=group, exclusive=exclusive)
