"""Conversations on port 25: what is accepted, what is refused, and what lies in the mailbox afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailbox_app.mailqueue.srs import is_rewritten
from tests.support.smtp import SmtpWorld, smtp_world

MESSAGE = (
    b"From: Carol <carol@remote.example>\r\nSubject: hello\r\nMessage-ID: <1@remote.example>\r\n\r\nHi.\r\n.. two\r\n"
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmtpWorld]:
    async with smtp_world(tmp_path) as made:
        yield made


async def test_a_message_reaches_the_mailbox_with_trace_fields_and_its_bytes_untouched(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.begin()
    code, text = await client.content(MESSAGE)
    assert code == 250
    assert text.startswith("2.0.0 ")
    (stored,) = world.inbox("alice@example.org")
    head, _, rest = stored.partition(b"From: Carol")
    assert b"From: Carol" + rest == MESSAGE
    assert head.startswith(b"Return-Path: <carol@remote.example>\r\nReceived: from client.example ([127.0.0.1])\r\n")
    assert b"with ESMTP id " + text[6:].encode() in head
    assert b"for <alice@example.org>;" in head
    (event,) = world.events
    assert (event.verb, event.direction, event.message_id) == ("accepted", "in", "<1@remote.example>")


async def test_a_message_refused_at_its_end_is_in_the_log_with_sender_and_recipients(world: SmtpWorld) -> None:
    client = await world.connect()
    bare = b"a bare\nline feed\r\n"
    for data in (b"DATA\r\n" + bare + b".\r\n", b"BDAT %d LAST\r\n%b" % (len(bare), bare)):
        await client.begin()
        await client.send(data)
        while (code := (await client.reply())[0]) == 354:
            pass
        assert code == 554
        event = world.events[-1]
        assert (event.verb, event.reason) == ("rejected", "bad_line_ending")
        assert (event.sender, event.recipients) == ("carol@remote.example", ("alice@example.org",))
        await client.expect(503, "RCPT TO:<alice@example.org>")  # the transaction is over all the same


async def test_recipients_share_one_copy_each_and_duplicates_are_one(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.begin("", "alice@example.org", "ALICE@example.org", "alice.alias@example.org", "bob@example.org")
    assert (await client.content(MESSAGE))[0] == 250
    assert len(world.inbox("alice@example.org")) == len(world.inbox("bob@example.org")) == 1
    assert world.inbox("bob@example.org")[0].startswith(b"Return-Path: <>\r\n")
    assert b"\tfor <" not in world.inbox("bob@example.org")[0]


async def test_refused_recipients_are_told_at_once_and_the_others_served(world: SmtpWorld) -> None:
    """D5: nobody who was refused can be lost silently."""
    client = await world.connect()
    await client.expect(250, "MAIL FROM:<carol@remote.example>")
    assert await client.expect(550, "RCPT TO:<nobody@example.org>") == "5.1.1 No such mailbox here"
    await client.expect(250, "RCPT TO:<alice@example.org>")
    assert await client.expect(550, "RCPT TO:<x@elsewhere.example>") == "5.7.1 Relaying denied"
    assert (await client.content(MESSAGE))[0] == 250
    assert len(world.inbox("alice@example.org")) == 1
    assert [(event.reason, event.recipients) for event in world.events] == [
        ("no_such_user", ("nobody@example.org",)),
        ("relay_denied", ("x@elsewhere.example",)),
        ("", ("alice@example.org",)),
    ]


@pytest.mark.parametrize(
    "address", ["postmaster", "Postmaster@example.org", "abuse@example.org", "alice+tag@example.org"]
)
async def test_special_addresses_are_taken(world: SmtpWorld, address: str) -> None:
    client = await world.connect()
    await client.begin("", address)
    assert (await client.content(MESSAGE))[0] == 250
    assert len(world.inbox("alice@example.org")) == 1


async def test_an_alias_to_outside_is_queued_with_its_dsn_parameters(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.expect(250, "MAIL FROM:<carol@remote.example> RET=HDRS ENVID=e1")
    await client.expect(250, "RCPT TO:<sales@example.org> NOTIFY=FAILURE ORCPT=rfc822;sales@example.org")
    assert (await client.content(MESSAGE))[0] == 250
    (row,) = world.queued()
    assert (row.address, row.transport, row.notify) == ("sales@outside.example", "smtp", "FAILURE")
    assert row.orcpt == "rfc822;sales@example.org"
    envelope = world.queue.message(row.queue_id).envelope
    assert (envelope.ret, envelope.envid) == ("HDRS", "e1")
    assert is_rewritten(envelope.sender)
    assert envelope.sender.endswith("=remote.example=carol@example.org")
    (content,) = world.queued_content()
    assert content.startswith(b"Delivered-To: sales@example.org\r\nReceived: from client.example")
    assert content.endswith(MESSAGE)


async def test_a_list_with_local_and_outside_members_serves_all(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.begin("carol@remote.example", "team@example.org", "alice@example.org")
    assert (await client.content(MESSAGE))[0] == 250
    assert len(world.inbox("alice@example.org")) == len(world.inbox("bob@example.org")) == 1
    assert [row.address for row in world.queued()] == ["ext@outside.example"]


async def test_a_full_mailbox_is_refused_at_rcpt_for_now(world: SmtpWorld) -> None:
    world.inbox("bob@example.org").append(b"x" * 1_000_000)
    client = await world.connect()
    await client.expect(250, "MAIL FROM:<carol@remote.example>")
    assert (await client.expect(452, "RCPT TO:<bob@example.org>")).startswith("4.2.2 ")


async def test_a_declared_size_is_held_against_quota_and_limit(world: SmtpWorld) -> None:
    client = await world.connect()
    assert (await client.expect(552, "MAIL FROM:<carol@remote.example> SIZE=99999999")).startswith("5.3.4 ")
    await client.expect(250, "MAIL FROM:<carol@remote.example> SIZE=2000000")
    assert (await client.expect(552, "RCPT TO:<bob@example.org>")).startswith("5.2.3 ")
    await client.expect(250, "RCPT TO:<alice@example.org>")


async def test_a_mailbox_that_turns_out_full_at_the_end_is_452_for_a_sole_recipient(world: SmtpWorld) -> None:
    world.store.of("bob@example.org").quota_bytes = 10
    client = await world.connect()
    await client.begin("carol@remote.example", "bob@example.org")
    code, text = await client.content(MESSAGE)
    assert (code, text[:5]) == (452, "4.2.2")
    assert not world.queued()


async def test_one_full_mailbox_of_two_waits_in_the_queue_while_the_other_has_its_copy(world: SmtpWorld) -> None:
    """D20: 250 never loses a copy."""
    world.store.of("bob@example.org").quota_bytes = 10
    client = await world.connect()
    await client.begin("carol@remote.example", "alice@example.org", "bob@example.org")
    assert (await client.content(MESSAGE))[0] == 250
    assert len(world.inbox("alice@example.org")) == 1
    (row,) = world.queued()
    assert (row.address, row.transport) == ("bob@example.org", "local")
    assert "4.2.2" in row.last_text


async def test_hop_limit(world: SmtpWorld) -> None:
    client = await world.connect()
    for hops, expected in ((50, 250), (51, 554)):
        await client.begin()
        assert (await client.content(b"Received: from a by b; now\r\n" * hops + MESSAGE))[0] == expected


async def test_forged_results_in_our_name_are_cut_out_and_others_stay(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.begin()
    forged = (
        b"Authentication-Results: (c (d)) mail.EXAMPLE.org 1; dkim=pass\r\n"
        b"authentication-results:\r\n\tmail.example.org;\r\n spf=pass\r\n"
    )
    other = b"Authentication-Results: mx.other.example; spf=fail\r\n"
    assert (await client.content(forged[:63] + other + forged[63:] + MESSAGE))[0] == 250
    (stored,) = world.inbox("alice@example.org")
    assert stored.lower().count(b"authentication-results") == 1
    assert stored.endswith(other + MESSAGE)


async def test_pipelined_group_is_answered_in_order(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.send(
        b"MAIL FROM:<c@remote.example>\r\nRCPT TO:<nobody@example.org>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n"
    )
    assert [(await client.reply())[0] for _ in range(4)] == [250, 550, 250, 354]
    await client.send(MESSAGE + b".\r\nMAIL FROM:<d@remote.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
    assert [(await client.reply())[0] for _ in range(4)] == [250, 250, 250, 354]
    await client.send(MESSAGE + b".\r\nQUIT\r\n")
    assert [(await client.reply())[0] for _ in range(2)] == [250, 221]
    assert len(world.inbox("bob@example.org")) == 1


async def test_8bit_content_is_taken_without_8bitmime_and_headers_in_utf8_too(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.begin()
    content = "Subject: größe\r\n\r\näöü\xff\r\n".encode("latin-1") + "Ж\r\n".encode()
    assert (await client.content(content))[0] == 250
    assert world.inbox("alice@example.org")[0].endswith(content)


async def test_smtputf8_transactions_say_so_in_the_trace(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.expect(553, "MAIL FROM:<jörg@remote.example>")
    await client.expect(250, "MAIL FROM:<jörg@remote.example> SMTPUTF8")
    await client.expect(250, "RCPT TO:<alice@example.org>")
    assert (await client.content(MESSAGE))[0] == 250
    (stored,) = world.inbox("alice@example.org")
    assert stored.startswith("Return-Path: <jörg@remote.example>\r\n".encode())
    assert b"with UTF8SMTP id" in stored


async def test_a_large_message_goes_through_a_file_unchanged(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.begin()
    content = MESSAGE + b"".join(b"line %d of a long story\r\n" % number for number in range(150_000))
    assert len(content) > 3_000_000
    assert (await client.content(content))[0] == 250
    assert world.inbox("alice@example.org")[0].endswith(content)


async def test_local_trouble_is_451_without_details_and_the_session_goes_on(world: SmtpWorld) -> None:
    world.store.stage_fails_with = ZeroDivisionError("secret of ours")
    client = await world.connect()
    await client.begin()
    assert await client.content(MESSAGE) == (451, "4.3.0 Local trouble, try again later")
    world.store.stage_fails_with = None
    await client.begin()
    assert (await client.content(MESSAGE))[0] == 250
    assert world.metrics.errors._value.get() == 1


async def test_half_closed_input_is_still_answered(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.send(
        b"MAIL FROM:<c@remote.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n" + MESSAGE + b".\r\nQUIT\r\n"
    )
    client.writer.write_eof()
    assert [(await client.reply())[0] for _ in range(5)] == [250, 250, 354, 250, 221]
    assert await client.is_closed()
