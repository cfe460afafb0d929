"""What remote servers have taken, written down the moment they say so: a killed process does not deliver it again.

The queue's own record of a delivery waits for a durable write that many share. A mark does not: it is one short record, appended
by one write to a file of this process, and survives the process's death at any instant (a power cut may take it along, as it takes
what was not yet recorded). Whoever starts next settles what the dead have marked before anything is claimed. A record that is
cut off or damaged is no mark; a disk that takes none is told in the log, and the delivery goes on.

`note` writes on the event loop on purpose: it takes some microseconds, and every detour would be time in which a kill
doubles a message.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import msgspec
import structlog

from mailbox_app.errors import MailboxError
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.holders import holder_lives, holder_of, new_token
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import Fate, Lease, Outcome, RecipientState, Settlement

_FILE_BYTES = 262_144
"""A file of so many is followed by a new one, and goes when all its leases are settled: about a thousand deliveries."""
_READ_BYTES = 64 * _FILE_BYTES
"""Of a file that somebody left behind."""

_OWN: set[str] = set()
"""Names of files that this process writes to."""


class _Mark(msgspec.Struct, array_like=True, frozen=True):
    """One record: these recipients of a lease were taken."""

    token: str
    queue_id: str
    addresses: list[str]
    code: int
    enhanced: str
    text: str
    host: str
    tls: str
    relayed: bool


@dataclass(slots=True)
class _File:
    """One that is written to, or whose leases are not all settled."""

    path: Path
    descriptor: int
    size_bytes: int = 0
    tokens: set[str] = field(default_factory=set)


class DeliveryMarks:
    """One per process that delivers, on its event loop; `left_behind` and `forget` run in threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[_File] = []
        """The last one is written to."""
        self._open: dict[str, dict[str, Outcome]] = {}
        """What is marked and not yet settled, by token and address."""
        self._is_troubled = False
        self._log = structlog.get_logger("queue")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def note(self, lease: Lease, outcomes: Sequence[Outcome]) -> None:
        """Mark what was delivered, each recipient once; in the operating system's hands on return. Raises nothing."""
        known = self._open.setdefault(lease.token, {})
        new = [each for each in outcomes if each.fate is Fate.DELIVERED and each.address not in known]
        together: dict[tuple[object, ...], list[Outcome]] = {}
        for each in new:
            known[each.address] = each
            together.setdefault((each.code, each.text, each.host), []).append(each)
        for some in together.values():
            self._write(lease, some)

    def of(self, lease: Lease) -> Sequence[Outcome]:
        """What is marked of a lease."""
        return list(self._open.get(lease.token, {}).values())

    def settled(self, lease: Lease) -> None:
        """The queue has recorded it, or somebody else owns it."""
        if not self._open.pop(lease.token, None):
            return
        for file in self._files:
            file.tokens.discard(lease.token)
        for file in [each for each in self._files[:-1] if not each.tokens]:
            self._drop(file)

    def close(self) -> None:
        """Files without an open mark go; the others are for whoever starts next."""
        for file in list(self._files):
            if file.tokens:
                os.close(file.descriptor)
            else:
                self._drop(file)
        self._files.clear()

    def left_behind(self, backend: QueueBackend) -> Sequence[tuple[Lease, Sequence[Outcome]]]:
        """Leases of dead processes of which something is marked and nothing settled, as far as the queue still has them."""
        found: dict[str, tuple[str, dict[str, Outcome]]] = {}
        for path in self._dead():
            for mark in _read(path):
                _, outcomes = found.setdefault(mark.token, (mark.queue_id, {}))
                outcomes.update((each.address, each) for each in _outcomes(mark))
        return [
            (lease, [outcomes[one.address] for one in lease.message.recipients])
            for token, (queue_id, outcomes) in found.items()
            if (lease := _lease(backend, token, QueueId(queue_id), outcomes)) is not None
        ]

    def forget(self) -> None:
        """What dead processes left is settled."""
        for path in self._dead():
            with suppress(FileNotFoundError):
                path.unlink()

    def _write(self, lease: Lease, outcomes: Sequence[Outcome]) -> None:
        first = outcomes[0]
        mark = _Mark(
            lease.token,
            lease.message.queue_id,
            [each.address for each in outcomes],
            first.code,
            first.enhanced,
            first.text,
            first.host,
            first.tls,
            first.relayed,
        )
        record = b"\n%b\n" % msgspec.json.encode(
            mark
        )  # the first line end makes good for a record before that was cut off
        try:
            file = self._current()
            file.tokens.add(lease.token)
            file.size_bytes += os.write(file.descriptor, record)
        except OSError as error:
            if not self._is_troubled:
                self._log.error("deliveries cannot be marked, a crash now would repeat some", reason=str(error))
            self._is_troubled = True
        else:
            self._is_troubled = False

    def _current(self) -> _File:
        if self._files and self._files[-1].size_bytes < _FILE_BYTES:
            return self._files[-1]
        name = f"{holder_of(new_token())}.{secrets.token_hex(6)}"
        _OWN.add(name)
        path = self._folder / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        made = _File(path, os.open(path, flags, 0o600))
        full = self._files[-1] if self._files else None
        self._files.append(made)
        if full is not None and not full.tokens:
            self._drop(full)
        return made

    def _drop(self, file: _File) -> None:
        os.close(file.descriptor)
        with suppress(FileNotFoundError):
            file.path.unlink()
        _OWN.discard(file.path.name)
        self._files.remove(file)

    def _dead(self) -> Iterator[Path]:
        """Files of processes that do not live any more."""
        own = frozenset(_OWN)
        for path in sorted(self._folder.iterdir()):
            holder, dot, _ = path.name.rpartition(".")
            if not dot or path.name in own:
                continue
            try:
                lives = holder_lives(holder) and holder != holder_of(new_token())
            except ValueError:  # nobody's name
                continue
            if not lives:
                yield path


def settle_left_behind(backend: QueueBackend, folder: Path, now: datetime) -> int:
    """Record what dead processes have marked for this backend, where no runner does it; how many leases."""
    marks = DeliveryMarks(folder)
    left = marks.left_behind(backend)
    lost = backend.settle([Settlement(lease, outcomes, lease.message.expires_at) for lease, outcomes in left], now)
    marks.forget()
    return len(left) - len(lost)


def _read(path: Path) -> Iterator[_Mark]:
    """The whole records of a file."""
    try:
        with path.open("rb") as file:
            lines = file.read(_READ_BYTES).split(b"\n")
    except FileNotFoundError:  # somebody else was quicker
        return
    for line in lines[:-1]:
        if line:
            with suppress(msgspec.MsgspecError, UnicodeDecodeError):  # cut off, or never written to the end
                yield msgspec.json.decode(line, type=_Mark)


def _outcomes(mark: _Mark) -> Iterator[Outcome]:
    for address in mark.addresses:
        yield Outcome(
            address, Fate.DELIVERED, mark.code, mark.enhanced, mark.text, mark.host, mark.tls, relayed=mark.relayed
        )


def _lease(backend: QueueBackend, token: str, queue_id: QueueId, outcomes: dict[str, Outcome]) -> Lease | None:
    """The lease as far as it was marked; None when the message has left."""
    try:
        message = backend.message(queue_id)
    except MailboxError as error:
        if error.temporary:
            raise
        return None
    recipients = [one for one in message.recipients if one.state is RecipientState.ACTIVE and one.address in outcomes]
    return Lease(token, replace(message, recipients=recipients), "", message.expires_at) if recipients else None
