"""The way into mailboxes for sessions and runners: off the loop, sharing commits with whatever else arrives.

A lone message is staged and committed in one visit to a thread; while a commit of its account runs, further ones are
staged in threads of their own, so that their fsyncs overlap, and share the next commit. A return means durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from mailbox_app.db.offload import GroupCommit, Offload
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.store.interface import Content, NewMessage, Staged, Store
from mailbox_app.store.model import Appended


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message goes and what it carries there; the fields of `NewMessage`."""

    mailbox: str
    flags: int = 0
    keywords: tuple[str, ...] = ()
    internal_seconds: int | None = None


INBOX = Place("INBOX")

_Item = tuple[AccountRef, Content | Staged, Place]


class Appender:
    """One per process and kind of traffic: only what goes through the same one shares commits."""

    def __init__(self, store: Store, offload: Offload) -> None:
        self._store = store
        self._offload = offload
        self._commits: GroupCommit[AccountId, _Item, Appended] = GroupCommit(offload, self._commit)

    async def append(self, ref: AccountRef, message: Content | Staged, place: Place = INBOX) -> Appended:
        """Store one message; a staged one is consumed in any case. A cancelled caller may find it stored all the same."""
        if isinstance(message, Content) and not self._may_go_at_once(ref, message):
            message = await self._stage(ref, message)
        return await self._commits.submit(ref.account_id, (ref, message, place))

    def _may_go_at_once(self, ref: AccountRef, content: Content) -> bool:
        """Nothing else waits for the account, and the bytes are in memory: a large file would hold up who comes next."""
        return isinstance(content.body, bytes) and self._commits.is_idle(ref.account_id)

    async def _stage(self, ref: AccountRef, content: Content) -> Staged:
        staging: asyncio.Future[Staged] = asyncio.ensure_future(self._offload.run(self._store.stage, ref, content))
        try:
            return await asyncio.shield(staging)
        except asyncio.CancelledError:
            with suppress(StoreError):
                self._store.discard(await staging)
            raise

    def _commit(self, _: AccountId, items: Sequence[_Item]) -> Sequence[Appended | Exception]:
        results: list[Appended | Exception | None] = [None] * len(items)
        messages: list[NewMessage] = []
        try:
            for number, (ref, message, place) in enumerate(items):
                try:
                    staged = message if isinstance(message, Staged) else self._store.stage(ref, message, synced=False)
                except StoreError as error:
                    results[number] = error
                    continue
                messages.append(NewMessage(staged, place.mailbox, place.flags, place.keywords, place.internal_seconds))
            appended = iter(self._store.account(items[-1][0]).append(messages) if messages else ())
        except BaseException:
            for ready in messages:
                self._store.discard(ready.staged)
            raise
        return [next(appended) if result is None else result for result in results]
