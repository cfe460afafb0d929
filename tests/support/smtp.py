"""A whole SMTP service on real sockets, and a client that speaks in lines."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.model import Account
from mailbox_app.accounts.sasl import Sasl
from mailbox_app.clock import Clock, SystemClock
from mailbox_app.config.load import parse
from mailbox_app.config.schema import Config, Limits, Server, Sieve, Tls
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.containment import Containment
from mailbox_app.delivery.explaining import Decided
from mailbox_app.delivery.filter_memory import FilterMemory
from mailbox_app.delivery.filtering import Filters
from mailbox_app.delivery.forwarding import Forwarder, ForwardingRules
from mailbox_app.delivery.inbound import Inbound
from mailbox_app.delivery.local import LocalTransport
from mailbox_app.delivery.receipts import Receipts
from mailbox_app.delivery.recipients import Recipients
from mailbox_app.delivery.submission import Submission
from mailbox_app.events.bus import LocalBus
from mailbox_app.journal.audit import Audit
from mailbox_app.mailauth.arc_seal import ArcSealer
from mailbox_app.mailauth.dkim_sign import DkimSigner
from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.model import QueuedRecipient, QueueFilter
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from mailbox_app.mailqueue.srs import SenderRewriting
from mailbox_app.net.tls import TlsContexts
from mailbox_app.observe.mail_log import MailEvent, MailLog
from mailbox_app.observe.metrics import Metrics
from mailbox_app.policy.check import Check
from mailbox_app.policy.door import Door
from mailbox_app.policy.pipeline import Pipeline
from mailbox_app.policy.state_files import StateFiles
from mailbox_app.policy.tools import Tools
from mailbox_app.proto.smtp.dot_stream import stuff
from mailbox_app.services.smtp.limits import SmtpLimits
from mailbox_app.services.smtp.screening import SenderCheck
from mailbox_app.services.smtp.server import SmtpDependencies, SmtpService
from mailbox_app.services.smtp.session import ServiceKind, SmtpSession
from mailbox_app.store.scripts import Scripts
from tests.support.dns import FakeResolver
from tests.support.memory_store import MemoryStore

HOSTNAME = "mail.example.org"
PASSWORDS = {"alice@example.org": "wonder land", "bob@example.org": "builder"}


class FixedAuthenticator:
    """Knows `PASSWORDS`."""

    def __init__(self, directory: SqliteDirectory) -> None:
        self._directory = directory
        self.attempts: list[tuple[str, str, str]] = []

    async def login(self, address: str, password: str, *, protocol: str, remote_ip: str) -> Account | None:
        self.attempts.append((address, protocol, remote_ip))
        return self._directory.account(address) if PASSWORDS.get(address.lower()) == password else None


class Client:
    """One connection; replies come as (code, text) with the lines of a long reply joined by a line feed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self) -> tuple[int, str]:
        lines = []
        while True:
            line = await asyncio.wait_for(self.reader.readline(), 10)
            if not line:
                return 0, ""
            assert line.endswith(b"\r\n"), line
            lines.append(line[4:-2].decode())
            if line[3:4] != b"-":
                return int(line[:3]), "\n".join(lines)

    async def say(self, line: str | bytes) -> tuple[int, str]:
        await self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return await self.reply()

    async def expect(self, code: int, line: str | bytes) -> str:
        answer = await self.say(line)
        assert answer[0] == code, (line, answer)
        return answer[1]

    async def is_closed(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 10) == b""

    async def starttls(self) -> None:
        await self.expect(220, "STARTTLS")
        await self.writer.start_tls(insecure_context(), server_hostname=HOSTNAME)

    async def login(self, address: str = "alice@example.org") -> None:
        await self.expect(235, "AUTH PLAIN " + plain(address, PASSWORDS[address]))

    async def begin(self, sender: str = "carol@remote.example", *recipients: str) -> None:
        await self.expect(250, f"MAIL FROM:<{sender}>")
        for recipient in recipients or ("alice@example.org",):
            await self.expect(250, f"RCPT TO:<{recipient}>")

    async def content(self, data: bytes) -> tuple[int, str]:
        await self.expect(354, "DATA")
        await self.send(stuff(data))
        return await self.reply()

    def close(self) -> None:
        self.writer.close()


