"""The checks, one file each; `CHECKS` lists their classes in the order records show them."""

from __future__ import annotations

from collections.abc import Callable

from mailbox_app.policy.check import Check
from mailbox_app.policy.tools import Tools

CHECKS: tuple[Callable[[Tools], Check], ...] = ()
