"""Opens what the policy remembers, keeps it fresh, closes it: one `StateFiles` per process, made after the fork."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import structlog

from mailbox_app.accounts.login_failures import FailureStore, SqliteFailures
from mailbox_app.accounts.shared_login_failures import RedisFailures
from mailbox_app.clock import Clock
from mailbox_app.db import state_schema
from mailbox_app.db.redis import RedisLink
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId
from mailbox_app.journal import report_tables
from mailbox_app.policy.state.allowances import SqliteAllowances
from mailbox_app.policy.state.bans import SqliteBans
from mailbox_app.policy.state.corpus import SqliteCorpus
from mailbox_app.policy.state.correspondents import SqliteCorrespondents
from mailbox_app.policy.state.dmarc_rows import SqliteDmarcRows
from mailbox_app.policy.state.greylist import SqliteGreylist
from mailbox_app.policy.state.junk_schema import MIGRATIONS as JUNK_MIGRATIONS
from mailbox_app.policy.state.rates import SqliteRates
from mailbox_app.policy.state.reputation import SqliteReputation
from mailbox_app.policy.state.shared.allowances import RedisAllowances
from mailbox_app.policy.state.shared.bans import RedisBans
from mailbox_app.policy.state.shared.correspondents import RedisCorrespondents
from mailbox_app.policy.state.shared.greylist import RedisGreylist
from mailbox_app.policy.state.shared.rates import RedisRates
from mailbox_app.policy.state.shared.suppressions import RedisSuppressions
from mailbox_app.policy.state.suppressions import SqliteSuppressions
from mailbox_app.policy.tools import State


class StateFiles:
    """`state` is what checks get. With a link to Redis, what strangers do is remembered there, for all nodes together."""

    def __init__(
        self,
        data_dir: Path,
        clock: Clock,
        link: RedisLink | None = None,
        name_of: Callable[[AccountId], str] = str,
    ) -> None:
        """`name_of`: what an account is called at every node."""
        with ExitStack() as opened:
            self.database = state_schema.open_state(data_dir / "state.db")
            """For all that this process keeps in `state.db`."""
            opened.callback(self.database.close)
            self.junk = Database(data_dir / "junk.db", JUNK_MIGRATIONS, synchronous="NORMAL", busy_seconds=2.0)
            opened.callback(self.junk.close)
            dmarc_rows = SqliteDmarcRows(data_dir / "reports.db", clock)
            opened.callback(dmarc_rows.close)
            corpus, reputation = SqliteCorpus(self.junk, clock), SqliteReputation(self.junk, clock)
            suppressions = (
                RedisSuppressions(link, clock) if link is not None else SqliteSuppressions(self.database, clock)
            )
            opened.callback(suppressions.sync)
            self.failures: FailureStore
            if link is None:
                self.failures = SqliteFailures(self.database)
                self.state = State(
                    bans=SqliteBans(self.database, clock),
                    rates=SqliteRates(self.database, clock),
                    corpus=corpus,
                    reputation=reputation,
                    greylist=SqliteGreylist(self.database, clock),
                    allowances=SqliteAllowances(self.database, clock),
                    correspondents=SqliteCorrespondents(self.database, clock),
                    dmarc_rows=dmarc_rows,
                    suppressions=suppressions,
                )
            else:
                self.failures = RedisFailures(link)
                self.state = State(
                    bans=RedisBans(link, clock),
                    rates=RedisRates(link, clock),
                    corpus=corpus,
                    reputation=reputation,
                    greylist=RedisGreylist(link, clock),
                    allowances=RedisAllowances(link, clock),
                    correspondents=RedisCorrespondents(link, clock, name_of),
                    dmarc_rows=dmarc_rows,
                    suppressions=suppressions,
                )
            opened.callback(self.state.rates.sync)
            opened.callback(self.state.correspondents.sync)
            self._opened = opened.pop_all()
        self.state.bans.refresh()
        self.state.suppressions.sync()

    def refresh(self) -> None:
        """Hear from the other processes and tell them; once a second, in a thread. Never raises."""
        self.state.bans.refresh()
        self.state.rates.sync()
        self.state.correspondents.sync()
        self.state.dmarc_rows.sync()
        self.state.suppressions.sync()

    def close(self) -> None:
        """Write what is new, close the files."""
        self._opened.close()


def prepare(data_dir: Path) -> None:
    """Bring `state.db`, `junk.db` and `reports.db` to this version before the first fork. A damaged one is put aside: nothing in
    it is worth a server that does not start."""
    files = (
        ("state.db", state_schema.MIGRATIONS),
        ("junk.db", JUNK_MIGRATIONS),
        ("reports.db", report_tables.MIGRATIONS),
    )
    for name, migrations in files:
        path = data_dir / name
        try:
            Database(path, migrations, synchronous="NORMAL").close()
        except StoreError as error:
            if error.code != "store.damaged":
                raise
            for ending in ("", "-wal", "-shm"):
                file = data_dir / f"{name}{ending}"
                if file.exists():
                    file.replace(data_dir / f"{name}{ending}.damaged")
            structlog.get_logger("policy").error("state_damaged", kept_as=f"{name}.damaged")
            Database(path, migrations, synchronous="NORMAL").close()
