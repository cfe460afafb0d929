"""Aliases that lead outside and lists, as clients meet them: senders rewritten, reports led back, loops ended, posters checked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from mailbox_app.accounts.alias_rules import AliasSettings
from mailbox_app.accounts.dkim_keys import key_pair
from mailbox_app.accounts.model import AliasKind, DkimKey, Post, at
from mailbox_app.delivery.forwarding import ForwardingRules
from mailbox_app.mailauth.results import (
    AuthResults,
    DkimResult,
    DmarcResult,
    IprevResult,
    Result,
    SpfResult,
)
from mailbox_app.mailqueue.model import QueuedRecipient
from mailbox_app.proto.header import Header
from tests.support.smtp import Client, SmtpWorld, smtp_world

MESSAGE = b"From: Carol <carol@remote.example>\r\nSubject: hello\r\nMessage-ID: <1@remote.example>\r\n\r\nHi.\r\n"
LONG = "a-very-long-local-part-that-leaves-no-room@a-long-domain.example"


class FixedCheck:
    """Finds the same of every message."""

    def __init__(self) -> None:
        self.signer = ""

    async def spf(self, *, remote_ip: str, helo: str, sender: str, timeout_seconds: float) -> SpfResult:
        return SpfResult(Result.NONE)

    async def iprev(self, remote_ip: str, *, timeout_seconds: float) -> IprevResult:
        return IprevResult(Result.NONE)

    async def check(
        self,
        *,
        remote_ip: str,
        helo: str,
        sender: str,
        header: Header,
        body: bytes | BinaryIO,
        timeout_seconds: float,
        spf: SpfResult | None = None,
        iprev: IprevResult | None = None,
    ) -> AuthResults:
        dkim = [DkimResult(Result.PASS, self.signer)] if self.signer else []
        field = b"Authentication-Results: mail.example.org; none\r\n"
        return AuthResults(field, "", SpfResult(Result.NONE), dkim, DmarcResult(Result.NONE))


@pytest.fixture
def checks() -> FixedCheck:
    return FixedCheck()


@pytest.fixture
async def world(tmp_path: Path, checks: FixedCheck) -> AsyncIterator[SmtpWorld]:
    async with smtp_world(tmp_path, sender_checks=checks) as made:
        yield made


def make_list(world: SmtpWorld, post: Post, *targets: str, **words: object) -> None:
    settings = replace(AliasSettings(AliasKind.LIST, post=post), **words)  # type: ignore[arg-type]
    world.directory.add_alias("dev@example.org", targets or ("bob@example.org", "x@outside.example"), settings)


def sender_of(world: SmtpWorld, row: QueuedRecipient) -> str:
    return world.queue.message(row.queue_id).envelope.sender


async def send(client: Client, sender: str, *recipients: str, message: bytes = MESSAGE) -> int:
    await client.begin(sender, *recipients)
    return (await client.content(message))[0]


async def test_a_strangers_sender_is_rewritten_and_its_report_goes_back(world: SmtpWorld) -> None:
    client = await world.connect()
    assert await send(client, "carol@remote.example", "sales@example.org") == 250
    (row,) = world.queued()
    rewritten = sender_of(world, row)
    await client.expect(250, "MAIL FROM:<>")
    await client.expect(250, f"RCPT TO:<{rewritten.lower()}>")
    assert (await client.content(b"Subject: undelivered\r\n\r\nx\r\n"))[0] == 250
    back = next(each for each in world.queued() if each.address != row.address)
    assert (back.address, back.transport, sender_of(world, back)) == ("carol@remote.example", "smtp", "")


async def test_a_rewritten_sender_takes_no_mail_and_no_forgery(world: SmtpWorld) -> None:
    client = await world.connect()
    assert await send(client, "carol@remote.example", "sales@example.org") == 250
    rewritten = sender_of(world, world.queued()[0])
    await client.expect(250, "MAIL FROM:<mallory@remote.example>")
    assert (await client.expect(550, f"RCPT TO:<{rewritten}>")).startswith("5.7.1")
    await client.expect(250, "RSET")
    await client.expect(250, "MAIL FROM:<>")
    forged = rewritten.replace("carol", "victim")
    assert (await client.expect(550, f"RCPT TO:<{forged}>")).startswith("5.1.1")
    assert (await client.expect(550, "RCPT TO:<SRS0=a=b=c=d@example.org>")).startswith("5.1.1")
    assert (await client.expect(550, f"RCPT TO:<{rewritten.replace('example.org', 'other.example')}>")).startswith(
        "5.7.1"
    )


async def test_no_catch_all_keeps_a_report_from_going_back(world: SmtpWorld) -> None:
    world.directory.add_alias("@example.org", ["bob@example.org"])
    client = await world.connect()
    assert await send(client, "carol@remote.example", "sales@example.org") == 250
    rewritten = sender_of(world, world.queued()[0])
    assert await send(client, "", rewritten, message=b"Subject: report\r\n\r\nx\r\n") == 250
    assert world.inbox("bob@example.org") == []
    assert "carol@remote.example" in [row.address for row in world.queued()]
    found = world.recipients.local(rewritten)
    assert found is not None
    assert found.outside == ("carol@remote.example",)
    assert (
        await send(client, "", rewritten.replace("carol", "dora")) == 250
    )  # nobody's rewritten sender: the catch-all's
    assert len(world.inbox("bob@example.org")) == 1


async def test_a_report_of_our_own_queue_goes_back_too(world: SmtpWorld) -> None:
    client = await world.connect()
    assert await send(client, "carol@remote.example", "sales@example.org") == 250
    found = world.recipients.local(sender_of(world, world.queued()[0]))
    assert found is not None
    assert (found.outside, found.is_forward) == (("carol@remote.example",), False)
    assert world.recipients.local("SRS0=AAAAAA=AA=remote.example=carol@example.org") is None


@pytest.mark.parametrize(
    ("sender", "kept"),
    [("", ""), ("alice@example.org", "alice@example.org"), (LONG, "postmaster@example.org")],
)
async def test_the_null_sender_and_our_own_are_kept(world: SmtpWorld, sender: str, kept: str) -> None:
    client = await world.connect()
    assert await send(client, sender, "sales@example.org") == 250
    assert sender_of(world, world.queued()[0]) == kept


async def test_the_domain_of_rewritten_senders_may_be_another(world: SmtpWorld) -> None:
    world.forwarder.rules = ForwardingRules("bounces.example")
    client = await world.connect()
    assert await send(client, "carol@remote.example", "sales@example.org") == 250
    rewritten = sender_of(world, world.queued()[0])
    assert rewritten.endswith("@bounces.example")
    await client.expect(250, "MAIL FROM:<>")
    await client.expect(250, f"RCPT TO:<{rewritten}>")


async def test_a_forwarded_message_that_comes_back_is_a_loop(world: SmtpWorld) -> None:
    client = await world.connect()
    assert await send(client, "carol@remote.example", "sales@example.org") == 250
    (content,) = world.queued_content()
    assert content.startswith(b"Delivered-To: sales@example.org\r\n")
    assert content.endswith(MESSAGE)
    await client.begin("carol@remote.example", "Sales@example.org")
    assert (await client.content(content))[1].startswith("5.4.6")
    quoting = b"Subject: about\r\n\r\nDelivered-To: sales@example.org\r\n"
    assert await send(client, "carol@remote.example", "sales@example.org", message=quoting) == 250


async def test_a_forwarded_copy_is_sealed_by_the_aliass_domain(world: SmtpWorld) -> None:
    private, public = key_pair("rsa")
    world.directory.add_dkim_key(DkimKey("example.org", "one", "rsa", private, public, at(0)))
    client = await world.connect()
    assert await send(client, "carol@remote.example", "team@example.org") == 250
    (content,) = world.queued_content()
    header = Header.parse(content)
    assert header.fields[0].key == b"arc-seal"
    assert b"d=example.org; s=one" in header.fields[0].value
    assert b"i=1; mail.example.org; none" in (header.first(b"arc-authentication-results") or b"")
    assert all(b"ARC-Seal" not in stored for stored in world.inbox("alice@example.org"))


async def test_the_record_tells_where_copies_went_and_what_was_done_to_them(world: SmtpWorld) -> None:
    private, public = key_pair("rsa")
    world.directory.add_dkim_key(DkimKey("example.org", "one", "rsa", private, public, at(0)))
    client = await world.connect()
    assert await send(client, "carol@remote.example", "sales@example.org") == 250
    (row,) = world.queued()
    (filing,) = world.decisions[-1].filings
    assert (filing.address, filing.action, filing.target) == ("sales@example.org", "redirected", row.address)
    assert filing.reason == f"the sender is {sender_of(world, row)} from here on, sealed by ARC"


async def test_the_record_of_a_submission_has_the_message_id_that_was_added(world: SmtpWorld) -> None:
    client = await world.logged_in()
    message = b"From: alice@example.org\r\nSubject: x\r\n\r\nx\r\n"
    assert await send(client, "alice@example.org", "x@outside.example", message=message) == 250
    decided = world.decisions[-1]
    assert decided.message_id.endswith("@example.org>")
    assert decided.message_id.encode() in world.queued_content()[0]
    assert [(each.address, each.action, each.target) for each in decided.filings] == [
        ("x@outside.example", "queued", "")
    ]


async def test_a_user_of_ours_who_writes_outside_is_not_forwarded_mail(world: SmtpWorld) -> None:
    client = await world.logged_in()
    message = MESSAGE.replace(b"carol@remote.example", b"alice@example.org")
    assert await send(client, "alice@example.org", "carol@remote.example", message=message) == 250
    assert sender_of(world, world.queued()[0]) == "alice@example.org"
    assert b"Delivered-To" not in world.queued_content()[0]


async def test_a_disabled_alias_says_so_and_an_unknown_address_differs(world: SmtpWorld) -> None:
    world.directory.update_alias("sales@example.org", (), AliasSettings(enabled=False))
    client = await world.connect()
    await client.expect(250, "MAIL FROM:<carol@remote.example>")
    assert (await client.expect(550, "RCPT TO:<sales@example.org>")).startswith("5.2.1")
    assert (await client.expect(550, "RCPT TO:<nobody@example.org>")).startswith("5.1.1")
    await client.expect(250, "RCPT TO:<postmaster@mail.example.org>")
    await client.expect(250, "RCPT TO:<Postmaster>")


# lists


async def test_a_member_posts_and_everybody_gets_a_copy_whose_bounces_reach_the_owner(world: SmtpWorld) -> None:
    make_list(
        world, Post.MEMBERS, "alice@example.org", "bob@example.org", "x@outside.example", owner="dave@example.org"
    )
    client = await world.logged_in()
    message = MESSAGE.replace(b"carol@remote.example", b"alice@example.org")
    assert await send(client, "alice@example.org", "dev@example.org", message=message) == 250
    rows = world.queued()
    assert {(row.address, row.transport) for row in rows} == {
        ("alice@example.org", "local"), ("bob@example.org", "local"), ("x@outside.example", "smtp"),
    }  # fmt: skip
    assert {sender_of(world, row) for row in rows} == {"dev-bounces@example.org"}
    assert {row.notify for row in rows} == {"FAILURE"}
    (content,) = world.queued_content()
    assert content.startswith(
        b"Delivered-To: dev@example.org\r\nList-Id: <dev.example.org>\r\nPrecedence: list\r\nReceived: "
    )
    assert content.endswith(message)
    stranger = await world.connect()
    assert await send(stranger, "", "dev-bounces@example.org") == 250
    assert len(world.inbox("dave@example.org")) == 1


async def test_who_is_no_member_is_refused_at_rcpt_when_logged_in(world: SmtpWorld) -> None:
    make_list(world, Post.MEMBERS)
    client = await world.logged_in()
    await client.expect(250, "MAIL FROM:<alice@example.org>")
    assert "Only its members may post" in await client.expect(550, "RCPT TO:<dev@example.org>")


@pytest.mark.parametrize(
    ("post", "signer", "author", "code"),
    [
        (Post.ANYONE, "", "carol@remote.example", 250),
        (Post.MEMBERS, "outside.example", "x@outside.example", 250),
        (Post.MEMBERS, "", "x@outside.example", 550),
        (Post.MEMBERS, "remote.example", "x@outside.example", 550),
        (Post.MEMBERS, "outside.example", "y@outside.example", 550),
        (Post.MEMBERS, "example.org", "bob@example.org", 250),
        (Post.POSTERS, "remote.example", "carol@remote.example", 250),
        (Post.POSTERS, "outside.example", "x@outside.example", 550),
        (Post.DOMAIN, "example.org", "alice@example.org", 250),
        (Post.DOMAIN, "remote.example", "carol@remote.example", 550),
    ],
)
async def test_outside_posters_must_prove_who_they_are(
    world: SmtpWorld, checks: FixedCheck, post: Post, signer: str, author: str, code: int
) -> None:
    make_list(world, post, posters=("Carol@remote.example",))
    checks.signer = signer
    client = await world.connect()
    message = MESSAGE.replace(b"carol@remote.example", author.encode())
    assert await send(client, author, "dev@example.org", message=message) == code
    assert len(world.queued()) == (2 if code == 250 else 0)


async def test_a_list_that_judges_the_message_takes_it_alone(world: SmtpWorld) -> None:
    make_list(world, Post.MEMBERS)
    client = await world.connect()
    await client.begin("carol@remote.example", "alice@example.org")
    assert (await client.expect(452, "RCPT TO:<dev@example.org>")).startswith("4.5.3")
    await client.expect(250, "RSET")
    await client.begin("carol@remote.example", "dev@example.org")
    await client.expect(452, "RCPT TO:<alice@example.org>")
    world.directory.update_alias("dev@example.org", (), AliasSettings(post=Post.ANYONE))
    await client.expect(250, "RSET")
    await client.begin("carol@remote.example", "alice@example.org", "dev@example.org")


async def test_rcpt_after_null_sender_is_refused_for_lists(world: SmtpWorld) -> None:
    make_list(world, Post.ANYONE)
    client = await world.connect()
    await client.expect(250, "MAIL FROM:<>")
    assert (await client.expect(550, "RCPT TO:<dev@example.org>")).startswith("5.7.1")


async def test_a_list_message_that_comes_back_is_a_loop(world: SmtpWorld) -> None:
    make_list(world, Post.ANYONE)
    client = await world.connect()
    for field in (b"List-Id: Developers <Dev.Example.org>\r\n", b"Delivered-To: dev@example.org\r\n"):
        await client.begin("carol@remote.example", "dev@example.org")
        assert (await client.content(field + MESSAGE))[1].startswith("5.4.6")
    assert world.queued() == []


async def test_a_lists_largest_message(world: SmtpWorld) -> None:
    make_list(world, Post.ANYONE, max_bytes=500)
    client = await world.connect()
    await client.expect(250, "MAIL FROM:<carol@remote.example> SIZE=501")
    await client.expect(552, "RCPT TO:<dev@example.org>")
    await client.expect(250, "RSET")
    assert await send(client, "carol@remote.example", "dev@example.org", message=MESSAGE + b"x" * 500 + b"\r\n") == 552


# other letters


async def test_other_letters_need_smtputf8_and_are_compared_in_nfc(world: SmtpWorld) -> None:
    world.directory.add_domain("bücher.example", "example.org")
    world.directory.add_alias("jörg@example.org", ["alice@example.org"])
    client = await world.connect()
    await client.expect(250, "MAIL FROM:<carol@remote.example>")
    await client.expect(553, "RCPT TO:<jörg@example.org>")
    await client.expect(250, "RCPT TO:<alice@xn--bcher-kva.example>")
    await client.expect(250, "RSET")
    await client.expect(250, "MAIL FROM:<jo\u0308@remote.example> SMTPUTF8")
    for recipient in ("JO\u0308RG@bu\u0308cher.example", "jörg+x@BÜCHER.example"):
        await client.expect(250, f"RCPT TO:<{recipient}>")
    assert (await client.content(MESSAGE))[0] == 250
    assert len(world.inbox("alice@example.org")) == 1
