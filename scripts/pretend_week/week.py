"""Seven days of mail out by a pretend clock: the product's own queue, runner, transport, breakers, pace and reports, as wired for
the daemon, against pretend servers that fail in all the usual ways.

Prints each message's tries, the breakers' changes, the reports and what waits in the end, then one PASS or FAIL for each
promise. Exit code 1 when one does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from cast import ACCOUNTS, HELD, SECURE_HOST, SILENT_DNS, US, WEEK, Cast, Letter, letters, servers
from observed import Observed, Watcher, look_back
from peers import DAY, HOUR
from promises import PROMISES
from telling import tell
from virtual_time import AtOnce, LoopClock, PretendLoop

from mailbox_app.accounts.sasl import Sasl
from mailbox_app.config.load import load
from mailbox_app.config.paths import resolve
from mailbox_app.delivery.mail import Mail, Recipient
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue import runner
from mailbox_app.mailqueue.model import Envelope, HoldRule, NewRecipient, QueueFilter
from mailbox_app.net.tls import ensure_self_signed
from mailbox_app.proto.dates import format_date
from mailbox_app.runtime.board import Board
from mailbox_app.runtime.daemon import Daemon
from mailbox_app.runtime.mail_exchange import smtp_service
from mailbox_app.runtime.mail_out import MailOut, build_mail_out
from mailbox_app.runtime.parts import Parts
from mailbox_app.runtime.wiring import initialise
from tests.support.dns import FakeResolver
from tests.support.known_passwords import KnownPasswords

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
AFTER_SECONDS = 7 * HOUR
"""How long it goes on after seven days, for what came late on the first."""
HISTORY_DAYS = 30


@dataclass(frozen=True, slots=True)
class Scale:
    """How much mail there is."""

    bulk_domains: int = 20
    bulk_recipients: int = 5_000
    crowd: int = 40
    """Messages to the host that is dead all week."""
    poll_seconds: float = 60.0
    """How often the runner looks without a reason; seldom makes a week quicker and changes nothing else."""
    restarts: int = 0
    """How often the server is stopped, and away for up to six hours."""
    seed: int = 7


SMALL = Scale(2, 400, 30, 3_600.0)
"""For tests."""


class House:
    """The product in one process, in pretend time."""

    def __init__(self, folder: Path, loop: PretendLoop, scale: Scale, redis_url: str = "") -> None:
        self.loop = loop
        self.clock = LoopClock(loop, START)
        certificate, key = ensure_self_signed(folder, SECURE_HOST)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.cast: Cast = servers(self.seconds, scale.bulk_domains, context)
        self.cast.letters = letters(scale.bulk_domains, scale.bulk_recipients, scale.crowd)
        for address, domain in self.cast.addresses.items():
            loop.network.add(address, self.cast.peers[domain].serve)
        self.resolver = FakeResolver(self.cast.zone, self.clock)
        self.resolver.broken.add((SILENT_DNS, "MX"))
        self.resolver.authenticated.add("secure.example")
        self.parts = self._parts(folder, certificate, redis_url)
        self._dice = random.Random(scale.seed)
        self._restarts = scale.restarts
        self.out: MailOut = self._mail_out()
        self.submission = smtp_service(self.parts, Sasl(KnownPasswords())).submission
        self.watcher = Watcher(self.seconds)
        self.ids: dict[str, QueueId] = {}
        """Of each letter, by its name."""
        self._tasks: list[asyncio.Task[None]] = []

    def seconds(self) -> float:
        """Since the week began."""
        return self.clock.epoch_seconds() - START.timestamp()

    def _parts(self, folder: Path, certificate: Path, redis_url: str) -> Parts:
        config_file = folder / "config.toml"
        queue = f'backend = "redis"\nredis_url = "{redis_url}"\n' if redis_url else ""
        config_file.write_text(
            f'[server]\nhostname = "mail.{US}"\ndata_dir = "{folder}/data"\nrun_dir = "{folder}/run"\n'
            '[dns]\nservers = ["127.0.0.1:9"]\ndnssec = "trust"\n'
            f'[delivery]\nallow_private_addresses = true\nca_file = "{certificate}"\n[queue]\n{queue}'
        )
        config = load(config_file)
        paths = resolve(config, config_file)
        for each in (paths.data_dir, paths.run_dir):
            each.mkdir(exist_ok=True)
        initialise(paths)
        daemon = Daemon(config, paths, (), None, socket.socket(socket.AF_UNIX), Board(["single"]), START, 0)
        parts = Parts.build(daemon, self.loop, clock=self.clock, resolver=self.resolver)
        parts.offload._threads = AtOnce()  # type: ignore[assignment]
        if redis_url:
            parts.queue._caller_time = True  # type: ignore[attr-defined]
        parts.directory.add_domain(US)
        for address in ACCOUNTS:
            parts.directory.add_account(address, "$argon2id$nobody logs in")
        parts.queue.add_rule(HoldRule(0, recipient=f"@{HELD}", reason="under discussion"))
        return parts

    def _mail_out(self) -> MailOut:
        out = build_mail_out(self.parts)
        out.runner._chance = out.transport._passages._chance = self._dice.random
        return out

    def start(self) -> None:
        """What the core runs for mail out."""
        for job in (self.out.runner.run, self.out.delays.run, self.out.forgetting.run):
            self._tasks.append(self.loop.create_task(job()))

    async def rest(self) -> None:
        """Stop what the core runs for mail out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self.out.transport.close()
        self.out.tls.memory.close()
        self.out.tls_rows.close()

    async def stop(self) -> None:
        """End it and close the files."""
        await self.rest()
        await asyncio.sleep(60)  # connections that are being left
        self.parts.close()

    async def _be_away(self) -> list[tuple[float, float]]:
        """Stop and start again at any time; when it was away."""
        away: list[tuple[float, float]] = []
        for at in sorted(self._dice.uniform(8 * HOUR, WEEK + AFTER_SECONDS - 7 * HOUR) for _ in range(self._restarts)):
            await asyncio.sleep(max(at - self.seconds(), 60.0))
            began = self.seconds()
            await self.rest()
            self.loop.skip(self._dice.choice((0.0, self._dice.uniform(0, 6 * HOUR))))
            self.out = self._mail_out()
            self.start()
            away.append((began, self.seconds()))
        return away

    async def send(self, letter: Letter) -> None:
        """As a logged-in user; what is not from one of ours is passed on."""
        recipients = [Recipient(address, outside=[address], notify=letter.notify) for address in letter.to]
        content = self._content(letter)
        due_at = START + timedelta(seconds=letter.due_at) if letter.due_at is not None else None
        envelope = Envelope(letter.sender, require_tls=letter.require_tls)
        account = self.parts.directory.account(letter.sender) if letter.sender else None
        if account is None:
            spool = self.parts.spool.write(b"", content)
            new = [NewRecipient(address, notify=letter.notify) for address in letter.to]
            self.ids[letter.name] = self.parts.queue.enqueue(envelope, new, spool, self.clock.now())
            return
        mail = Mail(envelope, recipients, b"", content, len(content), due_at=due_at)
        delivered = await self.submission.submit(account, mail)
        [(self.ids[letter.name], _)] = delivered.queued

    def _content(self, letter: Letter) -> bytes:
        number = self.cast.letters.index(letter)
        marks = "List-Id: <news.example.org>\r\n" if letter.is_bulk else ""
        return (
            f"From: {letter.sender or f'mailer-daemon@{US}'}\r\nTo: {letter.to[0]}\r\nSubject: {letter.name}\r\n"
            f"Date: {format_date(self.clock.now()).decode()}\r\nMessage-ID: <{number}@{US}>\r\n{marks}\r\nHello.\r\n"
        ).encode()

    async def live(self) -> Observed:
        """The week, a while more, and the month after which all is forgotten."""
        self.start()
        dns_back = self.loop.create_task(self._heal_dns())
        for letter in self.cast.letters:
            if (ahead := letter.at - self.seconds()) > 0:
                await asyncio.sleep(ahead)
            await self.send(letter)
        away = await self._be_away()
        await asyncio.sleep(WEEK + AFTER_SECONDS - self.seconds())
        await dns_back
        observed = look_back(self.watcher, self.parts, self.cast, self.ids, START)
        observed.away = away
        await self._months_later(observed)
        return observed

    async def _heal_dns(self) -> None:
        await asyncio.sleep(max(DAY - self.seconds(), 0.0))
        self.resolver.broken.clear()

    async def _months_later(self, observed: Observed) -> None:
        """How long is known what left on the first day."""
        first = self.ids[self.cast.letters[0].name]
        left_at = observed.finished[first][0].finished_at
        for days in (HISTORY_DAYS - 0.2, HISTORY_DAYS + 0.2):
            self.loop.skip((left_at + timedelta(days=days) - self.clock.now()).total_seconds())
            await asyncio.sleep(1_300)
            observed.remembered.append((days, bool(self._history(first))))

    def _history(self, queue_id: QueueId) -> bool:
        return bool(self.parts.queue.history(QueueFilter(ids=[queue_id]), 0, 1))


