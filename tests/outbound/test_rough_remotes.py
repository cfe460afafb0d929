"""Servers that are slow, lie, break off or talk without end: each attempt ends in bounded time and memory, with a reason."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.config.routes import Route, Routes
from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.mailqueue.model import Envelope, Fate, Outcome
from mailbox_app.outbound import pool, smtp_client, transport
from mailbox_app.outbound.transport import SmtpTransport
from tests.outbound.conftest import MakeLease
from tests.support.dns import FakeResolver
from tests.support.outbound_tls import outbound_tls
from tests.support.rough_remote import Peer, Polite, RoughRemote, Session

To = Callable[..., SmtpTransport]


@pytest.fixture
def to(tmp_path: Path, offload: Offload) -> To:
    """A transport to this port; `routes` besides."""

    def make(port: int, routes: Routes | None = None) -> SmtpTransport:
        zone = {("there.example", "MX"): ["10 mx.there.example."], ("mx.there.example", "A"): ["127.0.0.1"]}
        resolver, clock = FakeResolver(zone), SystemClock()
        config = Delivery(port=port, allow_private_addresses=True)
        tls = outbound_tls(resolver, tmp_path, config, offload, clock)
        return SmtpTransport(
            resolver, hostname="here.example", config=config, offload=offload, clock=clock, tls=tls, routes=routes
        )

    return make


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GREETING_SECONDS", "COMMAND_SECONDS", "DATA_BLOCK_SECONDS", "DATA_END_SECONDS"):
        monkeypatch.setattr(smtp_client, name, 0.15)


async def deliver(to: To, make_lease: MakeLease, session: Session, **lease: object) -> tuple[Outcome, RoughRemote]:
    async with RoughRemote(session) as remote:
        made = to(remote.port)
        [outcome] = await made.deliver(make_lease(**lease))
        made.close()
    return outcome, remote


def at(step: str, act: Callable[[Peer], object]) -> Session:
    """A polite server until the step, which then does something else."""

    async def session(peer: Peer) -> None:
        if step == "connect":
            await act(peer)  # type: ignore[misc]
            return
        await peer.say(b"220 hi")
        while True:
            verb = (await peer.hear()).split(b" ")[0].decode()
            if verb == step:
                await act(peer)  # type: ignore[misc]
                return
            if verb == "DATA":
                await peer.say(b"354 go")
                if step == "body":
                    await act(peer)  # type: ignore[misc]
                    return
                await peer.reader.readuntil(b"\r\n.\r\n")
                if step == "final":
                    await act(peer)  # type: ignore[misc]
                    return
            await peer.say(b"250 ok")

    return session


STEPS = ["connect", "EHLO", "MAIL", "RCPT", "DATA", "body", "final"]


async def one_byte_a_time(peer: Peer) -> None:
    while True:
        await asyncio.sleep(0.02)
        peer.writer.write(b"2")
        await peer.writer.drain()


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("step", STEPS)
async def test_an_answer_that_trickles_has_one_deadline_for_the_whole(step: str, to: To, make_lease: MakeLease) -> None:
    outcome, _ = await deliver(to, make_lease, at(step, one_byte_a_time))
    assert outcome.fate is Fate.DEFERRED
    assert "did not answer in time" in outcome.text or "no SMTP reply" in outcome.text


async def reset(peer: Peer) -> None:
    raw = peer.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.reset()


@pytest.mark.parametrize("step", STEPS)
async def test_a_reset_at_any_step_puts_the_mail_off(step: str, to: To, make_lease: MakeLease) -> None:
    content = b"Subject: long\r\n\r\n" + b"x" * 70 * 100_000 + b"\r\n"  # longer than what the sockets hold
    outcome, remote = await deliver(to, make_lease, at(step, reset), content=content)
    assert outcome.fate is Fate.DEFERRED
    assert remote.connections == 1
    assert ("may have been taken" in outcome.text) is (step == "final")


async def endless_lines(peer: Peer) -> None:
    for _ in range(20_000):
        await peer.say(b"250-and one more thing that has to be said about this")


async def a_megabyte(peer: Peer) -> None:
    await peer.say(b"250 " + b"x" * 1_000_000)


async def garbage(peer: Peer) -> None:
    await peer.say(bytes(range(256)) * 40)


async def wrong_codes(peer: Peer) -> None:
    await peer.say(b"999 hm", b"000 hm", b"250-a", b"550 b")


@pytest.mark.parametrize("act", [endless_lines, a_megabyte, garbage, wrong_codes])
@pytest.mark.parametrize("step", STEPS)
async def test_talk_without_end_or_sense_is_cut_short(
    step: str, act: Callable[[Peer], object], to: To, make_lease: MakeLease
) -> None:
    outcome, _ = await deliver(to, make_lease, at(step, act))
    assert outcome.fate is Fate.DEFERRED
    assert len(outcome.text) <= 512
    assert outcome.text.isprintable()


async def go_on_twice(peer: Peer) -> None:
    await peer.say(b"354 go", b"354 go")
    await peer.reader.readuntil(b"\r\n.\r\n")
    await peer.say(b"250 taken")
    await peer.hear()


async def taken_too_early(peer: Peer) -> None:
    await peer.say(b"354 go", b"250 taken already")
    await peer.reader.readuntil(b"\r\n.\r\n")


async def go_on_at_the_end(peer: Peer) -> None:
    await peer.say(b"354 go on")


@pytest.mark.parametrize(
    ("step", "act"), [("DATA", go_on_twice), ("DATA", taken_too_early), ("final", go_on_at_the_end)]
)
async def test_an_answer_to_something_else_is_no_delivery(
    step: str, act: Callable[[Peer], object], to: To, make_lease: MakeLease
) -> None:
    outcome, _ = await deliver(to, make_lease, at(step, act))
    assert (outcome.fate, outcome.code) == (Fate.DEFERRED, 451)


async def test_the_whole_attempt_has_a_deadline_however_each_step_is_drawn_out(
    to: To, make_lease: MakeLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_TOTAL_SECONDS", 0.3)

    async def session(peer: Peer) -> None:
        await peer.say(b"220 hi")
        while True:
            await peer.hear()
            await asyncio.sleep(0.12)
            await peer.say(b"250 ok")

    outcome, _ = await deliver(to, make_lease, session)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.4.7")


async def test_tls_that_is_dropped_in_the_middle_never_turns_into_clear_text(to: To, make_lease: MakeLease) -> None:
    async def session(peer: Peer) -> None:
        await peer.say(b"220 hi")
        await peer.hear()
        await peer.say(b"250-x", b"250 STARTTLS")
        await peer.hear()
        await peer.say(b"220 go")
        await peer.reader.read(100)
        peer.reset()

    outcome, remote = await deliver(to, make_lease, session)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.7.5")
    assert not any(line.startswith(b"MAIL") for line in remote.heard)


async def test_a_long_honest_ehlo_is_read(to: To, make_lease: MakeLease) -> None:
    session = Polite([f"X-WORD-{number} with some parameters" for number in range(200)] + ["SIZE 1000000"])
    outcome, _ = await deliver(to, make_lease, session)
    assert outcome.fate is Fate.DELIVERED
    assert "SIZE=" in session.messages[0][0]


# --- BDAT and limits

BINARY = Envelope("alice@here.example", "BINARYMIME")
CONTENT = b"Subject: x\r\n\r\n\0\xff\r\rno end" + b".\n" * 300_000


async def test_binary_mail_goes_by_bdat_byte_for_byte(to: To, make_lease: MakeLease) -> None:
    session = Polite(["CHUNKING", "BINARYMIME", "PIPELINING"])
    outcome, remote = await deliver(to, make_lease, session, content=CONTENT, envelope=BINARY)
    assert outcome.fate is Fate.DELIVERED
    [(mail, rcpt, content)] = session.messages
    assert (content == CONTENT, len(rcpt)) == (True, 1)
    assert mail.endswith(" BODY=BINARYMIME")
    assert [line for line in remote.heard if line.startswith(b"BDAT")] == [
        b"BDAT 262144", b"BDAT 262144", f"BDAT {len(CONTENT) - 524_288} LAST".encode(),
    ]  # fmt: skip


async def test_binary_mail_does_not_go_where_it_would_be_spoilt(to: To, make_lease: MakeLease) -> None:
    outcome, remote = await deliver(to, make_lease, Polite(["CHUNKING"]), content=CONTENT, envelope=BINARY)
    assert (outcome.fate, outcome.enhanced) == (Fate.FAILED, "5.6.1")
    assert not any(line.startswith(b"MAIL") for line in remote.heard)


async def test_text_that_was_called_binary_goes_as_text(to: To, make_lease: MakeLease) -> None:
    session = Polite(["8BITMIME"])
    outcome, _ = await deliver(to, make_lease, session, content=b"A: b\r\n\r\n\xc3\xbc\r\n", envelope=BINARY)
    assert outcome.fate is Fate.DELIVERED
    assert session.messages[0][0].endswith(" BODY=8BITMIME")


@pytest.mark.parametrize(("answer", "fate"), [(b"552 5.3.4 too big", Fate.FAILED), (b"354 what", Fate.DEFERRED)])
async def test_a_refused_chunk_ends_the_message(answer: bytes, fate: Fate, to: To, make_lease: MakeLease) -> None:
    async def session(peer: Peer) -> None:
        await peer.say(b"220 hi")
        await peer.hear()
        await peer.say(b"250-x", b"250-CHUNKING", b"250 BINARYMIME")
        for _ in range(2):
            await peer.hear()
            await peer.say(b"250 ok")
        await peer.hear()
        await peer.reader.readexactly(262_144)
        await peer.say(answer)
        await peer.reader.read()

    outcome, remote = await deliver(to, make_lease, session, content=CONTENT, envelope=BINARY)
    assert outcome.fate is fate
    assert not any(b"LAST" in line for line in remote.heard)


async def test_limits_of_recipients_and_messages_are_kept(to: To, make_lease: MakeLease) -> None:
    session = Polite(["LIMITS RCPTMAX=2 MAILMAX=2"], per_connection=2)
    addresses = [f"r{number}@there.example" for number in range(9)]
    async with RoughRemote(session) as remote:
        made = to(remote.port)
        outcomes = await made.deliver(make_lease(*addresses))
        made.close()
    assert [one.fate for one in outcomes] == [Fate.DELIVERED] * 9
    assert [len(rcpt) for _, rcpt, _ in session.messages] == [2, 2, 2, 2, 1]
    assert remote.connections == 3


# --- routes


async def test_recipients_of_one_lease_take_their_own_routes(to: To, make_lease: MakeLease) -> None:
    first, second = Polite(), Polite(["DSN"])
    async with RoughRemote(first) as one, RoughRemote(second) as other:
        via = {"relay": Route(hosts=[f"127.0.0.1:{other.port}"], tls="none")}
        made = to(one.port, Routes(rules=["to:b@there.example -> relay"], via=via))
        outcomes = await made.deliver(make_lease("a@there.example", "b@there.example"))
        made.close()
    assert {(each.address, each.fate, each.relayed) for each in outcomes} == {
        ("a@there.example", Fate.DELIVERED, True), ("b@there.example", Fate.DELIVERED, False),
    }  # fmt: skip
    assert [len(each.messages) for each in (first, second)] == [1, 1]


async def test_hosts_of_a_route_are_tried_in_order(to: To, make_lease: MakeLease) -> None:
    async with RoughRemote(session := Polite()) as remote:
        via = {"relay": Route(hosts=["127.0.0.1:1", f"127.0.0.1:{remote.port}"], tls="none")}
        made = to(1, Routes(rules=["* -> relay"], via=via))
        [outcome] = await made.deliver(make_lease())
        made.close()
    assert (outcome.fate, len(session.messages)) == (Fate.DELIVERED, 1)
    assert made.states.state("relay").used_count == 1
    assert "127.0.0.1" in made.states.state("relay").last_failure


async def test_a_changed_configuration_frees_the_mail_at_its_next_attempt(to: To, make_lease: MakeLease) -> None:
    async with RoughRemote(session := Polite()) as remote:
        made = to(1, Routes(rules=["* -> gone"]))
        [before] = await made.deliver(make_lease())
        via = {"relay": Route(hosts=[f"127.0.0.1:{remote.port}"], tls="none")}
        made.configure(Delivery(), Routes(rules=["* -> relay"], via=via))
        [after] = await made.deliver(make_lease())
        made.close()
    assert (before.fate, before.enhanced, after.fate) == (Fate.DEFERRED, "4.3.5", Fate.DELIVERED)
    assert len(session.messages) == 1


async def test_a_routes_rate_puts_mail_off_without_a_try(to: To, make_lease: MakeLease) -> None:
    async with RoughRemote(session := Polite()) as remote:
        via = {"slow": Route(hosts=[f"127.0.0.1:{remote.port}"], tls="none", rate=1)}
        made = to(1, Routes(rules=["* -> slow"], via=via))
        fates = [(await made.deliver(make_lease()))[0] for _ in range(3)]
        made.close()
    assert [one.fate for one in fates] == [Fate.DELIVERED, Fate.POSTPONED, Fate.POSTPONED]
    assert fates[1].retry_at is not None
    assert fates[1].text == "the route slow takes 1 messages in a minute"
    assert len(session.messages) == 1


async def test_more_connections_than_a_route_allows_wait_and_then_come_back_later(
    to: To, make_lease: MakeLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_TURN_SECONDS", 0.05)
    let_go = asyncio.Event()

    async def hold(peer: Peer) -> None:
        await let_go.wait()
        await peer.say(b"421 enough")

    async with RoughRemote(hold) as remote:
        via = {"narrow": Route(hosts=[f"127.0.0.1:{remote.port}"], tls="none", concurrency=2)}
        made = to(1, Routes(rules=["* -> narrow"], via=via))
        lease = make_lease()
        waiting = [asyncio.create_task(made.deliver(lease)) for _ in range(2)]
        while remote.connections < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        [third] = await made.deliver(lease)
        assert (third.fate, remote.connections) == (Fate.POSTPONED, 2)
        let_go.set()
        assert {one.fate for row in await asyncio.gather(*waiting) for one in row} == {Fate.DEFERRED}
        made.close()


async def test_implicit_tls_never_answers_a_server_that_talks_in_clear(to: To, make_lease: MakeLease) -> None:
    async with RoughRemote(Polite()) as remote:
        via = {"r": Route(hosts=[f"127.0.0.1:{remote.port}"], tls="tls", verify=False)}
        made = to(1, Routes(rules=["* -> r"], via=via))
        [outcome] = await made.deliver(make_lease())
        made.close()
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.7.5")
    assert remote.heard == []


async def test_a_source_address_and_its_name_are_used(to: To, make_lease: MakeLease) -> None:
    seen: list[str] = []
    polite = Polite()

    async def session(peer: Peer) -> None:
        seen.append(peer.writer.get_extra_info("peername")[0])
        await polite(peer)

    async with RoughRemote(session) as remote:
        via = {"r": Route(hosts=[f"127.0.0.1:{remote.port}"], tls="none", sources=["127.0.0.7 out.here.example"])}
        made = to(1, Routes(rules=["* -> r"], via=via))
        [outcome] = await made.deliver(make_lease())
        made.close()
    assert (outcome.fate, seen) == (Fate.DELIVERED, ["127.0.0.7"])
    assert b"EHLO out.here.example" in remote.heard


async def test_a_source_address_that_is_not_ours_is_told(to: To, make_lease: MakeLease) -> None:
    async with RoughRemote(Polite()) as remote:
        via = {"r": Route(hosts=[f"127.0.0.1:{remote.port}"], tls="none", sources=["192.0.2.77"])}
        made = to(1, Routes(rules=["* -> r"], via=via))
        [outcome] = await made.deliver(make_lease())
    assert outcome.fate is Fate.DEFERRED
    assert "from 192.0.2.77" in outcome.text


# --- what servers say


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "final"])
async def test_what_would_harm_a_terminal_or_a_report_is_cleaned(step: str, to: To, make_lease: MakeLease) -> None:
    async def colours(peer: Peer) -> None:
        await peer.say(b"550-5.7.1 \x1b[2J\x1b]0;owned\x07\0", b"550 5.7.1 \xff\xfe \xe2\x80\xae\r go away\x9b1m")
        await peer.hear()

    outcome, _ = await deliver(to, make_lease, at(step, colours))
    assert (outcome.fate, outcome.enhanced) == (Fate.FAILED, "5.7.1")
    assert outcome.text.isprintable()
    assert "go away" in outcome.text


async def test_a_host_that_falls_silent_after_starttls_is_left(
    to: To, make_lease: MakeLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_client, "_HANDSHAKE_SECONDS", 0.1)

    async def session(peer: Peer) -> None:
        await peer.say(b"220 hi")
        await peer.hear()
        await peer.say(b"250-x", b"250 STARTTLS")
        await peer.hear()
        await peer.say(b"220 go")
        await peer.reader.read()

    outcome, remote = await deliver(to, make_lease, session)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.7.5")
    assert not any(line.startswith(b"MAIL") for line in remote.heard)


@pytest.mark.parametrize("step", ["RCPT", "final"])
async def test_an_answer_whose_lines_contradict_each_other_is_no_verdict(
    step: str, to: To, make_lease: MakeLease
) -> None:
    async def torn(peer: Peer) -> None:
        await peer.say(b"550-5.1.1 no such user", b"250 or perhaps there is")

    outcome, _ = await deliver(to, make_lease, at(step, torn))
    assert (outcome.fate, "contradict" in outcome.text) == (Fate.DEFERRED, True)


async def test_mail_that_was_taken_is_delivered_however_the_connection_ends(to: To, make_lease: MakeLease) -> None:
    async def taken(peer: Peer) -> None:
        await peer.say(b"250 taken")
        await reset(peer)

    outcome, _ = await deliver(to, make_lease, at("final", taken))
    assert outcome.fate is Fate.DELIVERED


async def test_many_endless_talkers_at_once_are_all_left(to: To, make_lease: MakeLease) -> None:
    async def endless_greeting(peer: Peer) -> None:
        await peer.say(b"220 hi")
        await peer.hear()
        for _ in range(10_000):
            await peer.say(b"250-ONE-MORE-EXTENSION " + b"x" * 90)

    async with RoughRemote(endless_greeting) as remote:
        made = to(remote.port)
        results = await asyncio.gather(*(made.deliver(make_lease()) for _ in range(50)))
        made.close()
    assert {outcome.fate for [outcome] in results} <= {Fate.DEFERRED, Fate.POSTPONED}  # its circuit opens in between
