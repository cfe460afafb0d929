"""The rotation of signing keys by plan: publish, wait, switch, retire.

A prepared key signs once its record has been at every name server of its domain for as long as resolvers may remember that there
was none. It then takes the place of the active keys of its algorithm, whose records must stay while mail signed with
them may be under way; after that their private halves go, and the operator may remove the records. A record that
disappears again starts the wait anew. Each step is one look, so it can be repeated at any time, after any crash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

from mailbox_app.accounts.dkim_keys import generate
from mailbox_app.accounts.model import DkimKey, KeyState
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import ResolveError
from mailbox_app.mailauth.dkim_verify import key_name
from mailbox_app.mailauth.key_records import find_key
from mailbox_app.net.authority import Authority, ServerAnswer
from mailbox_app.net.resolver import Resolver

RETIRING = timedelta(days=8)
"""A message lives seven days in a queue, and its reader's server may look at it a day later."""
_NEGATIVE_FLOOR = timedelta(minutes=5)
_NEGATIVE_CEILING = timedelta(days=1)
Seen = Literal["yes", "no", "partly", "wrong", "unknown"]


class Keys(Protocol):
    """What of the directory is needed; blocking."""

    def all_dkim_keys(self, domain: str) -> Sequence[DkimKey]:
        """In all states."""
        ...

    def domains_with_keys(self) -> Sequence[str]:
        """Domains with keys that are not retired."""
        ...

    def add_dkim_key(self, key: DkimKey) -> None:
        """A new key."""
        ...

    def move_dkim_keys(self, domain: str, states: dict[str, KeyState]) -> None:
        """All at once."""
        ...

    def note_dkim_published(self, domain: str, selector: str, *, everywhere: bool) -> None:
        """What the last look found."""
        ...


@dataclass(frozen=True, slots=True)
class Publication:
    """What DNS says about a key's record now."""

    seen: Seen
    servers: Sequence[ServerAnswer]
    wait: timedelta
    """How long resolvers may remember what was there before."""

    @property
    def sentence(self) -> str:
        """For the operator."""
        if self.seen == "yes":
            return "its record is published" + (f" at all {len(self.servers)} name servers" if self.servers else "")
        if self.seen == "unknown":
            return "the name servers of the domain could not be asked"
        if self.seen == "partly":
            missing = ", ".join(each.server for each in self.servers if not each.records)
            return f"its record is not yet at {missing}"
        return "its record is not published" if self.seen == "no" else "another record stands in its place"


@dataclass(frozen=True, slots=True)
class Step:
    """A change that was made."""

    domain: str
    selector: str
    what: Literal["published", "vanished", "switched", "retiring", "retired", "prepared"]


