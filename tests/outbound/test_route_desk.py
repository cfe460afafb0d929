from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.config.routes import Route, Routes
from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.mailqueue.model import Fate
from mailbox_app.outbound import transport
from mailbox_app.outbound.routes.desk import RouteDesk
from mailbox_app.outbound.transport import SmtpTransport
from tests.outbound.conftest import MakeLease
from tests.support.dns import FakeResolver
from tests.support.outbound_tls import outbound_tls
from tests.support.rough_remote import Polite, RoughRemote

ZONE = {("there.example", "MX"): ["10 mx.there.example."], ("mx.there.example", "A"): ["127.0.0.1"]}
Made = tuple[SmtpTransport, RouteDesk]
To = Callable[..., Made]


@pytest.fixture
def to(tmp_path: Path, offload: Offload, certificate: tuple[Path, Path]) -> To:
    def make(port: int, routes: Routes | None = None, zone: Mapping[tuple[str, str], Sequence[str]] = ZONE) -> Made:
        resolver, clock = FakeResolver(zone), SystemClock()
        config = Delivery(port=port, allow_private_addresses=True, ca_file=str(certificate[0]))
        tls = outbound_tls(resolver, tmp_path, config, offload, clock)
        made = SmtpTransport(
            resolver, hostname="here.example", config=config, offload=offload, clock=clock, tls=tls, routes=routes
        )
        return made, RouteDesk(made, clock)

    return make


async def test_the_way_of_an_address_is_explained(to: To) -> None:
    via = {"relay": Route(hosts=["mx.there.example"])}
    _, desk = to(25, Routes(rules=["from:@here.example -> relay"], via=via))
    found = await desk.explain("bob@there.example", "a@here.example")
    assert found.choice.reason == "the rule from:@here.example -> relay"
    assert [(one.host.name, one.host.port, one.addresses) for one in found.hosts] == [
        ("mx.there.example", 587, ["127.0.0.1"])
    ]
    assert found.hosts[0].encryption.startswith(
        "encrypted, with a valid certificate for its name, because of the route"
    )
    found = await desk.explain("bob@there.example")
    assert (found.choice.route.name, found.hosts[0].encryption) == ("mx", "encrypted if the host offers it")
    assert (await desk.explain("bob@nowhere.example")).trouble == "the domain nowhere.example does not exist"
    with pytest.raises(MailboxError, match="there is no route gone"):
        await desk.explain("bob@there.example", chosen="gone")


async def test_a_trial_goes_as_far_as_the_message_and_sends_none(
    to: To, server_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    (tmp_path / "pw").write_text("secret")
    (tmp_path / "pw").chmod(0o600)
    session = Polite(["AUTH PLAIN"], server_tls, {"we": "secret"})
    async with RoughRemote(session) as remote:
        via = {"relay": Route(hosts=[f"mx.there.example:{remote.port}"], user="we", password_file=str(tmp_path / "pw"))}
        _, desk = to(1, Routes(via=via))
        trial = await desk.test("relay")
    assert trial.ok
    assert [step.what for step in trial.steps if step.what not in {"family", "network"}] == [
        "hosts", "demand", "connect", "encryption", "login", "greeting",
    ]  # fmt: skip
    assert "secret" not in repr(trial)
    assert session.messages == []
    assert not any(line.startswith(b"MAIL") for line in remote.heard)


async def test_a_trial_tells_where_it_ended(to: To) -> None:
    async with RoughRemote(Polite()) as remote:
        _, desk = to(remote.port)
        assert (await desk.test("there.example")).ok
    trial = await desk.test("there.example")
    assert not trial.ok
    assert "no connection to mx.there.example" in trial.steps[-1].text
    for name in ("mx", "nonsense"):
        with pytest.raises(MailboxError):
            await desk.test(name)


async def test_routes_tell_how_they_did(to: To, make_lease: MakeLease) -> None:
    async with RoughRemote(Polite()) as remote:
        made, desk = to(remote.port)
        await made.deliver(make_lease())
        made.close()
    await made.deliver(make_lease())
    [row] = desk.rows()
    assert (row.route.name, row.is_usual, row.state.used_count, row.state.failed_count) == ("mx", True, 1, 1)
    assert row.state.last_success_at is not None
    assert "no connection" in row.state.last_failure


# --- addresses that are dead


@pytest.fixture
def silent() -> Iterator[Callable[[str, int], None]]:
    """Makes an address and port that never answer: a listener whose row is full."""
    with ExitStack() as stack:

        def make(address: str, port: int) -> None:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = stack.enter_context(socket.socket(family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(0)
            for _ in range(3):
                waiting = stack.enter_context(socket.socket(family))
                waiting.setblocking(False)
                waiting.connect_ex((address, port))

        yield make


async def test_a_dead_ipv6_address_costs_seconds_once_and_not_the_attempt(
    to: To, make_lease: MakeLease, silent: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_HASTY_SECONDS", 0.3)
    zone = {**ZONE, ("mx.there.example", "A"): ["127.0.0.1"], ("mx.there.example", "AAAA"): ["::1"]}
    async with RoughRemote(session := Polite()) as remote:
        silent("::1", remote.port)
        made, _ = to(remote.port, Routes(), zone)
        made.configure(Delivery(port=remote.port, allow_private_addresses=True, family="prefer6"), Routes())
        [first] = await made.deliver(make_lease())
        assert (first.fate, made.reach.is_dead("::1")) == (Fate.DELIVERED, True)
        monkeypatch.setattr(transport, "_HASTY_SECONDS", 60.0)
        async with asyncio.timeout(5):
            [second] = await made.deliver(make_lease())
        assert second.fate is Fate.DELIVERED
        made.close()
    assert len(session.messages) == 2


async def test_a_network_that_lets_nothing_out_is_told_in_the_answer(
    to: To, make_lease: MakeLease, silent: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_HASTY_SECONDS", 0.1)
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    addresses = [f"127.0.{number}.1" for number in range(1, 5)]
    zone = {("there.example", "MX"): [f"{number} mx{number}.example." for number in range(4)]}
    for number, address in enumerate(addresses):
        silent(address, port)
        zone[f"mx{number}.example", "A"] = [address]
    made, desk = to(port, None, zone)
    [outcome] = await made.deliver(make_lease())
    assert outcome.fate is Fate.DEFERRED
    assert outcome.text.endswith("seems to be blocked by this network: ask the provider or set a smarthost")
    assert desk.trouble()
