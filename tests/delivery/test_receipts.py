"""Reports of success: who gets one, what it says, and that nobody else hears anything."""

from __future__ import annotations

import email
import email.policy
from collections.abc import AsyncIterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailbox_app.delivery.mail import Mail
from mailbox_app.errors import QueueError
from mailbox_app.mailauth.results import AuthResults, DmarcResult, Result, SpfResult
from mailbox_app.mailqueue.model import Envelope, QueuedRecipient, QueueFilter
from mailbox_app.policy.verdict import Finding, Judgement, Verdict
from mailbox_app.proto.smtp.commands import RcptCommand
from tests.support.smtp import SmtpWorld, smtp_world

BODY = b"From: c@remote.example\r\nSubject: x\r\nMessage-ID: <one@remote.example>\r\n\r\nx\r\n"
SENDER = "c@remote.example"
ALICE, BOB, TEAM = "alice@example.org", "bob@example.org", "team@example.org"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmtpWorld]:
    async with smtp_world(tmp_path) as made:
        yield made


async def mail(world: SmtpWorld, *commands: RcptCommand, sender: str = SENDER) -> Mail:
    recipients = [await world.recipients.accept(command, may_relay=True) for command in commands]
    envelope = Envelope(sender, envid="E+2B1", ret="FULL", message_id="<one@remote.example>")
    return Mail(envelope, recipients, b"", BODY, len(BODY), trace_id="0trace")


def reports(world: SmtpWorld) -> list[EmailMessage]:
    made = []
    for row in world.queued():
        if row.address == SENDER:
            [lease] = world.queue.take(QueueFilter(recipient=SENDER, ids=[row.queue_id]), row.next_at, 60)
            message = email.message_from_bytes(Path(lease.spool_path).read_bytes(), policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            assert lease.message.envelope.sender == ""
            made.append(message)
    return made


def told(message: EmailMessage) -> list[dict[str, str]]:
    """The recipient blocks of a report."""
    status = message.get_payload(1)
    assert isinstance(status, EmailMessage)
    return [dict(block.items()) for block in status.get_payload()[1:]]  # type: ignore[union-attr, index]


def copies(world: SmtpWorld) -> dict[str, QueuedRecipient]:
    return {row.address: row for row in world.queued() if row.address != SENDER}


async def test_a_delivery_is_told_to_who_asked(world: SmtpWorld) -> None:
    await world.inbound.deliver(
        await mail(world, RcptCommand(ALICE, "SUCCESS,FAILURE", "rfc822;old+2Balice@example.org"), RcptCommand(BOB))
    )
    [report] = reports(world)
    [block] = told(report)
    assert block["Action"] == "delivered"
    assert block["Status"] == "2.1.5"
    assert block["Final-Recipient"] == f"rfc822; {ALICE}"
    assert block["Original-Recipient"] == "rfc822; old+alice@example.org"
    assert block["Final-Log-ID"] == "0trace"
    assert report["In-Reply-To"] == report["References"] == "<one@remote.example>"
    assert report["Auto-Submitted"] == "auto-replied"
    assert "E+1" in str(report.get_payload(1))
    # RFC 3461 4.3: RET=FULL is for failures only
    assert [part.get_content_type() for part in report.iter_parts()][2] == "text/rfc822-headers"


@pytest.mark.parametrize("notify", ["", "FAILURE", "NEVER", "DELAY", "DELAY,FAILURE"])
async def test_nobody_else_hears_of_a_delivery(world: SmtpWorld, notify: str) -> None:
    await world.inbound.deliver(await mail(world, RcptCommand(ALICE, notify)))
    assert world.queued() == []


async def test_the_null_sender_hears_nothing(world: SmtpWorld) -> None:
    await world.inbound.deliver(await mail(world, RcptCommand(ALICE, "SUCCESS"), sender=""))
    assert world.queued() == []


async def test_an_alias_with_several_members_is_told_as_expanded_and_its_members_report_no_success(
    world: SmtpWorld,
) -> None:
    await world.inbound.deliver(await mail(world, RcptCommand(TEAM, "SUCCESS,DELAY")))
    [report] = reports(world)
    [block] = told(report)
    assert (block["Action"], block["Final-Recipient"]) == ("expanded", f"rfc822; {TEAM}")
    row = copies(world)["ext@outside.example"]
    assert (row.notify, row.orcpt) == ("DELAY", "rfc822;team@example.org")


async def test_success_alone_becomes_silence_behind_an_expansion(world: SmtpWorld) -> None:
    await world.inbound.deliver(await mail(world, RcptCommand(TEAM, "SUCCESS")))
    assert copies(world)["ext@outside.example"].notify == "NEVER"


async def test_an_alias_for_one_outside_address_passes_the_wish_on(world: SmtpWorld) -> None:
    await world.inbound.deliver(await mail(world, RcptCommand("sales@example.org", "SUCCESS")))
    assert reports(world) == []
    row = copies(world)["sales@outside.example"]
    assert (row.notify, row.orcpt) == ("SUCCESS", "rfc822;sales@example.org")


async def test_an_original_recipient_is_kept_by_an_alias(world: SmtpWorld) -> None:
    await world.inbound.deliver(await mail(world, RcptCommand("sales@example.org", "", "rfc822;first@far.example")))
    assert copies(world)["sales@outside.example"].orcpt == "rfc822;first@far.example"


async def test_an_address_that_a_user_wrote_gets_no_original_recipient_of_ours(world: SmtpWorld) -> None:
    await world.inbound.deliver(await mail(world, RcptCommand("x@outside.example")))
    assert copies(world)["x@outside.example"].orcpt == ""


async def test_a_stranger_whose_spf_failed_or_whose_mail_is_junk_is_not_told(world: SmtpWorld) -> None:
    asked = await mail(world, RcptCommand(ALICE, "SUCCESS"))
    for result in (Result.FAIL, Result.SOFTFAIL):
        auth = AuthResults(b"", "", SpfResult(result, "remote.example"), (), DmarcResult(Result.NONE))
        await world.inbound.deliver(replace(asked, auth=auth))
    await world.inbound.deliver(replace(asked, judgement=Judgement([Finding("x", "bad", verdict=Verdict.JUNK)])))
    assert world.queued() == []


async def test_a_delivery_without_its_report_is_not_accepted(world: SmtpWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise QueueError("queue.full", "no room", temporary=True)

    monkeypatch.setattr(world.queue, "enqueue", full)
    with pytest.raises(QueueError):
        await world.inbound.deliver(await mail(world, RcptCommand(ALICE, "SUCCESS")))


async def test_what_waited_in_the_queue_is_told_when_it_is_delivered(world: SmtpWorld) -> None:
    command = RcptCommand("alice.alias@example.org", "SUCCESS")
    world.store.of(ALICE).fails_with = QueueError("store.busy", "busy", temporary=True)
    await world.inbound.deliver(await mail(world, command, RcptCommand(BOB)))
    assert reports(world) == []
    world.store.of(ALICE).fails_with = None
    [row] = world.queued()
    [lease] = world.queue.claim(row.next_at, limit=1, lease_seconds=60)
    await world.local.deliver(lease)
    [report] = reports(world)
    [block] = told(report)
    assert block["Action"] == "delivered"
    assert block["Original-Recipient"] == "rfc822; alice.alias@example.org"
    assert block["Final-Log-ID"] == row.queue_id