def plain(address: str, password: str, acts_for: str = "") -> str:
    return base64.b64encode(f"{acts_for}\0{address}\0{password}".encode()).decode()


def insecure_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Recorder(list[Decided]):
    """A sink that keeps what it is told."""

    def note(self, decided: Decided) -> None:
        self.append(replace(decided, facts=replace(decided.facts)))


@dataclass
class Clients:
    """Where new clients seem to come from; "": where they do."""

    ip: str

    def of(self, service: SmtpService, kind: ServiceKind) -> Callable[[], asyncio.BaseProtocol]:
        factory = service.factory(kind)

        def make() -> asyncio.BaseProtocol:
            session = factory()
            assert isinstance(session, SmtpSession)
            session.proxied_ip = self.ip
            return session

        return make


@dataclass
class SmtpWorld:
    """The service with everything behind it; alice, bob (small quota) and sales -> outside live in example.org."""

    service: SmtpService
    directory: SqliteDirectory
    store: Any
    queue: SqliteQueue
    spool: Spool
    local: LocalTransport
    authenticator: FixedAuthenticator
    events: list[MailEvent]
    metrics: Metrics
    ports: Mapping[str, int]
    inbound: Inbound
    recipients: Recipients
    filters: Filters
    forwarder: Forwarder
    decisions: Recorder
    state: StateFiles
    door: Door | None
    clients: Clients

    async def connect(self, kind: str = "smtp", *, hello: str = "EHLO client.example") -> Client:
        context = insecure_context() if kind == "submissions" else None
        client = Client(*await asyncio.open_connection("127.0.0.1", self.ports[kind], ssl=context))
        code, text = await client.reply()
        assert code == 220, text
        if hello:
            await client.expect(250, hello)
        return client

    async def logged_in(self, kind: str = "submissions", address: str = "alice@example.org") -> Client:
        client = await self.connect(kind)
        if kind == "submission":
            await client.starttls()
            await client.expect(250, "EHLO client.example")
        await client.login(address)
        return client

    def inbox(self, address: str) -> list[bytes]:
        return self.store.of(address).messages

    def queued(self) -> list[QueuedRecipient]:
        _, rows, _ = self.queue.window(QueueFilter(), "age", False, 0, 1_000)
        return list(rows)

    def queued_content(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.spool.directory.iterdir()) if path.is_file()]


