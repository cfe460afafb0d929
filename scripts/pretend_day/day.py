"""A day of pretend traffic against the real SMTP service, store and policy, by a clock that only moves when told.

Everything is the product's own wiring but the clock and DNS; each client's address is told by a PROXY header. The table says
for every kind of sender what was delivered, how long it waited, what went to Junk and what was refused, and names the wrong ones.
Exit code 1 when an honest message was refused or waited more than an hour, or when a decision record is missing or says
something else.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import itertools
import logging
import re
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from zlib import crc32

import structlog
from parts import build
from people import Opinion, Person
from world import BLOCK_LIST, DEAD_LIST, DENIED, NEWCOMER, OUR_DOMAIN, PEOPLE, Delivery, World

from mailbox_app.accounts.sasl import Sasl
from mailbox_app.config.load import load
from mailbox_app.config.paths import resolve
from mailbox_app.journal.explanations import Explanation, ExplanationFilter
from mailbox_app.net.proxy import ProxiedListener, TrustedProxies
from mailbox_app.policy.learning import Learner
from mailbox_app.policy.lessons import Lessons
from mailbox_app.policy.state.kept import KeptMail
from mailbox_app.policy.state.learning_marks import LearningMarks
from mailbox_app.proto.smtp.dot_stream import stuff
from mailbox_app.runtime.board import Board
from mailbox_app.runtime.daemon import Daemon
from mailbox_app.runtime.mail_exchange import smtp_service
from mailbox_app.runtime.parts import Parts
from mailbox_app.runtime.wiring import initialise
from mailbox_app.services.smtp.server import SmtpService
from tests.support.clock import FakeClock
from tests.support.dns import FakeResolver
from tests.support.known_passwords import KnownPasswords

HOUR = timedelta(hours=1)
NO_HASH = "$argon2id$nobody logs in"
LOOK_EVERY = timedelta(hours=3)
SECONDS_FOR_ONE = 60.0
"""No single session may take longer in real time."""


@dataclass(slots=True)
class Fate:
    """What became of one delivery."""

    delivery: Delivery
    tries: int = 0
    code: int = 0
    text: str = ""
    accepted_at: datetime | None = None
    trace_id: str = ""
    mailbox: str = ""
    why: str = ""
    score: float = 0.0
    answers: list[tuple[str, int]] = field(default_factory=list)
    """(client, code) of each try."""

    @property
    def waited(self) -> timedelta:
        """From its first try to its acceptance."""
        return timedelta(0) if self.accepted_at is None else self.accepted_at - self.delivery.at

    @property
    def outcome(self) -> str:
        """inbox, junk, refused (for good) or gone (its sender gave up)."""
        if self.accepted_at is not None:
            return "junk" if self.mailbox == "Junk" else "inbox"
        return "refused" if self.code >= 500 else "gone"


@dataclass(slots=True)
class Server:
    """The service under test and its virtual time."""

    parts: Parts
    service: SmtpService
    clock: FakeClock
    port: int
    running: list[ProxiedListener] = field(default_factory=list)

    async def deliver(self, delivery: Delivery, attempt: int) -> tuple[int, str]:
        """One try; (code, text) of the answer that ended it."""
        source = delivery.sources[attempt % len(delivery.sources)]
        sender = delivery.senders[attempt % len(delivery.senders)] if delivery.senders else delivery.sender
        task = asyncio.ensure_future(self._session(delivery, source, sender))
        deadline = time.monotonic() + SECONDS_FOR_ONE
        while not task.done():
            await asyncio.wait({task}, timeout=0.003)
            if not task.done() and (pause := self.clock.next_wake_seconds()) is not None:
                await self.clock.advance(pause)  # somebody waits on purpose
            if time.monotonic() > deadline:
                task.cancel()
                raise TimeoutError(f"{delivery.kind} from {source} takes for ever")
        return task.result()

    async def _session(self, delivery: Delivery, source: str, sender: str) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"PROXY TCP4 {source} 192.0.2.1 40000 25\r\n".encode())
            code, text = await _reply(reader)
            commands = [f"EHLO {delivery.helo}", f"MAIL FROM:<{sender}>"]
            commands += [f"RCPT TO:<{recipient}>" for recipient in delivery.recipients]
            for command in (*commands, "DATA"):
                if code >= 400 or not code:
                    return code, text
                writer.write(command.encode() + b"\r\n")
                code, text = await _reply(reader)
            if code == 354:
                writer.write(stuff(delivery.content))
                code, text = await _reply(reader)
        except ConnectionError as error:
            return 0, str(error)
        else:
            return code, text
        finally:
            writer.close()


async def _reply(reader: asyncio.StreamReader) -> tuple[int, str]:
    lines = []
    while line := await reader.readline():
        lines.append(line[4:].decode("utf-8", "replace").strip())
        if line[3:4] != b"-":
            return int(line[:3]), " ".join(lines)
    return 0, "closed"


async def serve(folder: Path, world: World) -> Server:
    """The product in one process, reachable by PROXY."""
    config_file = folder / "config.toml"
    config_file.write_text(
        f'[server]\nhostname = "mail.{OUR_DOMAIN}"\ndata_dir = "{folder}/data"\nrun_dir = "{folder}/run"\n'
        '[listen]\nsmtp = ["127.0.0.1:0"]\n[dns]\nservers = ["127.0.0.1:9"]\n[proxy]\ntrusted_networks = ["127.0.0.1/32"]\n'
        f'[url_lists]\ndeny = ["{DENIED}"]\n'
        + "".join(
            f'[dnsbl.lists."{zone}".answers]\n"127.0.0.2" = {{ meaning = "a source of spam", score = 3.0 }}\n'
            for zone in (BLOCK_LIST, DEAD_LIST)
        )
    )
    config = load(config_file)
    paths = resolve(config, config_file)
    for each in (paths.data_dir, paths.run_dir):
        each.mkdir(exist_ok=True)
    initialise(paths)
    clock = FakeClock(world.day - timedelta(days=15))
    daemon = Daemon(config, paths, (), None, socket.socket(socket.AF_UNIX), Board(["single"]), clock.now(), 0)
    parts = Parts.build(daemon, asyncio.get_running_loop(), clock=clock, resolver=FakeResolver(world.zone, clock))
    parts.directory.add_domain(OUR_DOMAIN)
    for address in (*PEOPLE, NEWCOMER):
        parts.directory.add_account(address, NO_HASH)
    service = smtp_service(parts, Sasl(KnownPasswords()))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    proxied = ProxiedListener(
        "smtp", listener, service.factory("smtp"), TrustedProxies(["127.0.0.1/32"]), None,
        handshake_seconds=10, shutdown_seconds=1,
    )  # fmt: skip
    proxied.start()
    return Server(parts, service, clock, listener.getsockname()[1], [proxied])


def people(server: Server, world: World) -> list[Person]:
    """Who reads the mail, by what they want of it."""
    parts = server.parts
    written = {message_id(each.content): each for each in (*world.earlier, *world.deliveries)}

    def judges(address: str, header: bytes) -> Opinion:
        delivery = written.get(message_id(header))
        return "wanted" if delivery is None else opinion(delivery, address)

    lessons = Lessons(parts.state.state.corpus, parts.state.state.reputation, parts.config.server.hostname)
    marks, kept = LearningMarks(parts.state.junk, parts.clock), KeptMail(parts.state.junk, parts.clock)
    learner = Learner(parts.store, lessons, marks, kept, lambda: parts.config.junk.rejects_mailbox)
    return [Person(account, parts.store, judges, learner.catch_up) for account in parts.directory.accounts()]


def opinion(delivery: Delivery, address: str) -> Opinion:
    """What somebody thinks of a message: of twenty people one dislikes a newsletter so that it is junk for them."""
    if not delivery.honest:
        return "unwanted"
    if delivery.brand and crc32(f"{delivery.brand} {address}".encode()) % 20 == 0:
        return "disliked"
    return "wanted"


def message_id(content: bytes) -> bytes:
    """What tells letters apart."""
    found = re.search(rb"^Message-ID: (\S+)", content, re.MULTILINE)
    return found[1] if found else b""


async def live(server: Server, readers: Sequence[Person], deliveries: Sequence[Delivery]) -> list[Fate]:
    """Every delivery with its retries, in the order of time; people look into their mail every few hours."""
    look_at = server.clock.now()
    fates = [Fate(each) for each in deliveries]
    order = itertools.count()
    due = [(fate.delivery.at, next(order), fate) for fate in fates]
    heapq.heapify(due)
    while due:
        at, _, fate = heapq.heappop(due)
        if at > server.clock.now():
            server.clock.skip((at - server.clock.now()).total_seconds())
            await asyncio.to_thread(server.parts.state.refresh)
        if at >= look_at:
            for reader in readers:
                await asyncio.to_thread(reader.look)
            look_at = at + LOOK_EVERY
        fate.code, fate.text = await server.deliver(fate.delivery, fate.tries)
        fate.answers.append((fate.delivery.sources[fate.tries % len(fate.delivery.sources)], fate.code))
        fate.tries += 1
        if 200 <= fate.code < 300:
            fate.accepted_at = at
            fate.trace_id = fate.text.rpartition(" ")[2]
        elif fate.code < 500 and fate.tries <= len(fate.delivery.retries):
            later = fate.delivery.at + timedelta(minutes=fate.delivery.retries[fate.tries - 1])
            heapq.heappush(due, (later, next(order), fate))
    return fates


def explain(server: Server, fates: Sequence[Fate]) -> None:
    """Where the accepted ones lie, and what was said about each of them, by the product's own records."""
    decisions = server.parts.decisions
    decisions.flush()
    for fate in fates:
        words = [fate.trace_id] if fate.trace_id else [*fate.delivery.recipients, fate.delivery.sender][:2]
        found = decisions.explanations(ExplanationFilter([word for word in words if word]), 1)
        if found:
            record = found[0][1]
            fate.mailbox = next((copy.target for copy in record.copies if copy.target), "")
            fate.why, fate.score = reasons(record), record.score