class KeyRotation:
    """Looks at the keys of domains and moves them on. Changes are told to `tell` (audit, log), which may block."""

    def __init__(
        self,
        keys: Keys,
        authority: Authority,
        resolver: Resolver,
        offload: Offload,
        clock: Clock,
        tell: Callable[[Step], None],
        rotate_after: Callable[[], timedelta],
    ) -> None:
        self._keys = keys
        self._authority = authority
        self._resolver = resolver
        self._offload = offload
        self._clock = clock
        self._tell = tell
        self._rotate_after = rotate_after

    async def publication(self, key: DkimKey) -> Publication:
        """Ask the zone's own servers; where they are not known, the resolver."""
        name = key_name(key.selector, key.domain)
        try:
            answers = await self._authority.txt(name)
        except ResolveError:
            return await self._by_resolver(key, name)
        if aliases := [answer.alias for answer in answers if answer.alias]:  # the record is in somebody else's zone
            return await self._by_resolver(key, aliases[0])
        told = [answer for answer in answers if answer.records is not None]
        if len(told) < len(answers) or not told:
            return Publication("unknown", answers, _NEGATIVE_CEILING)
        good = [answer for answer in told if _holds(key, answer.records or ())]
        wait = timedelta(seconds=max(answer.ttl_seconds for answer in told))
        wait = min(max(wait, _NEGATIVE_FLOOR), _NEGATIVE_CEILING)
        if len(good) == len(told):
            return Publication("yes", answers, wait)
        if any(answer.records and answer not in good for answer in told):
            return Publication("wrong", answers, wait)
        return Publication("partly" if good else "no", answers, wait)

    async def step(self, domain: str) -> None:
        """Move the keys of one domain on as far as they may go now."""
        keys = await self._offload.run(self._keys.all_dkim_keys, domain)
        await self._prepare_when_old(domain, keys)
        ready = [key for key in keys if key.state is KeyState.PREPARED and await self._is_ready(key)]
        if ready:
            await self._switch(domain, keys, ready)
        now = self._clock.now()
        for key in keys:
            if key.state is KeyState.RETIRING and now >= (key.changed_at or key.created_at) + RETIRING:
                await self._move(domain, {key.selector: KeyState.RETIRED})
                await self._told(Step(domain, key.selector, "retired"))

    async def rotate(self, domain: str, algorithms: Sequence[str]) -> Sequence[DkimKey]:
        """Make the keys that shall follow; they sign once they are published. Those prepared before stay."""
        keys = await self._offload.run(self._keys.all_dkim_keys, domain)
        made: list[DkimKey] = []
        for algorithm in algorithms:
            if waiting := [key for key in keys if key.state is KeyState.PREPARED and key.algorithm == algorithm]:
                made.append(waiting[0])
                continue
            taken = {key.selector for key in keys}
            key = await self._offload.run(generate, domain, "", algorithm, self._clock.now(), KeyState.PREPARED, taken)
            await self._offload.run(self._keys.add_dkim_key, key)
            made.append(key)
        return made

    async def _prepare_when_old(self, domain: str, keys: Sequence[DkimKey]) -> None:
        after = self._rotate_after()
        if not after:
            return
        old = self._clock.now() - after
        due = {key.algorithm for key in keys if key.active and (key.changed_at or key.created_at) < old}
        due -= {key.algorithm for key in keys if key.state is KeyState.PREPARED}
        for key in await self.rotate(domain, sorted(due)):
            await self._told(Step(domain, key.selector, "prepared"))

    async def _is_ready(self, key: DkimKey) -> bool:
        found = await self.publication(key)
        if found.seen == "unknown":
            return False
        if (found.seen == "yes") != (key.published_at is not None):
            await self._offload.run(
                lambda: self._keys.note_dkim_published(key.domain, key.selector, everywhere=found.seen == "yes")
            )
            await self._told(Step(key.domain, key.selector, "published" if found.seen == "yes" else "vanished"))
            return False
        return key.published_at is not None and self._clock.now() >= key.published_at + found.wait

    async def _switch(self, domain: str, keys: Sequence[DkimKey], ready: Sequence[DkimKey]) -> None:
        algorithms = {key.algorithm for key in ready}
        replaced = [key for key in keys if key.active and key.algorithm in algorithms]
        states = {key.selector: KeyState.ACTIVE for key in ready} | {
            key.selector: KeyState.RETIRING for key in replaced
        }
        await self._move(domain, states)
        for key in ready:
            await self._told(Step(domain, key.selector, "switched"))
        for key in replaced:
            await self._told(Step(domain, key.selector, "retiring"))

    async def _told(self, step: Step) -> None:
        await self._offload.run(self._tell, step)

    async def _move(self, domain: str, states: dict[str, KeyState]) -> None:
        await self._offload.run(self._keys.move_dkim_keys, domain, states)

    async def _by_resolver(self, key: DkimKey, name: str) -> Publication:
        try:
            answer = await self._resolver.query(name, "TXT")
        except ResolveError:
            return Publication("unknown", (), _NEGATIVE_CEILING)
        if _holds(key, answer.records):
            return Publication("yes", (), _NEGATIVE_FLOOR)
        return Publication("wrong" if answer.records else "no", (), _NEGATIVE_FLOOR)


def _holds(key: DkimKey, records: Sequence[str]) -> bool:
    """Whether our own verifier finds this very key there, and could use it."""
    algorithm = b"rsa-sha256" if key.algorithm == "rsa" else b"ed25519-sha256"
    published, _ = find_key(records, algorithm)
    ours, _ = find_key([key.public_txt], algorithm)
    return published is not None and ours is not None and published.public == ours.public
