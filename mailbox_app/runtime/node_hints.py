"""Hints between nodes: what one node's processes publish on shared topics is hinted in all the others, over one Redis channel.

A message is the sender's mark and a topic per line; a node takes no notice of its own but as a sign that the channel works. What
comes from outside goes to this node's processes only, so nothing runs in circles. Topics that wait are merged and go out twenty
times a second at most. After trouble with the channel everybody looks for himself, here and, by the message "*", elsewhere.

Only topics about what nodes have in common cross. Numbers of accounts are each node's own, and so are its mailboxes: `account:...`
stays at home.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.events.hints import DIRECTORY_TOPIC, QUEUE_TOPIC, Topic
from mailbox_app.events.hub import RESYNC

SHARED_TOPICS = frozenset({QUEUE_TOPIC, DIRECTORY_TOPIC})
_MAX_TOPICS = 1_000
_MAX_MESSAGE_BYTES = 65_536
_PAUSE_SECONDS = 0.05
_WAIT_SECONDS = 1.0
_BEAT_SECONDS = 10.0
"""An idle node publishes a message without topics so often: what it hears of itself shows that the way works."""
_SILENCE_SECONDS = 30.0
_RETRY_SECONDS = 2.0


class Channel(Protocol):
    """What all nodes hear. Everything blocks and raises `MailboxError`."""

    def publish(self, message: bytes) -> None:
        """To everybody, ourselves included."""
        ...

    def open(self) -> None:
        """Hear from now on."""
        ...

    def receive(self, seconds: float) -> bytes | None:
        """The next message; None when there was none for so long."""
        ...

    def close(self) -> None:
        """Hear nothing more."""
        ...


class NodeHints:
    """One per node, in its core."""

    def __init__(
        self, channel: Channel, bring: Callable[[Sequence[Topic]], None], offload: Offload, clock: Clock
    ) -> None:
        """`bring` hands hints of other nodes to the processes of this one."""
        self._channel = channel
        self._bring = bring
        self._offload = offload
        self._clock = clock
        self._mark = secrets.token_hex(8)
        self._waiting: dict[Topic, None] = {}
        self._is_behind = False
        """Others may have missed something of ours."""
        self._wake = asyncio.Event()
        self._heard_at = 0.0
        self._log = structlog.get_logger("hints")

    def publish(self, topics: Sequence[Topic]) -> None:
        """What a process of this node published. On the loop; quick."""
        for topic in topics:
            if topic in SHARED_TOPICS and len(self._waiting) < _MAX_TOPICS:
                self._waiting[topic] = None
        if self._waiting:
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send())
            tasks.create_task(self._hear())

    async def _send(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_BEAT_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            topics, self._waiting = self._waiting, {}
            message = "\n".join((self._mark, *((RESYNC,) if self._is_behind else topics)))
            try:
                await self._offload.run(self._channel.publish, message.encode())
                self._is_behind = False
            except MailboxError:  # the link has told it
                self._is_behind = True
                self._wake.set()
                await self._clock.sleep(_RETRY_SECONDS)
            await self._clock.sleep(_PAUSE_SECONDS)

    async def _hear(self) -> None:
        listener = Offload(1)
        try:
            while True:
                try:
                    await listener.run(self._channel.open)
                    self._heard_at = self._clock.monotonic_seconds()
                    self._bring((RESYNC,))  # whatever was said meanwhile
                    while self._clock.monotonic_seconds() - self._heard_at < _SILENCE_SECONDS:
                        message = await listener.run(self._channel.receive, _WAIT_SECONDS)
                        if message is not None:
                            self._received(message)
                    self._log.warning("hints_silent", seconds=_SILENCE_SECONDS)
                except MailboxError as error:
                    self._log.info("hints_cut_off", code=error.code)
                await self._clock.sleep(_RETRY_SECONDS)
        finally:
            self._channel.close()
            await self._offload.run(listener.close)

    def _received(self, message: bytes) -> None:
        mark, *topics = message[:_MAX_MESSAGE_BYTES].decode("utf-8", "replace").split("\n")
        if mark == self._mark:
            self._heard_at = self._clock.monotonic_seconds()
            return
        known = [topic for topic in topics if topic == RESYNC or topic in SHARED_TOPICS]
        if known:
            self._bring(tuple(dict.fromkeys(known)))
