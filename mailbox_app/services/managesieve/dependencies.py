"""What the ManageSieve service is given."""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.services.dependencies import SessionDependencies
from mailbox_app.store.scripts import Scripts


@dataclass(frozen=True, slots=True, kw_only=True)
class ManageSieveDependencies(SessionDependencies):
    """Everything injected."""

    scripts: Scripts
