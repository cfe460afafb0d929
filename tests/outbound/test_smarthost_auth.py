from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.config.routes import Route, Routes
from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.mailqueue.model import Fate, Outcome
from mailbox_app.outbound.transport import SmtpTransport
from tests.outbound.conftest import MakeLease
from tests.support.dns import FakeResolver
from tests.support.outbound_tls import outbound_tls
from tests.support.rough_remote import Peer, Polite, RoughRemote

ALL = "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN"
Send = Callable[..., object]


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("geheim, und=länger\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def transport_to(
    tmp_path: Path, offload: Offload, certificate: tuple[Path, Path], password_file: Path
) -> Callable[..., SmtpTransport]:
    def make(port: int, **changes: object) -> SmtpTransport:
        resolver, clock = FakeResolver({("mx.there.example", "A"): ["127.0.0.1"]}), SystemClock()
        given = {"user": "we", "password_file": str(password_file), "hosts": [f"mx.there.example:{port}"], **changes}
        routes = Routes(rules=["* -> relay"], via={"relay": Route(**given)})  # type: ignore[arg-type]
        config = Delivery(ca_file=str(certificate[0]))
        tls = outbound_tls(resolver, tmp_path, config, offload, clock)
        make.ca_file, make.routes = config.ca_file, routes  # type: ignore[attr-defined]
        return SmtpTransport(
            resolver, hostname="here.example", config=config, offload=offload, clock=clock, tls=tls, routes=routes
        )

    return make


async def deliver(transport: SmtpTransport, make_lease: MakeLease) -> Outcome:
    [outcome] = await transport.deliver(make_lease())
    transport.close()
    return outcome


def polite(server_tls: ssl.SSLContext, extension: str = ALL, **more: object) -> Polite:
    return Polite([extension], server_tls, {"we": "geheim, und=länger"}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"])
async def test_each_mechanism_lets_mail_through(
    mechanism: str, server_tls: ssl.SSLContext, transport_to: Callable[..., SmtpTransport], make_lease: MakeLease
) -> None:
    async with RoughRemote(session := polite(server_tls, f"AUTH {mechanism}")) as remote:
        outcome = await deliver(transport_to(remote.port), make_lease)
    assert (outcome.fate, session.logins, len(session.messages)) == (Fate.DELIVERED, [mechanism], 1)


async def test_tls_from_the_first_byte_and_the_best_mechanism(
    server_tls: ssl.SSLContext, transport_to: Callable[..., SmtpTransport], make_lease: MakeLease
) -> None:
    session = Polite([ALL], None, {"we": "geheim, und=länger"})
    async with RoughRemote(session, server_tls) as remote:
        outcome = await deliver(transport_to(remote.port, tls="tls"), make_lease)
    assert (outcome.fate, session.logins) == (Fate.DELIVERED, ["SCRAM-SHA-256-PLUS"])
    assert outcome.tls.startswith("TLSv1.3")


async def test_a_password_is_never_sent_in_clear(
    transport_to: Callable[..., SmtpTransport], make_lease: MakeLease
) -> None:
    async with RoughRemote(session := Polite([ALL], None, {"we": "x"})) as remote:
        outcome = await deliver(transport_to(remote.port), make_lease)
    assert (outcome.fate, outcome.enhanced, session.messages) == (Fate.DEFERRED, "4.7.10", [])
    assert not any(line.startswith(b"AUTH") for line in remote.heard)


async def test_a_host_with_another_certificate_gets_no_password(
    server_tls: ssl.SSLContext, transport_to: Callable[..., SmtpTransport], make_lease: MakeLease
) -> None:
    async with RoughRemote(polite(server_tls)) as remote:
        outcome = await deliver(transport_to(remote.port, hosts=[f"127.0.0.1:{remote.port}"]), make_lease)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.7.5")
    assert not any(line.startswith(b"AUTH") for line in remote.heard)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN", "LOGIN"])
async def test_a_refused_login_is_the_routes_trouble_and_told_without_the_password(
    mechanism: str,
    server_tls: ssl.SSLContext,
    transport_to: Callable[..., SmtpTransport],
    make_lease: MakeLease,
    password_file: Path,
) -> None:
    password_file.write_text("falsch")  # noqa: ASYNC240
    plain = base64.b64encode(b"\0we\0falsch")
    session = polite(server_tls, f"AUTH {mechanism}", refusal=b"535 5.7.8 no to " + plain)
    async with RoughRemote(session) as remote:
        transport = transport_to(remote.port)
        outcome = await deliver(transport, make_lease)
    assert (outcome.fate, outcome.code, outcome.enhanced) == (Fate.DEFERRED, 454, "4.7.8")
    assert "does not take the login of the route relay (user we): 535" in outcome.text
    assert "falsch" not in outcome.text
    assert plain.decode() not in outcome.text
    assert transport.states.state("relay").refused_logins == 1


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda path: path.chmod(0o644), "can be read by others than its owner"),
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_text("\nx"), "holds no password"),
    ],
)
async def test_a_password_file_that_is_of_no_use_is_told(
    prepare: Callable[[Path], None],
    words: str,
    server_tls: ssl.SSLContext,
    transport_to: Callable[..., SmtpTransport],
    make_lease: MakeLease,
    password_file: Path,
) -> None:
    prepare(password_file)
    async with RoughRemote(polite(server_tls)) as remote:
        outcome = await deliver(transport_to(remote.port), make_lease)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.3.5")
    assert words in outcome.text