def run(scale: Scale, redis_url: str = "") -> Observed:
    """A week in a loop of its own."""
    loop = PretendLoop()
    with tempfile.TemporaryDirectory(prefix="pretend-week-", dir=_in_memory()) as folder, contextlib.closing(loop):
        house = House(Path(folder), loop, scale, redis_url)
        with house.watcher, patch.object(runner, "_POLL_SECONDS", scale.poll_seconds):
            try:
                return loop.run_until_complete(house.live())
            finally:
                loop.run_until_complete(house.stop())


def _in_memory() -> str | None:
    """Where nothing is synced to a disk, if there is such a place."""
    memory = "/dev/shm"  # noqa: S108 - for folders of our own below it
    return memory if os.access(memory, os.W_OK) else None


@contextlib.contextmanager
def redis_of_its_own() -> Iterator[str]:
    """The address of a redis-server that lives as long as this."""
    from tests.support.redis import PROGRAM, RedisServer

    if PROGRAM is None:
        sys.exit("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="pretend-redis-", dir=_in_memory()) as folder:
        server = RedisServer(Path(folder) / "redis")
        try:
            yield server.start().url
        finally:
            server.destroy()


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="scripts/week", description=__doc__)
    parser.add_argument("--backend", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--recipients", type=int, default=5_000, help="of the bulk run")
    parser.add_argument("--all", action="store_true", help="list every message's tries, not only the telling ones")
    parser.add_argument(
        "--restarts", type=int, default=0, help="stop the server so often, for up to six hours each time"
    )
    parser.add_argument("--seed", type=int, default=7, help="of the jitter and of the restarts")
    options = parser.parse_args()
    began = time.monotonic()
    scale = Scale(bulk_recipients=options.recipients, restarts=options.restarts, seed=options.seed)
    with redis_of_its_own() if options.backend == "redis" else contextlib.nullcontext("") as redis_url:
        observed = run(scale, redis_url)
    tell(observed, everything=options.all)
    broken = 0
    print("\nPromises")
    checked = [promise for promise in PROMISES if promise.holds_for(observed)]
    for promise in checked:
        faults = promise.check(observed)
        broken += bool(faults)
        print(f"{'FAIL' if faults else 'PASS'}  {promise.text}")
        for fault in faults[:10]:
            print(f"        {fault}")
    print(f"\n{len(checked) - broken} of {len(checked)} promises hold; {time.monotonic() - began:.0f} s of real time")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
