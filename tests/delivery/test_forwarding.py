"""What leaves and what stays: junk, several recipients, redirects of scripts, headers in the prefix."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailbox_app.accounts.alias_rules import AliasSettings
from mailbox_app.accounts.model import AliasKind, Post
from mailbox_app.delivery.forwarding import ForwardingRules
from mailbox_app.delivery.mail import Mail, Recipient
from mailbox_app.mailqueue.model import Envelope
from mailbox_app.mailqueue.srs import is_rewritten
from mailbox_app.policy.verdict import Finding, Judgement
from mailbox_app.proto.smtp.commands import RcptCommand
from mailbox_app.proto.smtp.replies import Refusal
from tests.support.smtp import SmtpWorld, smtp_world

BODY = b"From: carol@remote.example\r\nSubject: x\r\n\r\nHi.\r\n"
JUNK = Judgement([Finding("test", "looks bad", score=9.0)])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmtpWorld]:
    async with smtp_world(tmp_path) as made:
        yield made


async def mail(
    world: SmtpWorld, *addresses: str, judgement: Judgement | None = None, sender: str = "c@r.example"
) -> Mail:
    recipients = [
        await world.recipients.accept(RcptCommand(each), may_relay=False, sender=sender) for each in addresses
    ]
    return Mail(Envelope(sender), recipients, b"Received: x\r\n", BODY, len(BODY), judgement or Judgement())


async def test_without_anything_outside_the_mail_is_left_alone(world: SmtpWorld) -> None:
    whole = await mail(world, "alice@example.org", "bob@example.org")
    plan = await world.forwarder.plan(whole)
    assert plan.mail is whole
    assert plan.copies == []


async def test_local_members_stay_and_outside_members_leave_in_one_copy_each_alias(world: SmtpWorld) -> None:
    plan = await world.forwarder.plan(await mail(world, "team@example.org", "sales@example.org"))
    assert [account.address for each in plan.mail.recipients for account in each.accounts] == [
        "alice@example.org", "bob@example.org",
    ]  # fmt: skip
    assert [[target.address for target in copy.recipients] for copy in plan.copies] == [
        ["ext@outside.example"], ["sales@outside.example"],
    ]  # fmt: skip
    assert all(is_rewritten(copy.envelope.sender) for copy in plan.copies)


async def test_one_outside_address_gets_one_copy(world: SmtpWorld) -> None:
    world.directory.add_alias("more@example.org", ["Sales@Outside.example", "y@outside.example"])
    plan = await world.forwarder.plan(await mail(world, "sales@example.org", "more@example.org"))
    assert [target.address for copy in plan.copies for target in copy.recipients] == [
        "sales@outside.example", "y@outside.example",
    ]  # fmt: skip


async def test_junk_for_an_alias_that_only_leads_outside_is_refused(world: SmtpWorld) -> None:
    with pytest.raises(Refusal) as refused:
        await world.forwarder.plan(await mail(world, "sales@example.org", judgement=JUNK))
    assert refused.value.reply[:2] == (550, "5.7.1")


async def test_junk_that_somebody_here_gets_is_not_passed_on_and_the_record_says_so(world: SmtpWorld) -> None:
    plan = await world.forwarder.plan(await mail(world, "team@example.org", judgement=JUNK))
    assert plan.copies == []
    assert len(plan.mail.recipients) == 1
    assert [(each.address, each.action, each.reason) for each in plan.filings] == [
        ("team@example.org", "rejected", "junk_not_forwarded")
    ]


async def test_junk_is_kept_for_the_postmaster_or_passed_on_by_choice(world: SmtpWorld) -> None:
    world.forwarder.rules = ForwardingRules(junk="keep")
    plan = await world.forwarder.plan(await mail(world, "sales@example.org", judgement=JUNK))
    assert [account.address for each in plan.mail.recipients for account in each.accounts] == ["alice@example.org"]
    assert plan.copies == []
    world.forwarder.rules = ForwardingRules(junk="forward")
    plan = await world.forwarder.plan(await mail(world, "sales@example.org", judgement=JUNK))
    assert len(plan.copies) == 1


async def test_who_gets_nothing_is_told_where_each_recipient_has_an_answer(world: SmtpWorld) -> None:
    whole = await mail(world, "alice@example.org", "team@example.org", "sales@example.org", judgement=JUNK)
    found = await world.inbound.deliver(whole, each_answers=True)
    assert [(address, reply.code) for address, reply in found.replies.items()] == [("sales@example.org", 550)]
    assert (await world.inbound.deliver(whole)).replies == {}


async def test_a_list_takes_no_junk(world: SmtpWorld) -> None:
    settings = AliasSettings(AliasKind.LIST, post=Post.ANYONE)
    world.directory.add_alias("dev@example.org", ["bob@example.org"], settings)
    with pytest.raises(Refusal) as refused:
        await world.forwarder.plan(await mail(world, "dev@example.org", judgement=JUNK))
    assert refused.value.reply[:2] == (550, "5.7.1")


async def test_a_redirect_carries_its_account_and_ends_where_it_was_before(world: SmtpWorld) -> None:
    by = Recipient("alice+x@example.org", canonical="alice@example.org")
    whole = await mail(world, "alice@example.org")
    copy = await world.forwarder.prepare(whole, by, "far@outside.example")
    assert copy.prefix == b"Delivered-To: alice@example.org\r\nReceived: x\r\n"
    assert is_rewritten(copy.envelope.sender)
    back = Mail(copy.envelope, [by], b"", copy.prefix + BODY, 0)
    with pytest.raises(Refusal) as refused:
        await world.forwarder.prepare(back, by, "far@outside.example")
    assert refused.value.reply[:2] == (554, "5.4.6")


async def test_a_trace_is_looked_for_in_the_header_only(world: SmtpWorld) -> None:
    by = Recipient("alice@example.org", canonical="alice@example.org")
    quoted = b"Delivered-To: alice@example.org\r\n\r\n"
    whole = Mail(Envelope("c@r.example"), [by], b"Subject: x\r\n\r\n", quoted, 0)
    assert (await world.forwarder.prepare(whole, by, "far@outside.example")).recipients
    with pytest.raises(Refusal):
        await world.forwarder.prepare(
            Mail(Envelope("c@r.example"), [by], quoted, b"x\r\n", 0), by, "far@outside.example"
        )