def reasons(record: Explanation) -> str:
    """The weightiest findings in short."""
    said = sorted(
        (each for each in record.findings if each.score or each.verdict != "accept"), key=lambda each: -each.score
    )
    return f"{record.code} score {record.score}: " + "; ".join(
        f"{each.check} {each.score:+.1f} {each.reason}" for each in said[:6]
    )


def table(fates: Sequence[Fate]) -> str:
    """A row for each kind of sender."""
    kinds: dict[tuple[bool, str], list[Fate]] = defaultdict(list)
    for fate in fates:
        kinds[not fate.delivery.honest, fate.delivery.kind].append(fate)
    lines = [
        "| sender | messages | inbox | Junk | refused | gave up | delayed | median | longest |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (_, kind), group in sorted(kinds.items()):
        counts = Counter(fate.outcome for fate in group)
        waits = [fate.waited.total_seconds() / 60 for fate in group if fate.waited]
        median = f"{statistics.median(waits):.0f} min" if waits else ""
        longest = f"{max(waits):.0f} min" if waits else ""
        lines.append(
            f"| {kind} | {len(group)} | {counts['inbox']} | {counts['junk']} | {counts['refused']} | {counts['gone']} |"
            f" {len(waits)} | {median} | {longest} |"
        )
    return "\n".join(lines)


def wrong(fates: Sequence[Fate]) -> tuple[list[Fate], list[Fate], list[Fate]]:
    """Honest ones refused or held up for more than an hour; honest ones in Junk; others in the inbox."""
    honest = [fate for fate in fates if opinion(fate.delivery, fate.delivery.recipients[0]) == "wanted"]
    lost = [fate for fate in honest if fate.accepted_at is None or fate.waited > HOUR]
    junked = [fate for fate in honest if fate.outcome == "junk"]
    missed = [fate for fate in fates if not fate.delivery.honest and fate.outcome == "inbox"]
    return lost, junked, missed


def margins(fates: Sequence[Fate]) -> str:
    """How near to the threshold of Junk the wanted ones come."""
    scores = [fate.score for fate in fates if opinion(fate.delivery, fate.delivery.recipients[0]) == "wanted"]
    steps = (0, 1, 2, 3, 4, 5)
    return ", ".join(f"{sum(score >= step for score in scores)} at {step} or more" for step in steps)


def name(fates: Sequence[Fate], title: str, most: int) -> None:
    """List them, the first ones by name."""
    print(f"\n{title}: {len(fates)}")
    for fate in fates[:most]:
        each = fate.delivery
        print(
            f"  {each.kind}: {each.sender or '<>'} from {each.sources[0]}, waited {fate.waited}, {fate.code} {fate.text[:60]}"
        )
        print(f"    {fate.why}")


def unexplained(server: Server, fates: Sequence[Fate]) -> list[str]:
    """What the records and the clients do not agree about: each answer to a message has one record with the same code."""
    heard = Counter((source, code) for fate in fates for source, code in fate.answers if code != 421)
    told: Counter[tuple[str, int]] = Counter()
    accepted: Counter[tuple[str, str]] = Counter()
    since = min(fate.delivery.at for fate in fates)
    before = None
    while rows := server.parts.decisions.explanations(ExplanationFilter(since_at=since, before_no=before), 1_000):
        before = rows[-1][0]
        for _, record in rows:
            if record.code != 421:  # connections from banned clients: told once a minute
                told[record.remote, record.code] += 1
            if record.outcome in ("accepted", "junk"):
                accepted[record.trace_id, record.outcome] += 1
    wanted = Counter(
        (fate.trace_id, "junk" if fate.mailbox == "Junk" else "accepted")
        for fate in fates
        if fate.accepted_at is not None
    )
    odd = (heard - told) + (told - heard)
    return [f"{source} {code}: heard {heard[source, code]}, recorded {told[source, code]}" for source, code in odd] + [
        f"{trace_id} {outcome}: recorded {accepted[trace_id, outcome]} times"
        for trace_id, outcome in (wanted - accepted) + (accepted - wanted)
    ]


@dataclass(frozen=True, slots=True)
class Result:
    """A day that is over."""

    fates: Sequence[Fate]
    seconds: float
    unexplained: Sequence[str]


async def day(count: int, seed: int, *, trained: bool = True) -> Result:
    """The whole day, after two weeks of which a trained server has learnt."""
    started = time.monotonic()
    world = build(Random(seed), datetime(2026, 3, 4, tzinfo=UTC), count)
    with tempfile.TemporaryDirectory(prefix="pretend-day-") as folder:
        server = await serve(Path(folder), world)
        try:
            readers = people(server, world)
            await live(server, readers, world.earlier if trained else [])
            fates = await live(server, readers, world.deliveries)
            explain(server, fates)
            odd = unexplained(server, fates)
        finally:
            for each in server.running:
                each.close()
            await server.service.drain(1.0)
            server.parts.close()
    return Result(fates, time.monotonic() - started, odd)


async def run(count: int, seed: int, most: int, *, trained: bool) -> int:
    """A day told in a table; the exit code."""
    result = await day(count, seed, trained=trained)
    fates = result.fates
    print(f"{len(fates)} messages in {sum(fate.tries for fate in fates)} tries, {result.seconds:.0f} s of real time\n")
    print(table(fates))
    lost, junked, missed = wrong(fates)
    unwanted = sum(not fate.delivery.honest for fate in fates)
    print(
        f"\nUnwanted and refused, given up or in Junk: {1 - len(missed) / max(1, unwanted):.1%}; honest in Junk:"
        f" {len(junked) / max(1, len(fates) - unwanted):.2%}; records that do not agree: {len(result.unexplained)}"
        f"\nHonest messages by score: {margins(fates)}"
    )
    name(lost, "Honest, and refused or held up for more than an hour", most)
    name(junked, "Honest, and in Junk", most)
    name(missed, "Unwanted, and in the inbox", most)
    for line in result.unexplained[:most]:
        print(f"  {line}")
    return 1 if lost or result.unexplained else 0


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--name", type=int, default=10, help="how many wrong ones of each sort are named")
    parser.add_argument("--untrained", action="store_true", help="the first day of a new server")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    sys.exit(asyncio.run(run(options.messages, options.seed, options.name, trained=not options.untrained)))


if __name__ == "__main__":
    main()
