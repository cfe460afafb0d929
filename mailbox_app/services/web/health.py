"""How the server is, part by part: directory, queue, storage, certificate, processes.

Each check looks at the real thing and is bounded in time; one that fails or hangs is `degraded` with a reason and never an
error of the asker. Results are kept for a second and computed once for all who ask meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mailbox_app.accounts.interface import Directory
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.problems import queue_problems

_CHECK_SECONDS = 5.0
_KEPT_SECONDS = 1.0
_LEAST_FREE_BYTES = 268_435_456
"""About ten of the largest messages, twice over: below it refusals are near."""
_CERTIFICATE_DAYS = 7

Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Component:
    """One part. `reason` is empty when it is well."""

    name: str
    ok: bool
    reason: str = ""
    fields: Fields = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """All parts at one moment."""

    components: Sequence[Component]
    uptime_seconds: float

    @property
    def ok(self) -> bool:
        """Whether every part is well."""
        return all(component.ok for component in self.components)

    @property
    def ready(self) -> bool:
        """Whether mail can be taken: accounts are known and every process serves."""
        return all(component.ok for component in self.components if component.name in {"directory", "processes"})


@dataclass(frozen=True, slots=True)
class Probes:
    """What the checks look at."""

    directory: Directory
    queue: QueueBackend
    data_dir: Path
    certificate_days: Callable[[], int]
    processes_down: Callable[[], Sequence[str]]
    """Names of the processes that do not serve now."""
    lists_off: Callable[[], Sequence[str]] = tuple
    """DNS lists that are switched off because they answer wrong."""
    key_problems: Callable[[], Sequence[str]] = tuple
    """Sentences about signing keys whose records would not do."""
    outbound_trouble: Callable[[], str] = str
    """What keeps mail from leaving at all, "" for nothing."""
    dane: Callable[[], str] = str
    """Whether DANE is used, in one sentence."""
    redis: Callable[[], None] | None = None
    """Asks the Redis that nodes share and raises `MailboxError`; None: this server is alone."""


class HealthChecks:
    """Runs the checks."""

    def __init__(self, probes: Probes, offload: Offload, clock: Clock) -> None:
        self._probes = probes
        self._offload = offload
        self._clock = clock
        self._started = clock.monotonic_seconds()
        self._kept: Health | None = None
        self._kept_until = 0.0
        self._lock = asyncio.Lock()

    async def health(self) -> Health:
        """How everything is, at most a second ago."""
        async with self._lock:
            now = self._clock.monotonic_seconds()
            if self._kept is None or now >= self._kept_until:
                self._kept = Health(await self._components(), now - self._started)
                self._kept_until = self._clock.monotonic_seconds() + _KEPT_SECONDS
            return self._kept

    async def _components(self) -> Sequence[Component]:
        down = self._probes.processes_down()
        shared = [self._check("redis", self._redis)] if self._probes.redis is not None else []
        return [
            *await asyncio.gather(
                self._check("directory", self._directory),
                self._check("queue", self._queue),
                self._check("storage", self._storage),
                self._check("certificate", self._certificate),
                self._check("dns_lists", self._dns_lists),
                *shared,
                self._check("signing_keys", self._signing_keys),
            ),
            self._outbound(),
            Component("processes", not down, f"not serving: {', '.join(down)}" if down else ""),
        ]

    async def _check(self, name: str, function: Callable[[], tuple[str, Fields]]) -> Component:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                reason, fields = await self._offload.run(function)
        except TimeoutError:
            return Component(name, False, f"no answer within {_CHECK_SECONDS:.0f} s")
        except MailboxError as error:
            return Component(name, False, error.public_text)
        except OSError as error:
            return Component(name, False, os.strerror(error.errno) if error.errno else "input/output error")
        return Component(name, not reason, reason, fields)

    def _directory(self) -> tuple[str, Fields]:
        return "", {"domains": len(self._probes.directory.domains())}

    def _queue(self) -> tuple[str, Fields]:
        now = self._clock.now()
        queue = self._probes.queue
        stats, pauses, rules = queue.stats(now), queue.pauses(), queue.rules()
        told = [sentence for weight, sentence in queue_problems(stats, pauses, now, rules) if weight != "info"]
        return "", {
            "recipients": stats.recipients,
            "deferred": stats.deferred,
            "active": stats.active,
            "held": stats.held,
            "quarantined": stats.quarantined,
            "late": stats.late,
            "oldest_seconds": 0 if stats.oldest_at is None else int((now - stats.oldest_at).total_seconds()),
            "paused": [pause.destination or "*" for pause in pauses],
            "problems": [*queue.problems(), *told],
        }

    def _storage(self) -> tuple[str, Fields]:
        probe = self._probes.data_dir / "tmp" / ".health"
        probe.parent.mkdir(mode=0o750, exist_ok=True)
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, b"ok")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        probe.unlink(missing_ok=True)
        disk = os.statvfs(self._probes.data_dir)
        free_bytes = disk.f_bavail * disk.f_frsize
        reason = "almost full" if free_bytes < _LEAST_FREE_BYTES else ""
        return reason, {"free_bytes": free_bytes, "total_bytes": disk.f_blocks * disk.f_frsize}

    def _outbound(self) -> Component:
        trouble = self._probes.outbound_trouble()
        return Component("outbound", not trouble, trouble, {"dane": self._probes.dane()})

    def _dns_lists(self) -> tuple[str, Fields]:
        """A list that is off is worth knowing, but mail goes on without it."""
        return "", {"switched_off": list(self._probes.lists_off())}

    def _signing_keys(self) -> tuple[str, Fields]:
        """Mail goes on, with a signature that nobody can verify."""
        return "", {"problems": list(self._probes.key_problems())}

    def _redis(self) -> tuple[str, Fields]:
        """Without it no mail is taken and counters are each process's own."""
        assert self._probes.redis is not None
        self._probes.redis()
        return "", {}

    def _certificate(self) -> tuple[str, Fields]:
        days = self._probes.certificate_days()
        reason = "expired" if days < 0 else "expires soon" if days < _CERTIFICATE_DAYS else ""
        return reason, {"days": days}
