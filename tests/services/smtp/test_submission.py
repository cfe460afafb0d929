"""Mail from our users: nothing without a login, nobody as somebody else, and what is added and removed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mailbox_app.accounts.model import AccountState, DkimKey
from mailbox_app.errors import QueueError
from tests.support.smtp import SmtpWorld, plain, smtp_world

HEADER = b"From: Alice <alice@example.org>\r\nTo: x@outside.example\r\n"
COMPLETE = HEADER + b"Date: Mon, 05 Jan 2026 10:00:00 +0000\r\nMessage-ID: <m1@example.org>\r\n\r\nHi.\r\n"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmtpWorld]:
    async with smtp_world(tmp_path) as made:
        yield made


def dkim_key(selector: str, private: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> DkimKey:
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    algorithm = "rsa" if isinstance(private, rsa.RSAPrivateKey) else "ed25519"
    return DkimKey("example.org", selector, algorithm, pem, "v=DKIM1", datetime.now(UTC))


RELAY = [
    ["MAIL FROM:<x@remote.example>"],
    ["MAIL FROM:<alice@example.org>"],
    ["MAIL FROM:<>"],
    ["MAIL FROM:<alice@example.org> AUTH=<alice@example.org>"],
    ["AUTH PLAIN " + plain("alice@example.org", "wrong"), "MAIL FROM:<alice@example.org>"],
    ["AUTH PLAIN", "*", "MAIL FROM:<alice@example.org>"],
    ["EHLO other.example", "MAIL FROM:<alice@example.org>"],
    ["HELO other.example", "MAIL FROM:<alice@example.org>"],
    ["RSET", "MAIL FROM:<alice@example.org>"],
    ["RCPT TO:<x@outside.example>"],
]


@pytest.mark.parametrize(("kind", "tls"), [("submission", False), ("submission", True), ("submissions", False)])
async def test_nobody_relays_without_a_login(world: SmtpWorld, kind: str, tls: bool) -> None:
    """D1: the open relay."""
    for lines in RELAY:
        client = await world.connect(kind)
        if tls:
            await client.starttls()
            await client.expect(250, "EHLO client.example")
        for line in lines:
            await client.say(line)
        code, _ = await client.say("RCPT TO:<x@outside.example>")
        assert code in (503, 530), lines
        assert (await client.say("BDAT 0 LAST"))[0] == 503, lines
        assert (await client.say("DATA"))[0] == 503, lines
        assert not world.queued(), lines


async def test_a_login_in_clear_is_refused_whatever_the_password(world: SmtpWorld) -> None:
    client = await world.connect("submission")
    assert (await client.expect(538, "AUTH PLAIN " + plain("alice@example.org", "wonder land"))).startswith("5.7.11 ")
    await client.expect(530, "MAIL FROM:<alice@example.org>")
    assert not world.authenticator.attempts


async def test_a_login_does_not_survive_starttls_or_reach_port_25(world: SmtpWorld) -> None:
    client = await world.connect("smtp")
    await client.starttls()
    await client.expect(250, "EHLO client.example")
    await client.expect(502, "AUTH PLAIN " + plain("alice@example.org", "wonder land"))
    await client.expect(250, "MAIL FROM:<alice@example.org>")
    await client.expect(550, "RCPT TO:<x@outside.example>")


@pytest.mark.parametrize("kind", ["submission", "submissions"])
async def test_mail_for_outside_is_queued_once_with_a_row_each(world: SmtpWorld, kind: str) -> None:
    client = await world.logged_in(kind)
    await client.expect(250, "MAIL FROM:<alice@example.org> BODY=8BITMIME RET=FULL ENVID=id1")
    await client.expect(250, "RCPT TO:<x@outside.example> NOTIFY=SUCCESS ORCPT=rfc822;x@outside.example")
    await client.expect(250, "RCPT TO:<y@other.example>")
    code, text = await client.content(COMPLETE)
    rows = world.queued()
    assert (code, text) == (250, f"2.0.0 Queued as {rows[0].queue_id}")
    assert {(row.queue_id, row.address, row.notify) for row in rows} == {
        (rows[0].queue_id, "x@outside.example", "SUCCESS"),
        (rows[0].queue_id, "y@other.example", ""),
    }
    envelope = world.queue.message(rows[0].queue_id).envelope
    assert (envelope.submitter, envelope.message_id, envelope.ret, envelope.envid, envelope.body) == (
        "alice@example.org", "<m1@example.org>", "FULL", "id1", "8BITMIME",
    )  # fmt: skip
    (content,) = world.queued_content()
    assert content.endswith(b"\r\n" + COMPLETE)
    assert content.startswith(b"Received: from [authenticated user]\r\n\tby mail.example.org with ESMTPSA id ")
    assert b"127.0.0.1" not in content
    assert b"client.example" not in content
    assert [event.verb for event in world.events] == ["queued", "accepted"]


async def test_local_recipients_have_it_at_once_and_return_path(world: SmtpWorld) -> None:
    client = await world.logged_in()
    await client.begin("alice@example.org", "dave@example.org", "x@outside.example")
    assert (await client.content(COMPLETE))[0] == 250
    (stored,) = world.inbox("dave@example.org")
    assert stored.startswith(b"Return-Path: <alice@example.org>\r\nReceived: ")
    assert [row.address for row in world.queued()] == ["x@outside.example"]


async def test_nothing_is_delivered_when_the_queue_cannot_take_its_part(
    world: SmtpWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise QueueError("queue.full", "no room", temporary=True)

    monkeypatch.setattr(world.queue, "enqueue", full)
    client = await world.logged_in()
    await client.begin("alice@example.org", "dave@example.org", "x@outside.example")
    assert await client.content(COMPLETE) == (452, "4.3.1 Insufficient storage, try again later")
    assert not world.inbox("dave@example.org")
    assert not world.queued_content()


SENDERS = [
    ("alice@example.org", 250),
    ("ALICE+tag@Example.org", 250),
    ("alice.alias@example.org", 250),
    ("", 250),
    ("bob@example.org", 553),
    ("alice@remote.example", 553),
    ("nobody@example.org", 553),
]


async def test_the_envelope_sender_belongs_to_the_account(world: SmtpWorld) -> None:
    client = await world.logged_in()
    for sender, code in SENDERS:
        await client.expect(code, f"MAIL FROM:<{sender}>")
        await client.expect(250, "RSET")


AUTHORS = [
    (b"From: alice.alias@example.org\r\n", 250),
    (b"From: Alice <alice@example.org>, =?utf-8?q?A?= <alice+2@example.org>\r\n", 250),
    (b"From: bob@example.org\r\n", 553),
    (b"From: alice@example.org, bob@example.org\r\n", 553),
    (b'From: "alice@example.org" <ceo@bank.example>\r\n', 553),
    (b"From: alice@example.org\r\nSender: bob@example.org\r\n", 553),
    (b"From: alice@example.org\r\nSender: alice+s@example.org\r\n", 250),
    (b"From: alice@example.org\r\nFrom: bob@example.org\r\n", 550),
    (b"Subject: no author\r\n", 550),
    (b"From: nobody at all\r\n", 553),
    (b"From:\r\n bob@example.org\r\n", 553),
]


@pytest.mark.parametrize("end", ["disable", "remove", "password"])
async def test_a_session_sends_no_more_when_its_account_ends(world: SmtpWorld, end: str) -> None:
    client = await world.logged_in()
    await client.begin("alice@example.org", "x@outside.example")
    if end == "disable":
        world.directory.set_state("alice@example.org", AccountState.DISABLED)
    elif end == "password":
        world.directory.set_password("alice@example.org", "another")
    else:
        world.directory.remove_account("alice@example.org")
    assert (await client.content(COMPLETE))[0] == 530
    await client.expect(530, "MAIL FROM:<alice@example.org>")
    client.close()
    assert world.queued() == []


async def test_every_author_belongs_to_the_account(world: SmtpWorld) -> None:
    accepted = 0
    for header, code in AUTHORS:
        client = await world.logged_in()
        await client.begin("alice@example.org", "x@outside.example")
        assert (await client.content(header + b"\r\nHi.\r\n"))[0] == code, header
        accepted += code == 250
        assert len(world.queued()) == accepted, header


async def test_missing_date_and_message_id_are_added(world: SmtpWorld) -> None:
    client = await world.logged_in()
    await client.begin("alice@example.org", "x@outside.example")
    assert (await client.content(HEADER + b"\r\nHi.\r\n"))[0] == 250
    (content,) = world.queued_content()
    assert content.endswith(b"\r\n" + HEADER + b"\r\nHi.\r\n")
    assert content.count(b"\r\nDate: ") == 1
    message_id = world.queue.message(world.queued()[0].queue_id).envelope.message_id
    assert message_id.endswith("@example.org>")
    assert b"\r\nMessage-ID: " + message_id.encode() + b"\r\n" in content
    assert {event.message_id for event in world.events} == {message_id}


async def test_bcc_is_cut_out_and_nothing_else_changes(world: SmtpWorld) -> None:
    client = await world.logged_in()
    await client.begin("alice@example.org", "x@outside.example")
    bcc = b"BCC : secret@outside.example,\r\n\tother@outside.example\r\n"
    odd = b"X-Odd:   spaces\t \r\n\tfolded\r\n"
    assert (await client.content(bcc + odd + COMPLETE.replace(b"Date:", bcc + b"Date:")))[0] == 250
    (content,) = world.queued_content()
    assert content.endswith(b"\r\n" + odd + COMPLETE)


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_mail_is_signed_with_all_keys_of_the_authors_domain(world: SmtpWorld, size: int) -> None:
    world.directory.add_dkim_key(dkim_key("ed", ed25519.Ed25519PrivateKey.generate()))
    world.directory.add_dkim_key(dkim_key("rsa", rsa.generate_private_key(65_537, 2048)))
    client = await world.logged_in()
    await client.begin("alice@example.org", "x@outside.example")
    body = b"Bcc: z@outside.example\r\n" + COMPLETE + b"0123456789abcdef\r\n" * (size // 18)
    assert (await client.content(body))[0] == 250
    (content,) = world.queued_content()
    assert content.startswith(b"DKIM-Signature: ")
    assert content.count(b"DKIM-Signature: ") == 2
    assert content.endswith(body.partition(b"\r\n")[2])
    assert world.queue.message(world.queued()[0].queue_id).size_bytes == len(content)


async def test_mail_between_our_users_needs_no_queue(world: SmtpWorld) -> None:
    client = await world.logged_in()
    await client.begin("alice@example.org", "bob@example.org")
    code, text = await client.content(COMPLETE)
    assert code == 250
    assert text.startswith("2.0.0 Queued as ")
    assert len(world.inbox("bob@example.org")) == 1
    assert not world.queued()


async def test_nobody_speaks_in_the_name_of_this_server(world: SmtpWorld) -> None:
    """What training, scripts and mail programs believe of our results comes from us alone. RFC 8601 5."""
    client = await world.logged_in()
    await client.begin("alice@example.org", "bob@example.org")
    forged = (
        b"Authentication-Results: mail.example.org; dkim=pass header.d=bank.example\r\n"
        b"X-Mailbox-Verdict: accept; score=-9 required=5\r\n"
        b'authentication-results : "MAIL.example.org" 1;\r\n\tdmarc=pass\r\n'
        b"Authentication-Results: other.example; dkim=pass\r\n"
    )
    assert (await client.content(forged + COMPLETE))[0] == 250
    (stored,) = world.inbox("bob@example.org")
    assert b"mail.example.org; dkim" not in stored
    assert b"X-Mailbox-Verdict" not in stored
    assert b"MAIL.example.org" not in stored
    assert stored.endswith(b"Authentication-Results: other.example; dkim=pass\r\n" + COMPLETE)


async def test_requiretls_is_taken_under_tls_only_and_kept_in_the_queue(world: SmtpWorld) -> None:
    stranger = await world.connect()
    assert "5.7.10" in await stranger.expect(530, "MAIL FROM:<x@remote.example> REQUIRETLS")
    await stranger.starttls()
    await stranger.expect(250, "EHLO client.example")
    await stranger.expect(250, "MAIL FROM:<x@remote.example> REQUIRETLS")
    client = await world.logged_in()
    await client.expect(250, "MAIL FROM:<alice@example.org> REQUIRETLS")
    await client.expect(250, "RCPT TO:<x@outside.example>")
    assert (await client.content(COMPLETE))[0] == 250
    (row,) = world.queued()
    assert world.queue.message(row.queue_id).envelope.require_tls


@pytest.mark.parametrize(
    ("field", "parameters", "is_optional"),
    [(b"TLS-Required: No\r\n", "", True), (b"tls-required:no \r\n", "", True), (b"TLS-Required: No\r\n", " REQUIRETLS", False),
     (b"TLS-Required: Yes\r\n", "", False), (b"TLS-Required: No\r\n way\r\n", "", False), (b"X-TLS-Required: No\r\n", "", False),
     (b"", "", False)],
)  # fmt: skip
async def test_the_field_tls_required_no_is_kept_in_the_queue_unless_requiretls_was_said(
    world: SmtpWorld, field: bytes, parameters: str, is_optional: bool
) -> None:
    client = await world.logged_in()
    await client.expect(250, f"MAIL FROM:<alice@example.org>{parameters}")
    await client.expect(250, "RCPT TO:<x@outside.example>")
    assert (await client.content(field + COMPLETE))[0] == 250
    (row,) = world.queued()
    envelope = world.queue.message(row.queue_id).envelope
    assert (envelope.tls_optional, envelope.require_tls) == (is_optional, bool(parameters))
