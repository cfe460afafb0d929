"""What checks work with: made once per process in `runtime/wiring.py`, handed to every check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mailbox_app.accounts.interface import Directory
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Config
from mailbox_app.db.offload import Offload
from mailbox_app.net.resolver import Resolver
from mailbox_app.observe.metrics import Metrics
from mailbox_app.policy.state.allowances import Allowances
from mailbox_app.policy.state.bans import Bans
from mailbox_app.policy.state.corpus import Corpus
from mailbox_app.policy.state.correspondents import Correspondents
from mailbox_app.policy.state.dmarc_rows import SqliteDmarcRows
from mailbox_app.policy.state.greylist import Greylist
from mailbox_app.policy.state.rates import Rates
from mailbox_app.policy.state.reputation import Reputation
from mailbox_app.policy.state.suppressions import Suppressions


@dataclass(frozen=True, slots=True)
class State:
    """What is remembered between messages: a field per subject, named like its file in `state/`. Made in `state_files.py`."""

    bans: Bans
    rates: Rates
    corpus: Corpus
    reputation: Reputation
    greylist: Greylist
    allowances: Allowances
    correspondents: Correspondents
    dmarc_rows: SqliteDmarcRows
    suppressions: Suppressions


@dataclass(frozen=True, slots=True)
class Tools:
    """Everything a check may use."""

    config: Callable[[], Config]
    """The configuration that holds now; ask each time, it changes at a reload."""
    resolver: Resolver
    offload: Offload
    clock: Clock
    metrics: Metrics
    hostname: str
    directory: Directory
    data_dir: Path
    state: State