@pytest.mark.parametrize(
    "answers",
    [
        [b"334 !!!"], [b"334 " + base64.b64encode(b"r=x,s=c2FsdA==,i=1")] * 20, [b"334 "] * 20, [b"235 welcome"],
        [b"334 " + b"A" * 300_000], [b"432 4.7.12 transition"], [b"421 bye"], [b"504 no", b"454 later"], [b"nonsense"],
    ],
)  # fmt: skip
async def test_a_wicked_login_ends_soon_and_is_temporary(
    answers: list[bytes],
    server_tls: ssl.SSLContext,
    transport_to: Callable[..., SmtpTransport],
    make_lease: MakeLease,
) -> None:
    async def session(peer: Peer) -> None:
        await peer.say(b"220 hi")
        await peer.hear()
        await peer.say(b"250-x", b"250 AUTH SCRAM-SHA-256")
        for answer in answers:
            await peer.hear()
            await peer.say(answer)
        await peer.hear()

    async with RoughRemote(session, server_tls) as remote:
        outcome = await deliver(transport_to(remote.port, tls="tls"), make_lease)
    assert outcome.fate is Fate.DEFERRED
    assert not any(line.startswith(b"MAIL") for line in remote.heard)


async def test_a_refused_login_is_not_tried_with_every_message(
    server_tls: ssl.SSLContext, transport_to: Callable[..., SmtpTransport], make_lease: MakeLease, password_file: Path
) -> None:
    right = password_file.read_text()  # noqa: ASYNC240
    password_file.write_text("falsch")  # noqa: ASYNC240
    async with RoughRemote(session := polite(server_tls)) as remote:
        transport = transport_to(remote.port)
        fates = [(await transport.deliver(make_lease()))[0] for _ in range(3)]
        assert [one.fate for one in fates] == [Fate.DEFERRED, Fate.POSTPONED, Fate.POSTPONED]
        assert "535" in fates[1].text
        assert remote.connections == 1
        password_file.write_text(right)  # noqa: ASYNC240
        transport.configure(Delivery(ca_file=transport_to.ca_file), transport_to.routes)  # type: ignore[attr-defined]
        assert (await transport.deliver(make_lease()))[0].fate is Fate.DELIVERED
        transport.close()
    assert len(session.messages) == 1


async def test_a_connection_that_is_logged_in_is_used_again(
    server_tls: ssl.SSLContext, transport_to: Callable[..., SmtpTransport], make_lease: MakeLease
) -> None:
    async with RoughRemote(session := polite(server_tls)) as remote:
        transport = transport_to(remote.port)
        await transport.deliver(make_lease())
        await transport.deliver(make_lease())
        transport.close()
    assert (len(session.messages), remote.connections, len(session.logins)) == (2, 1, 1)
