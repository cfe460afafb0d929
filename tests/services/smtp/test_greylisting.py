"""Greylisting seen from outside: what a stranger is answered, when it comes back, and who is never asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from mailbox_app.db.offload import Offload
from mailbox_app.mailauth.checks import SenderChecks
from mailbox_app.policy.checks.greylist import Greylist, GreylistMessage
from tests.support.clock import FakeClock
from tests.support.dns import FakeResolver
from tests.support.smtp import HOSTNAME, SmtpWorld, smtp_world

STRANGER = "198.51.100.7"
SETTINGS = "[abuse]\ngreeting_delay_ms = 0\n"
ZONE: Mapping[tuple[str, str], Sequence[str]] = {
    ("good.example", "TXT"): ["v=spf1 ip4:198.51.100.0/24 -all"],
    ("7.100.51.198.in-addr.arpa", "PTR"): ["mx.good.example."],
    ("mx.good.example", "A"): [STRANGER],
}
MESSAGE = b"From: x@y.example\r\nSubject: hello\r\n\r\nhi\r\n"


@asynccontextmanager
async def world(
    path: Path, clock: FakeClock, zone: Mapping[tuple[str, str], Sequence[str]]
) -> AsyncIterator[SmtpWorld]:
    offload = Offload(2)
    checks = SenderChecks(FakeResolver(zone), offload, HOSTNAME, check_private_clients=False)
    async with smtp_world(
        path,
        settings=SETTINGS,
        client_ip=STRANGER,
        clock=clock,
        sender_checks=checks,
        checks=[Greylist, GreylistMessage],
    ) as made:
        yield made
    offload.close()


async def answer(made: SmtpWorld, sender: str, *recipients: str) -> list[int]:
    """The codes of RCPT, and of the message when one recipient was taken."""
    client = await made.connect()
    await client.expect(250, f"MAIL FROM:<{sender}>")
    codes = []
    for recipient in recipients or ("alice@example.org",):
        await client.send(f"RCPT TO:<{recipient}>\r\n".encode())
        codes.append((await client.reply())[0])
    if 250 in codes:
        codes.append((await client.content(MESSAGE))[0])
    client.close()
    return codes


async def test_a_stranger_waits_and_is_then_known(tmp_path: Path) -> None:
    clock = FakeClock()
    async with world(tmp_path, clock, {}) as made:
        assert await answer(made, "x@y.example") == [451]
        clock.skip(120)
        assert await answer(made, "x@y.example", "alice@example.org", "bob@example.org") == [451, 451]
        clock.skip(180)
        assert await answer(made, "x@y.example", "alice@example.org", "bob@example.org") == [250, 451, 250]
        assert len(made.inbox("alice@example.org")) == 1
        made.clients.ip = "198.51.100.99"
        assert await answer(made, "z@y.example") == [250, 250]
        refused = [each for each in made.decisions if each.reply.code == 451]
        assert {each.judgement.findings[0].check for each in refused} == {"greylist"}


async def test_an_alias_and_its_account_are_one_wait(tmp_path: Path) -> None:
    clock = FakeClock()
    async with world(tmp_path, clock, {}) as made:
        assert await answer(made, "x@y.example", "alice+news@example.org") == [451]
        clock.skip(301)
        assert await answer(made, "x@y.example", "Alice@Example.ORG") == [250, 250]


async def test_a_first_timer_in_good_order_and_trusted_clients_do_not_wait(tmp_path: Path) -> None:
    async with world(tmp_path, FakeClock(), ZONE) as made:
        assert await answer(made, "x@good.example") == [250, 250]
        assert await answer(made, "x@forged.example") == [451]
        made.clients.ip = ""
        assert await answer(made, "x@forged.example") == [250, 250]


async def test_an_address_check_with_the_null_sender_is_answered_and_a_bounce_waits(tmp_path: Path) -> None:
    clock = FakeClock()
    async with world(tmp_path, clock, {}) as made:
        client = await made.connect()
        await client.expect(250, "MAIL FROM:<>")
        await client.expect(250, "RCPT TO:<alice@example.org>")
        await client.expect(221, "QUIT")
        assert await answer(made, "") == [250, 451]
        clock.skip(301)
        assert await answer(made, "") == [250, 250]


async def test_an_answer_to_mail_of_ours_does_not_wait(tmp_path: Path) -> None:
    async with world(tmp_path, FakeClock(), {}) as made:
        alice = made.directory.account("alice@example.org")
        assert alice is not None
        await asyncio.to_thread(made.state.state.correspondents.wrote, alice.account_id, ["x@y.example"])
        assert await answer(made, "x@y.example", "alice@example.org", "bob@example.org") == [250, 451, 250]


async def test_whom_our_people_write_to_may_answer_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, FakeClock(), {}) as made:
        alice = await made.logged_in()
        await alice.begin("alice@example.org", "Friend@y.example")
        assert (await alice.content(b"From: alice@example.org\r\nSubject: hello\r\n\r\nhi\r\n"))[0] == 250
        alice.close()
        assert await answer(made, "friend@Y.example") == [250, 250]
        assert await answer(made, "stranger@y.example") == [451]
