"""The policy in conversations: stages, refusals, what is written and told, bans, rates, slow answers, early talkers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from mailbox_app.mailauth.results import AuthResults, DmarcResult, IprevResult, Result, SpfResult
from mailbox_app.policy.check import Check, Mode
from mailbox_app.policy.checks.bans import Bans
from mailbox_app.policy.checks.connection_rate import ConnectionRate
from mailbox_app.policy.checks.early_talker import EarlyTalker
from mailbox_app.policy.checks.message_rate import MessageRate
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.state.bans import Ban
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict
from mailbox_app.proto.smtp.replies import Reply
from tests.support.clock import FakeClock, settle
from tests.support.smtp import Client, SmtpWorld, smtp_world

MESSAGE = b"From: Carol <carol@remote.example>\r\nSubject: hello\r\nMessage-ID: <1@remote.example>\r\n\r\nHi.\r\n"
STRANGER = "192.0.2.7"
QUICK = "[abuse]\ngreeting_delay_ms = 0\n"


def says(
    at: Stage, when: Callable[[Facts], bool], verdict: Verdict, reply: Reply | None = None, score: float = 0.0
) -> Callable[[Tools], Check]:
    class Says:
        name: ClassVar[str] = f"at_{at}"
        stage: ClassVar[Stage] = at
        default_mode: ClassVar[Mode] = "enforce"

        def __init__(self, _tools: Tools) -> None:
            pass

        async def run(self, facts: Facts) -> Sequence[Finding]:
            return [Finding(self.name, "because", score, verdict, reply)] if when(facts) else []

    return Says


async def refused_greeting(world: SmtpWorld, kind: str = "smtp") -> tuple[int, str]:
    client = Client(*await asyncio.open_connection("127.0.0.1", world.ports[kind]))
    answer = await client.reply()
    if answer[0] != 220:
        assert await client.is_closed()
    client.close()
    return answer


async def test_each_stage_refuses_with_the_reply_of_its_check_and_tells_why(tmp_path: Path) -> None:
    checks = [
        says(
            Stage.SENDER, lambda facts: facts.sender == "bad@x.example", Verdict.REJECT, Reply(550, "5.7.1", "Not you")
        ),
        says(Stage.RECIPIENT, lambda facts: facts.recipients[-1].address.startswith("bob"), Verdict.DEFER),
        says(Stage.MESSAGE, lambda facts: b"spam" in (facts.message.body if facts.message else b""), Verdict.REJECT),  # type: ignore[operator]
    ]
    async with smtp_world(tmp_path, settings=QUICK, client_ip=STRANGER, checks=checks) as world:
        client = await world.connect()
        assert await client.expect(550, "MAIL FROM:<bad@x.example>") == "5.7.1 Not you"
        await client.begin()
        assert (await client.expect(450, "RCPT TO:<bob@example.org>")).startswith("4.7.1 ")
        await client.expect(250, "RCPT TO:<dave@example.org>")
        assert (await client.content(MESSAGE + b"spam\r\n"))[0] == 550
        await client.begin()
        assert (await client.content(MESSAGE))[0] == 250
        assert world.inbox("bob@example.org") == []
        told = [(each.reply.code, each.stage, each.recipient) for each in world.decisions]
        assert told == [
            (550, Stage.SENDER, ""),
            (450, Stage.RECIPIENT, "bob@example.org"),
            (550, Stage.MESSAGE, ""),
            (250, None, ""),
        ]
        assert [event.reason for event in world.events] == ["at_sender", "at_recipient", "at_message", ""]
        assert world.decisions[0].facts.sender == "bad@x.example"
        assert [each.address for each in world.decisions[2].facts.recipients] == [
            "alice@example.org",
            "dave@example.org",
        ]


async def test_what_a_stage_found_goes_on_with_the_message_and_into_its_header(tmp_path: Path) -> None:
    checks = [
        says(Stage.CONNECT, lambda _facts: True, Verdict.ACCEPT, score=1.0),
        says(Stage.SENDER, lambda facts: facts.sender != "", Verdict.ACCEPT, score=2.0),
        says(Stage.MESSAGE, lambda _facts: True, Verdict.ACCEPT, score=4.0),
    ]
    forged = b"X-Mailbox-Verdict: accept; score=-99 required=5\r\n"
    settings = QUICK + "[policy]\njunk_score = 10.0\n"
    async with smtp_world(tmp_path, settings=settings, client_ip=STRANGER, checks=checks) as world:
        client = await world.connect()
        for sender, score in (("carol@remote.example", 7.0), ("", 5.0), ("carol@remote.example", 7.0)):
            await client.begin(sender)
            assert (await client.content(forged + MESSAGE))[0] == 250
            assert world.decisions[-1].judgement.score() == score
        stored = b"".join(world.inbox("alice@example.org"))
        assert stored.count(b"X-Mailbox-Verdict: accept; score=") == 3
        assert b"score=-99" not in stored


async def test_clients_of_this_machine_pass_every_stage_before_the_message(tmp_path: Path) -> None:
    never = [
        says(stage, lambda _facts: True, Verdict.REJECT) for stage in (Stage.CONNECT, Stage.SENDER, Stage.RECIPIENT)
    ]
    async with smtp_world(tmp_path, settings="", checks=never) as world:
        client = await world.connect()
        await client.begin()
        assert (await client.content(MESSAGE))[0] == 250


async def test_a_ban_closes_every_door_but_those_of_the_allow_list(tmp_path: Path) -> None:
    settings = QUICK + '[policy]\nallow = ["192.0.2.8"]\n'
    async with smtp_world(tmp_path, settings=settings, client_ip=STRANGER, checks=[Bans]) as world:
        for network, expires in (("192.0.2.0/24", 1e12), ("198.51.100.1/32", 0.0)):
            world.state.state.bans.add(Ban(network, "operator", "a nuisance", 0.0, expires))
        for kind in ("smtp", "submission"):
            assert (await refused_greeting(world, kind))[0] == 421
        assert [each.judgement.findings[0].reason for each in world.decisions] == ["a nuisance"]  # once a minute
        world.clients.ip = "198.51.100.1"
        assert (await refused_greeting(world))[0] == 554
        for allowed in ("192.0.2.8", "", "203.0.113.1"):
            world.clients.ip = allowed
            await world.connect()
        world.state.state.bans.remove("192.0.2.0/24")
        world.clients.ip = STRANGER
        await world.connect()


async def test_connections_and_messages_are_counted_by_address_and_network(tmp_path: Path) -> None:
    settings = (
        QUICK + "client_connections_per_minute = 2\nnetwork_connections_per_minute = 3\nclient_messages_per_hour = 1\n"
    )
    async with smtp_world(
        tmp_path, settings=settings, client_ip=STRANGER, checks=[ConnectionRate, MessageRate]
    ) as world:
        client = await world.connect()
        await client.begin()
        await client.expect(250, "RSET")
        assert "1 an hour" in await client.expect(450, "MAIL FROM:<a@x.example>")
        await world.connect()
        assert await refused_greeting(world) == (421, "4.7.0 Too many connections from your address, try again later")
        world.clients.ip = "192.0.2.99"
        await world.connect()  # the refused one was not counted for its neighbours
        code, text = await refused_greeting(world)
        assert (code, "network" in text) == (421, True)
        world.clients.ip = "203.0.113.1"
        await world.connect()


async def test_a_search_for_addresses_ends_in_a_ban_and_an_old_list_does_not(tmp_path: Path) -> None:
    settings = QUICK + "ban_unknown_recipients = 5\nslow_down_seconds = 0\n"
    async with smtp_world(tmp_path, settings=settings, client_ip=STRANGER, checks=[Bans]) as world:
        client = await world.connect()
        await client.expect(250, "MAIL FROM:<a@x.example>")
        for number in range(4):
            await client.expect(550, f"RCPT TO:<u{number}@example.org>")
        assert "banned" in await client.expect(421, "RCPT TO:<u5@example.org>")
        assert await client.is_closed()
        assert (await refused_greeting(world))[0] == 421
        (ban,) = world.state.state.bans.all()
        assert (ban.network, ban.source) == ("192.0.2.7/32", "policy")

        world.clients.ip = "203.0.113.1"
        client = await world.connect()
        for number in range(8):
            await client.begin()
            await client.expect(550, f"RCPT TO:<gone{number}@example.org>")
            assert (await client.content(MESSAGE))[0] == 250
        assert len(world.state.state.bans.all()) == 1


async def test_addresses_of_private_networks_are_never_banned_by_the_server(tmp_path: Path) -> None:
    settings = QUICK + "ban_unknown_recipients = 2\nslow_down_seconds = 0\n"
    async with smtp_world(tmp_path, settings=settings, client_ip="10.1.2.3", checks=[Bans]) as world:
        client = await world.connect()
        await client.expect(250, "MAIL FROM:<a@x.example>")
        for number in range(6):
            await client.expect(550, f"RCPT TO:<u{number}@example.org>")
        assert world.state.state.bans.all() == []


async def test_who_talks_before_the_greeting_is_remembered_for_it_and_known_clients_do_not_wait(tmp_path: Path) -> None:
    clock = FakeClock()
    settings = "[abuse]\ngreeting_delay_ms = 2000\n"
    async with smtp_world(tmp_path, settings=settings, client_ip=STRANGER, clock=clock, checks=[EarlyTalker]) as world:
        early = Client(*await asyncio.open_connection("127.0.0.1", world.ports["smtp"]))
        await early.send(b"EHLO bot.example\r\n")
        assert (await early.reply())[0] == 220
        assert (await early.reply())[0] == 250
        await early.begin()
        assert (await early.content(MESSAGE))[0] == 250
        assert world.decisions[-1].judgement.score() == 3.0

        known = await world.connect()  # the clock stands still: no wait
        await known.begin()
        assert (await known.content(MESSAGE))[0] == 250
        assert world.decisions[-1].judgement.score() == 0.0

        world.clients.ip = "203.0.113.1"
        patient = Client(*await asyncio.open_connection("127.0.0.1", world.ports["smtp"]))
        greeting = asyncio.create_task(patient.reply())
        while not clock._sleepers:
            await settle(1)
        assert not greeting.done()
        await clock.advance(2)
        assert (await greeting)[0] == 220


async def test_one_error_after_the_other_is_answered_more_and_more_slowly(tmp_path: Path) -> None:
    clock = FakeClock()
    async with smtp_world(tmp_path, settings=QUICK, client_ip=STRANGER, clock=clock) as world:
        client = await world.connect()
        waits = []
        for _ in range(7):
            answer = asyncio.create_task(client.say("NONSENSE"))
            before = clock.monotonic_seconds()
            while not answer.done():
                await clock.advance(0.5)
                await asyncio.sleep(0.001)
            waits.append(clock.monotonic_seconds() - before)
            assert (await answer)[0] == 500
        assert waits[1] <= 0.5
        assert [round(wait) for wait in waits[4:]] == [2, 4, 8]
        world.clients.ip = ""
        ours = await world.connect()
        for _ in range(10):
            await ours.expect(500, "NONSENSE")  # the clock stands still: no wait
        assert (await ours.say("GET / HTTP/1.1"))[0] == 421


class SlowSpf:
    """SPF that is asked early and answers when told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.given: list[SpfResult | None] = []

    async def spf(self, *, remote_ip: str, helo: str, sender: str, timeout_seconds: float) -> SpfResult:
        self.asked.append(sender)
        await self.may_answer.wait()
        return SpfResult(Result.PASS, sender.rpartition("@")[2])

    async def iprev(self, remote_ip: str, *, timeout_seconds: float) -> IprevResult:
        return IprevResult(Result.PASS, remote_ip, "client.example")

    async def check(self, *, spf: SpfResult | None = None, **_known: object) -> AuthResults:
        self.given.append(spf)
        dmarc = DmarcResult(Result.NONE)
        return AuthResults(b"Authentication-Results: x; none\r\n", "", spf or SpfResult(Result.TEMPERROR), (), dmarc)


