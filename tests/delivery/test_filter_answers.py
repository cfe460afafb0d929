"""What filter scripts send: redirects, out-of-office answers, notifications; and to whom they never do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailbox_app.accounts.dkim_keys import generate
from mailbox_app.config.schema import Sieve
from mailbox_app.errors import QueueError
from mailbox_app.mailqueue.model import Settlement
from mailbox_app.policy.verdict import Finding, Judgement
from tests.support.filtered import ALICE, BOB, CAROL, DAVE, MESSAGE, FilteredWorld, filtered_world

JUNK = Judgement([Finding("dnsbl", "listed", score=7.2)])
AWAY = 'require "vacation"; vacation "I am away.";'


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FilteredWorld]:
    async with filtered_world(tmp_path) as made:
        yield made


def parsed(content: bytes) -> EmailMessage:
    found = message_from_bytes(content, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


async def test_a_redirect_goes_into_the_queue_with_a_sender_of_ours_and_the_bytes_untouched(
    world: FilteredWorld,
) -> None:
    world.script('redirect "far@outside.example"; redirect "FAR@outside.example";')
    assert (await world.send())[0] == 250
    ((sender, recipient, transport),) = world.queued()
    assert sender.startswith("SRS0=")
    assert sender.endswith("=remote.example=carol@example.org")
    assert (recipient, transport) == ("far@outside.example", "smtp")
    (content,) = world.smtp.queued_content()
    assert content.startswith(b"Delivered-To: alice@example.org\r\nReceived: ")
    assert content.endswith(b"\r\n" + MESSAGE)
    assert world.counts() == {}


async def test_a_redirect_keeps_the_null_sender_and_copy_keeps_the_message(world: FilteredWorld) -> None:
    world.script('require "copy"; redirect :copy "far@outside.example";')
    assert (await world.send(sender=""))[0] == 250
    assert world.queued() == [("", "far@outside.example", "smtp")]
    assert world.counts() == {"INBOX": 1}


async def test_a_redirect_to_an_account_here_takes_the_local_way_and_a_loop_ends(world: FilteredWorld) -> None:
    world.script('redirect "dave@example.org";')
    world.script('redirect "alice@example.org";', DAVE)
    await world.send()
    assert [(recipient, transport) for _, recipient, transport in world.queued()] == [(DAVE, "local")]
    texts = []
    for _ in range(4):
        for lease in world.smtp.queue.claim(world.clock.now(), limit=10, lease_seconds=60):
            outcomes = await world.smtp.local.deliver(lease)
            assert [outcome.code for outcome in outcomes] == [250]
            texts += [outcome.text for outcome in outcomes]
            world.smtp.queue.settle([Settlement(lease, outcomes, world.clock.now())], world.clock.now())
    assert world.queued() == []
    assert (world.counts(), world.counts(DAVE)) == ({"INBOX": 1}, {})
    assert texts[0] == "Delivered: redirected alice@example.org (script main)"
    assert "this is a loop" in texts[1]


@pytest.mark.parametrize(
    ("content", "address", "reason"),
    [
        (b"Delivered-To: Alice@example.org\r\n" + MESSAGE, "far@outside.example", "this is a loop"),
        (MESSAGE, "alice@example.org", "the address is this account's own"),
        (MESSAGE, "alice.alias@example.org", "the address is this account's own"),
    ],
)
async def test_a_redirect_that_would_loop_keeps_the_message(
    world: FilteredWorld, content: bytes, address: str, reason: str
) -> None:
    world.script(f'redirect "{address}";')
    delivered = await world.deliver(content=content)
    assert world.counts() == {"INBOX": 1}
    assert reason in delivered.filings[0].reason
    assert world.queued() == []


async def test_junk_is_not_passed_on_unless_told_so(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with filtered_world(tmp_path / "a") as world:
        world.script('redirect "far@outside.example";')
        delivered = await world.deliver(judgement=JUNK)
        assert (world.counts(), world.queued()) == ({"Junk": 1}, [])
        assert "junk is not passed on" in delivered.filings[0].reason
    async with filtered_world(tmp_path / "b", Sieve(redirect_junk=True)) as world:
        world.script('redirect "far@outside.example";')
        await world.deliver(judgement=JUNK)
        assert (world.counts(), len(world.queued())) == ({}, 1)


async def test_redirects_are_limited_by_the_day(tmp_path: Path) -> None:
    async with filtered_world(tmp_path, Sieve(redirects_per_day=2)) as world:
        world.script('redirect "far@outside.example";')
        for _ in range(4):
            await world.send()
        assert (len(world.queued()), world.counts()) == (2, {"INBOX": 2})
        world.clock.skip(86_400)
        await world.send()
        assert len(world.queued()) == 3


async def test_a_queue_that_takes_nothing_means_nothing_was_done(
    world: FilteredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.script('require ["copy", "fileinto", "mailbox"]; redirect :copy "far@outside.example"; fileinto :create "A";')

    def full(*_: object, **__: object) -> None:
        raise QueueError("queue.full", "no room", temporary=True)

    monkeypatch.setattr(world.smtp.spool, "write", full)
    assert (await world.send())[0] == 452
    assert world.counts() == {}
    assert not list(world.path.glob("mail/*/*/Maildir/tmp/*"))


async def test_an_answer_goes_to_the_envelope_sender_and_says_what_it_is(world: FilteredWorld) -> None:
    world.script(
        'require "vacation"; vacation :subject "Weg bis Montag, Jürgen" :addresses "a@elsewhere.example" "Bin nicht da.\r\nGrüße";'
    )
    content = MESSAGE.replace(b"From: Carol <carol@remote.example>", b"From: <victim@third.example>").replace(
        b"Message-ID:", b"References: <0@remote.example>\r\nMessage-ID:"
    )
    assert (await world.send(content=content))[0] == 250
    assert world.counts() == {"INBOX": 1}
    assert world.queued() == [("", CAROL, "smtp")]
    (wire,) = world.smtp.queued_content()
    answer = parsed(wire)
    assert answer["To"] == "carol@remote.example"
    assert answer["From"] == "alice@example.org"
    assert answer["Subject"] == "Weg bis Montag, Jürgen"
    assert answer["Auto-Submitted"] == "auto-replied"
    assert answer["In-Reply-To"] == "<1@remote.example>"
    assert answer["References"].split() == ["<0@remote.example>", "<1@remote.example>"]
    assert answer["Date"] == "Mon, 05 Jan 2026 10:00:00 +0000"
    assert answer["Message-ID"].endswith("@example.org>")
    assert answer.get_content().splitlines() == ["Bin nicht da.", "Grüße"]
    assert wire.isascii()
    assert all(len(line) <= 78 for line in wire.split(b"\r\n"))
    assert wire.count(b"\n") == wire.count(b"\r\n")


async def test_the_same_person_has_one_answer_in_its_time(world: FilteredWorld) -> None:
    world.script('require "vacation"; vacation :days 2 "I am away.";')
    for sender in (CAROL, CAROL, "carol@REMOTE.example", "other@remote.example"):
        await world.send(sender=sender)
    assert [recipient for _, recipient, _ in world.queued()] == [CAROL, "other@remote.example"]
    world.clock.skip(2 * 86_400 + 1)
    await world.send()
    assert len(world.queued()) == 3
    world.script('require "vacation"; vacation :days 2 "Something else.";')
    await world.send()
    assert len(world.queued()) == 4, "another text is another answer"


async def test_answers_at_once_are_one(world: FilteredWorld) -> None:
    world.script(AWAY)
    await asyncio.gather(*(world.deliver() for _ in range(8)))
    assert len(world.queued()) == 1
    assert world.counts() == {"INBOX": 8}


@pytest.mark.parametrize(
    "field",
    [
        "List-Id: <dev.remote.example>",
        "List-Unsubscribe: <mailto:x@y.example>",
        "List-Post: NO",
        "Auto-Submitted: auto-generated",
        "auto-submitted: Auto-Replied (vacation)",
        "Precedence: bulk",
        "Precedence: Junk",
        "X-Auto-Response-Suppress: DR, OOF",
    ],
)
async def test_no_answer_to_lists_bulk_and_programs(world: FilteredWorld, field: str) -> None:
    world.script(AWAY)
    delivered = await world.deliver(content=field.encode() + b"\r\n" + MESSAGE)
    assert world.queued() == []
    assert "no answer sent" in delivered.filings[0].reason
    assert world.counts() == {"INBOX": 1}


@pytest.mark.parametrize(
    "sender",
    ["", "MAILER-DAEMON@remote.example", "owner-dev@remote.example", "dev-request@remote.example", "listserv@r.example",
     "majordomo@r.example", "no-reply@shop.example", "bounces+7=alice@shop.example", ALICE, "alice.alias@example.org"],
)  # fmt: skip
async def test_no_answer_to_nobody_to_roles_of_programs_and_to_oneself(world: FilteredWorld, sender: str) -> None:
    world.script(AWAY)
    await world.deliver(sender=sender)
    assert world.queued() == []


async def test_no_answer_to_junk_and_to_what_does_not_name_the_account(world: FilteredWorld) -> None:
    world.script(AWAY)
    await world.deliver(judgement=JUNK)
    await world.deliver(content=MESSAGE.replace(b"To: alice@example.org", b"To: undisclosed-recipients:;"))
    assert world.queued() == []
    for to in (
        b"Cc: x@y.example, Alice <ALICE@example.org>",
        b"To: alice.alias@example.org",
        b"Resent-To: alice+x@example.org",
    ):
        world.clock.skip(86_400 * 30)
        await world.deliver(content=MESSAGE.replace(b"To: alice@example.org", to))
    assert len(world.queued()) == 3


async def test_addresses_of_the_script_count_as_ones_own(world: FilteredWorld) -> None:
    world.script('require "vacation"; vacation :addresses ["me@old.example"] "Away.";')
    await world.deliver(content=MESSAGE.replace(b"To: alice@example.org", b"To: Me@OLD.example"))
    assert len(world.queued()) == 1


@pytest.mark.parametrize(
    ("wanted", "used"),
    [
        ("Alice A. <alice.alias@example.org>", '"Alice A." <alice.alias@example.org>'),
        ("victim@third.example", "alice@example.org"),
        ("bob@example.org", "alice@example.org"),
    ],
)
async def test_an_answer_is_from_an_own_address_only(world: FilteredWorld, wanted: str, used: str) -> None:
    world.script(f'require "vacation"; vacation :from "{wanted}" "Away.";')
    await world.deliver()
    (wire,) = world.smtp.queued_content()
    assert parsed(wire)["From"] == used


async def test_a_mime_answer_brings_its_content_fields_and_no_others(world: FilteredWorld) -> None:
    world.script(
        'require "vacation"; vacation :mime text:\r\nContent-Type: text/html; charset=utf-8\r\nBcc: many@people.example\r\n'
        "Content-Language: de\r\n\r\n<p>Weg</p>\r\n.\r\n;"
    )
    await world.deliver()
    (wire,) = world.smtp.queued_content()
    answer = parsed(wire)
    assert answer.get_content_type() == "text/html"
    assert answer["Content-Language"] == "de"
    assert answer["Bcc"] is None
    assert answer.get_content().split() == ["<p>Weg</p>"]


async def test_no_text_can_add_a_field_or_a_recipient(world: FilteredWorld) -> None:
    world.script(
        'require ["vacation", "variables"]; if header :matches "subject" "*" { vacation :subject "${1}" "x"; }'
    )
    await world.deliver(
        content=MESSAGE.replace(b"Subject: lunch", b"Subject: =?utf-8?q?a=0D=0ABcc:_x@y.example=0D=0A=0D=0Abody?=")
    )
    (wire,) = world.smtp.queued_content()
    assert parsed(wire)["Bcc"] is None
    assert "Bcc: x@y.example" in parsed(wire)["Subject"]


async def test_an_answer_that_cannot_be_queued_is_noted_and_comes_with_the_next_mail(
    world: FilteredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.script(AWAY)

    def full(*_: object, **__: object) -> None:
        raise QueueError("queue.full", "no room", temporary=True)

    with monkeypatch.context() as patch:
        patch.setattr(world.smtp.spool, "write", full)
        delivered = await world.deliver()
    assert world.counts() == {"INBOX": 1}
    assert "an answer could not be sent" in delivered.filings[0].reason
    await world.deliver()
    assert len(world.queued()) == 1


async def test_a_copy_of_the_answer_is_filed(world: FilteredWorld) -> None:
    world.script(
        'require ["vacation", "fcc", "mailbox", "imap4flags"]; vacation :fcc "Answers" :create :flags "\\\\Seen" "Away.";'
    )
    delivered = await world.deliver()
    (wire,) = world.smtp.queued_content()
    assert world.messages(mailbox="Answers") == [wire]
    assert world.flags("Answers") == [(1, ())]
    assert [filing.action for filing in delivered.filings] == ["stored", "replied"]


async def test_answers_are_limited_by_the_day(tmp_path: Path) -> None:
    async with filtered_world(tmp_path, Sieve(answers_per_day=2)) as world:
        world.script(AWAY)
        for number in range(4):
            await world.deliver(sender=f"s{number}@remote.example")
        assert len(world.queued()) == 2


async def test_no_answer_when_the_message_is_not_delivered(world: FilteredWorld) -> None:
    world.smtp.directory.set_quota(BOB, 1_200)
    world.script(AWAY, BOB)
    content = MESSAGE.replace(b"alice", b"bob") + b"x" * 1_150
    assert (await world.send(BOB, content=content))[0] == 452
    assert world.queued() == []
    world.smtp.directory.set_quota(BOB, 0)
    assert (await world.send(BOB, content=content))[0] == 250
    assert len(world.queued()) == 1


async def test_a_notification_by_mail(world: FilteredWorld) -> None:
    world.script(
        'require ["enotify"]; notify :importance "1" :message "Mail!"'
        ' "mailto:pager@far.example?cc=bob@example.org&subject=ignored&body=Look%20now&x-thing=1&from=evil@x.example";'
    )
    delivered = await world.deliver()
    assert sorted(world.queued()) == [("", BOB, "local"), ("", "pager@far.example", "smtp")]
    (wire,) = world.smtp.queued_content()
    note = parsed(wire)
    assert note["Subject"] == "Mail!"
    assert note["From"] == "alice@example.org"
    assert note["Auto-Submitted"] == 'auto-notified; owner-email="alice@example.org"'
    assert note["Importance"] == "high"
    assert note["X-Thing"] == "1"
    assert note.get_content().strip() == "Look now"
    assert [filing.action for filing in delivered.filings] == ["stored", "notified"]
    await world.deliver(content=b"Auto-Submitted: auto-notified\r\n" + MESSAGE)
    assert len(world.queued()) == 2, "no notification about a notification"


async def test_answers_are_signed_with_the_domains_keys(world: FilteredWorld) -> None:
    world.smtp.directory.add_dkim_key(generate("example.org", "s1", "ed25519", world.clock.now()))
    world.script(AWAY)
    await world.deliver()
    (wire,) = world.smtp.queued_content()
    assert b"d=example.org" in wire.split(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    ("results", "answers"),
    [
        ("spf=pass smtp.mailfrom=remote.example; dmarc=fail", 1),
        ("spf=none smtp.mailfrom=remote.example; dmarc=none", 1),
        ("spf=temperror smtp.mailfrom=remote.example; spf=fail smtp.helo=x.example; dmarc=none", 1),
        ("spf=fail smtp.mailfrom=remote.example", 0),
        ("spf=softfail smtp.mailfrom=remote.example", 0),
        ("spf=none smtp.mailfrom=remote.example; dmarc=fail", 0),
    ],
)
async def test_whoever_did_not_send_it_gets_no_answer(world: FilteredWorld, results: str, answers: int) -> None:
    world.script(AWAY)
    content = f"Authentication-Results: mail.example.org; {results}\r\n".encode() + MESSAGE
    delivered = await world.deliver(content=content)
    assert len(world.queued()) == answers
    assert world.counts() == {"INBOX": 1}
    assert ("somebody may have used the sender's name" in delivered.filings[0].reason) == (not answers)


@pytest.mark.parametrize(
    ("edit", "is_passed_on"),
    [
        ('addheader "X-A" "b";', True),
        ('deleteheader "from"; addheader "From" "alice@example.org";', True),
        ('deleteheader "from"; addheader "From" "Boss <bob@example.org>";', False),
        ('addheader :last "From" "BOB@EXAMPLE.ORG";', False),
        ('deleteheader "from"; addheader "From" "x@far.example, bob@example.org";', False),
    ],
)
async def test_nobody_writes_to_others_in_a_colleagues_name_by_a_script(
    world: FilteredWorld, edit: str, is_passed_on: bool
) -> None:
    world.script(f'require "editheader"; {edit} redirect "far@outside.example";')
    delivered = await world.deliver(sender=ALICE)
    assert len(world.queued()) == is_passed_on
    assert ("in the name of somebody else here" in delivered.filings[0].reason) == (not is_passed_on)
    assert world.counts() == ({} if is_passed_on else {"INBOX": 1})


async def test_a_colleagues_own_mail_is_passed_on(world: FilteredWorld) -> None:
    world.script('redirect "far@outside.example";')
    await world.deliver(sender=BOB, content=MESSAGE.replace(b"Carol <carol@remote.example>", BOB.encode()))
    assert [recipient for _, recipient, _ in world.queued()] == ["far@outside.example"]