@asynccontextmanager
async def smtp_world(
    path: Path,
    *,
    limits: SmtpLimits | None = None,
    config_limits: Limits | None = None,
    sender_checks: SenderCheck | None = None,
    store: Any = None,
    clock: Clock | None = None,
    sieve: Sieve | None = None,
    settings: str | None = None,
    client_ip: str = "",
    zone: Mapping[tuple[str, str], Sequence[str]] | None = None,
    checks: Sequence[Callable[[Tools], Check]] | None = None,
) -> AsyncIterator[SmtpWorld]:
    """`settings` (TOML) switches the policy on; then clients come from `client_ip`, which may be changed on the way."""
    clock = clock or SystemClock()
    directory = SqliteDirectory(path / "directory.db")
    directory.configure("+", HOSTNAME)
    directory.add_domain("example.org")
    for name, quota in (("alice", 0), ("bob", 1_000_000), ("dave", 0)):
        directory.add_account(f"{name}@example.org", "", quota)
    directory.add_alias("sales@example.org", ["sales@outside.example"])
    directory.add_alias("team@example.org", ["alice@example.org", "bob@example.org", "ext@outside.example"])
    directory.add_alias("alice.alias@example.org", ["alice@example.org"])
    config = Config(Server(HOSTNAME), tls=Tls(auto_tls=False), limits=config_limits or Limits())
    if settings is not None:
        config = parse(f'[server]\nhostname = "{HOSTNAME}"\n[tls]\nauto_tls = false\n{settings}', path / "config.toml")
    offload, metrics, bus, events = Offload(8), Metrics(), LocalBus(), []
    bus.bind(asyncio.get_running_loop())
    spool = Spool(path / "queue")
    queue = SqliteQueue(path / "queue.db", spool, bus)
    store = store or MemoryStore()
    forwarder = Forwarder(
        directory, SenderRewriting(directory.secret()), ArcSealer(), offload, clock, ForwardingRules()
    )
    recipients = Recipients(directory, store, offload, clock, forwarder)
    state = StateFiles(path, clock)
    memory = FilterMemory(state.database, clock)
    filters = Filters(store, Scripts(path), memory, directory, clock, hostname=HOSTNAME, settings=sieve)
    bounces = Bounces(queue, spool, directory.is_local_domain, HOSTNAME, clock)
    receipts = Receipts(bounces, offload, clock, MailLog([]))
    inbound = Inbound(store, queue, spool, offload, clock, metrics, forwarder, filters, receipts)
    containment = Containment(
        state.state.rates,
        state.state.correspondents,
        queue,
        Audit(path / "journal.db", clock),
        offload,
        metrics,
        lambda: config.abuse,
        lambda remote_ip: remote_ip in ("", "127.0.0.1"),
    )
    submission = Submission(
        directory,
        inbound,
        DkimSigner(),
        offload,
        clock,
        hostname=HOSTNAME,
        correspondents=state.state.correspondents,
        containment=containment if settings is not None else None,
    )
    authenticator = FixedAuthenticator(directory)
    tls = TlsContexts(config.tls, path, HOSTNAME)
    decisions = Recorder()
    door = None
    if settings is not None:
        tools = Tools(
            lambda: config, FakeResolver(zone), offload, clock, metrics, HOSTNAME, directory, path, state.state
        )
        door = Door.build(tools)
        if checks is not None:
            door = replace(door, pipeline=Pipeline(tools, [make(tools) for make in checks]))
    service = SmtpService(
        SmtpDependencies(
            config=config,
            directory=directory,
            sasl=Sasl(authenticator),
            recipients=recipients,
            inbound=inbound,
            submission=submission,
            sender_checks=sender_checks,
            tls=tls,
            offload=offload,
            clock=clock,
            metrics=metrics,
            mail_log=MailLog([events.append]),
            tmp_dir=path / "tmp",
            limits=limits or SmtpLimits(login_delay_seconds=0),
            door=door,
            sink=decisions,
        )
    )
    loop = asyncio.get_running_loop()
    clients = Clients(client_ip)
    servers = {
        "smtp": await loop.create_server(clients.of(service, "smtp"), "127.0.0.1", 0),
        "submission": await loop.create_server(clients.of(service, "submission"), "127.0.0.1", 0),
        "submissions": await loop.create_server(
            clients.of(service, "submissions"), "127.0.0.1", 0, ssl=tls.server_context()
        ),
    }
    servers["lmtp"] = await loop.create_server(service.for_lmtp().factory("lmtp"), "127.0.0.1", 0)
    ports = {kind: server.sockets[0].getsockname()[1] for kind, server in servers.items()}
    try:
        yield SmtpWorld(
            service, directory, store, queue, spool, LocalTransport(inbound, recipients, metrics), authenticator,
            events, metrics, ports, inbound, recipients, filters, forwarder, decisions, state, door, clients,
        )  # fmt: skip
    finally:
        for server in servers.values():
            server.close()
        await service.drain(1)
        offload.close()
        state.close()
        queue.close()
        directory.close()