async def test_spf_begins_at_mail_and_its_answer_serves_the_message(tmp_path: Path) -> None:
    checks = SlowSpf()
    async with smtp_world(tmp_path, settings=QUICK, client_ip=STRANGER, checks=[], sender_checks=checks) as world:
        client = await world.connect()
        await client.begin()
        await settle()
        assert checks.asked == ["carol@remote.example"]
        checks.may_answer.set()
        assert (await client.content(MESSAGE))[0] == 250
        assert checks.given[0] is not None
        checks.may_answer.clear()
        await client.begin("d@y.example")
        assert (await client.content(MESSAGE))[0] == 250  # an answer that is late holds nothing up
        assert checks.given[1] is None


async def test_a_line_that_comes_byte_by_byte_has_the_time_of_one_line(tmp_path: Path) -> None:
    clock = FakeClock()
    async with smtp_world(tmp_path, clock=clock) as world:
        client = await world.connect()
        (session,) = world.service._sessions["smtp"]
        began = clock.monotonic_seconds()
        for piece in (b"N", b"O", b"O"):
            await client.send(piece)
            while piece not in session._input or len(session._input) < 1:
                await settle(1)
            clock.skip(100)
            await settle()
            assert session.deadline == began + world.service.limits.command_seconds
        await client.send(b"P\r\n")
        assert (await client.reply())[0] == 250
        while session.deadline == began + world.service.limits.command_seconds:
            await settle(1)
        assert session.deadline == clock.monotonic_seconds() + world.service.limits.command_seconds
