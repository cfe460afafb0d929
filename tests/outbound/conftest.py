from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop

from mailbox_app.clock import SystemClock
from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import Envelope, Lease, QueuedMessage, QueuedRecipient, RecipientState
from mailbox_app.net.tls import ensure_self_signed
from mailbox_app.outbound.transport import SmtpTransport
from tests.support.dns import FakeResolver
from tests.support.outbound_tls import Recorder, outbound_tls
from tests.support.queue import MESSAGE
from tests.support.remote import FakeRemote

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
MakeLease = Callable[..., Lease]
MakeTransport = Callable[..., SmtpTransport]


@pytest.fixture
def offload() -> Iterator[Offload]:
    made = Offload(4)
    yield made
    made.close()


@pytest.fixture
def resolver() -> FakeResolver:
    return FakeResolver({("there.example", "MX"): ["10 mx.there.example."], ("mx.there.example", "A"): ["127.0.0.1"]})


@pytest.fixture
async def remote() -> AsyncIterator[FakeRemote]:
    async with FakeRemote() as started:
        yield started


@pytest.fixture
def witness() -> Recorder:
    return Recorder()


@pytest.fixture
def make_transport(
    resolver: FakeResolver, remote: FakeRemote, offload: Offload, tmp_path: Path, witness: Recorder
) -> MakeTransport:
    def make(**config: object) -> SmtpTransport:
        settings = Delivery(**{"port": remote.port, "allow_private_addresses": True, **config})  # type: ignore[arg-type]
        clock = SystemClock()
        tls = outbound_tls(resolver, tmp_path, settings, offload, clock, [witness])
        return SmtpTransport(resolver, hostname="here.example", config=settings, offload=offload, clock=clock, tls=tls)

    return make


@pytest.fixture
def make_lease(tmp_path: Path) -> MakeLease:
    def make(
        *addresses: str, content: bytes = MESSAGE, envelope: Envelope | None = None, notify: str = "", orcpt: str = ""
    ) -> Lease:
        path = tmp_path / "message"
        path.write_bytes(content)
        recipients = [
            QueuedRecipient(
                QueueId("q1"), address, "smtp", address.rpartition("@")[2].lower(), RecipientState.ACTIVE, 0, NOW, 0, "",
                "", notify, orcpt,
            )
            for address in addresses or ("bob@there.example",)
        ]  # fmt: skip
        message = QueuedMessage(
            QueueId("q1"),
            envelope or Envelope("alice@here.example"),
            len(content),
            NOW,
            NOW + timedelta(days=7),
            recipients,
        )
        return Lease("token", message, str(path), NOW + timedelta(minutes=20))

    return make


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for mx.there.example: chain file and key file."""
    return ensure_self_signed(tmp_path_factory.mktemp("certs"), "mx.there.example")


@pytest.fixture
def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """The product runs on uvloop; asyncio's own loop differs in when it reports what."""
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()
