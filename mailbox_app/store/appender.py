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

_Copies = Sequence[tuple[Content | Staged, Place]]
_Item = tuple[AccountRef, _Copies]


class Appender:
    """One per process and kind of traffic: only what goes through the same one shares commits."""

    def __init__(self, store: Store, offload: Offload) -> None:
        self._store = store
        self._offload = offload
        self._commits: GroupCommit[AccountId, _Item, Sequence[Appended]] = GroupCommit(offload, self._commit)

    async def append(self, ref: AccountRef, message: Content | Staged, place: Place = INBOX) -> Appended:
        """Store one message; a staged one is consumed in any case. A cancelled caller may find it stored all the same."""
        if isinstance(message, Content) and not self._may_go_at_once(ref, message):
            message = await self._stage(ref, message)
        return (await self._commits.submit(ref.account_id, (ref, [(message, place)])))[0]

    async def append_all(self, ref: AccountRef, copies: Sequence[tuple[Staged, Place]]) -> Sequence[Appended]:
        """Store several copies, all or none of them; the staged ones are consumed in any case."""
        return await self._commits.submit(ref.account_id, (ref, copies))

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

    def _commit(self, _: AccountId, items: Sequence[_Item]) -> Sequence[Sequence[Appended] | Exception]:
        """Lone copies share one transaction; several of one message have one of their own, so that it is all or nothing."""
        results: list[Sequence[Appended] | Exception | None] = [None] * len(items)
        messages: list[NewMessage] = []
        try:
            for number, (ref, copies) in enumerate(items):
                try:
                    if len(copies) == 1:
                        messages += self._ready(ref, copies)
                except StoreError as error:
                    results[number] = error
            appended = iter(self._store.account(items[-1][0]).append(messages) if messages else ())
        except BaseException:
            for ready in messages:
                self._store.discard(ready.staged)
            raise
        for number, (ref, copies) in enumerate(items):
            if len(copies) > 1:
                results[number] = self._commit_all(ref, copies)
        return [_listed(next(appended)) if result is None else result for result in results]

    def _commit_all(self, ref: AccountRef, copies: _Copies) -> Sequence[Appended] | Exception:
        try:
            found = self._store.account(ref).append(self._ready(ref, copies), atomic=True)
        except Exception as error:  # noqa: BLE001 - theirs alone: what was committed before them stays committed
            return error
        return [each for each in found if isinstance(each, Appended)]

    def _ready(self, ref: AccountRef, copies: _Copies) -> list[NewMessage]:
        return [
            NewMessage(
                message if isinstance(message, Staged) else self._store.stage(ref, message, synced=False),
                place.mailbox,
                place.flags,
                place.keywords,
                place.internal_seconds,
            )
            for message, place in copies
        ]


def _listed(result: Appended | Exception) -> Sequence[Appended] | Exception:
    return result if isinstance(result, Exception) else [result]
