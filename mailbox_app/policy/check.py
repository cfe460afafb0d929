"""The seam of a check: one file in `checks/`, one class, one line in its `CHECKS`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.verdict import Finding

Mode = Literal["off", "advisory", "enforce"]


class Check(Protocol):
    """Looks at facts and says what it found. Built once per process with `Tools`; runs for many sessions at once."""

    name: ClassVar[str]
    """As in the configuration and in records: lower case, underscores."""
    stage: ClassVar[Stage]
    default_mode: ClassVar[Mode]

    # A check may also have `is_safety = True`: it looks for what harms, and so at mail of allowed senders, too; or
    # `is_about_strangers = True`: it leaves mail from this machine and trusted networks alone. And it may say
    # by `is_quick(facts)` that it will not wait for DNS, threads or others now (`QuickCheck`: never): it gets no task of its own.

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """What it found, nothing being the common case. May raise: then the pipeline records "could not be made" and goes on,
        for a check that fails must never cost a message. Never blocks the loop; waits no longer than its stage's deadline,
        after which it is cancelled."""
        ...


class QuickCheck:
    """A check that waits for nothing but the parsed content of a large message."""

    def is_quick(self, facts: Facts) -> bool:
        """True."""
        del facts
        return True
