"""What a node shares with others over Redis besides the queue: the link, what its accounts are called everywhere, hints.

`Nodes` runs in the core: it looks after the link, tells the metric `mailserver_redis_up` and joins the hubs of all nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mailbox_app.accounts.interface import Directory
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Config
from mailbox_app.db.offload import Offload
from mailbox_app.db.redis import RedisLink, connect
from mailbox_app.db.redis_channel import RedisChannel
from mailbox_app.errors import MailboxError
from mailbox_app.events.bus import LocalBus
from mailbox_app.events.hub import HubServer, deliver
from mailbox_app.ids import AccountId
from mailbox_app.observe.metrics import Metrics
from mailbox_app.runtime.node_hints import NodeHints

if TYPE_CHECKING:  # it needs the link from here
    from mailbox_app.runtime.parts import Parts

_LOOK_SECONDS = 5.0


def redis_link(config: Config, clock: Clock) -> RedisLink | None:
    """The process's way to Redis; None on a server that is alone. `ConfigError` when address or password are unusable."""
    return RedisLink(config.queue, clock) if config.queue.backend == "redis" else None


def check_redis(config: Config) -> None:
    """`ConfigError` when address or password cannot be used; before the first fork, so that all share the library's memory."""
    if config.queue.backend == "redis":
        connect(config.queue).close()


def account_names(directory: Directory) -> Callable[[AccountId], str]:
    """An account's address; a number of our own where there is none any more."""

    def name_of(account_id: AccountId) -> str:
        account = directory.account_by_id(account_id)
        return account.address if account is not None else f"#{account_id}"

    return name_of


class Nodes:
    """The core's part in acting as one server with other nodes."""

    def __init__(
        self, link: RedisLink, bus: LocalBus, hub: HubServer | None, metrics: Metrics, offload: Offload, clock: Clock
    ) -> None:
        """`hub` is None where one process is everything."""
        self._link = link
        self._offload = offload
        self._clock = clock
        self._up = metrics.redis_up()
        bring = hub.bring if hub is not None else partial(deliver, bus)
        self._hints = NodeHints(RedisChannel(link, "hints"), bring, offload, clock)
        if hub is not None:
            hub.outward = self._hints.publish
        else:
            bus.relay = self._hints.publish

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            tasks.create_task(self._hints.run())

    async def _watch(self) -> None:
        while True:
            try:
                await self._offload.run(self._link.check)
                self._up.set(1)
            except MailboxError:  # the link has told it
                self._up.set(0)
            await self._clock.sleep(_LOOK_SECONDS)


def node_jobs(parts: Parts, hub: HubServer | None) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
    """What the core runs for it; nothing on a server that is alone."""
    if parts.link is None:
        return ()
    return (Nodes(parts.link, parts.bus, hub, parts.metrics, parts.offload, parts.clock).run,)
