"""RCPT decisions that a conversation cannot easily reach."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailbox_app.accounts.model import AccountState
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.recipients import Recipients
from mailbox_app.errors import StoreError
from mailbox_app.proto.smtp.commands import RcptCommand
from mailbox_app.proto.smtp.replies import Refusal
from tests.support.clock import FakeClock
from tests.support.smtp import SmtpWorld, smtp_world

BOB = RcptCommand("bob@example.org")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmtpWorld]:
    async with smtp_world(tmp_path) as made:
        yield made


async def refusal(recipients: Recipients, command: RcptCommand, size_bytes: int = 0) -> tuple[int, str]:
    with pytest.raises(Refusal) as refused:
        await recipients.accept(command, may_relay=False, size_bytes=size_bytes)
    return refused.value.reply[:2]


async def test_disabled_accounts_accept_and_removed_ones_refuse(world: SmtpWorld) -> None:
    world.directory.set_state("bob@example.org", AccountState.DISABLED)
    assert (await world.recipients.accept(BOB, may_relay=False)).accounts
    world.directory.remove_account("bob@example.org")
    assert await refusal(world.recipients, BOB) == (550, "5.1.1")
    assert world.recipients.local("bob@example.org") is None


async def test_usage_is_asked_once_in_a_while(world: SmtpWorld) -> None:
    clock, offload = FakeClock(), Offload(1)
    recipients = Recipients(world.directory, world.store, offload, clock)
    await recipients.accept(BOB, may_relay=False)
    world.inbox("bob@example.org").append(b"x" * 1_000_000)
    await recipients.accept(BOB, may_relay=False)
    clock.skip(6)
    assert await refusal(recipients, BOB) == (452, "4.2.2")
    offload.close()


async def test_a_store_in_trouble_does_not_refuse_at_rcpt(world: SmtpWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise StoreError("store.busy", "busy", temporary=True)

    monkeypatch.setattr(world.store, "account", broken)
    assert (await world.recipients.accept(BOB, may_relay=False)).accounts


async def test_a_list_is_accepted_while_one_member_has_room(world: SmtpWorld) -> None:
    world.directory.add_alias("two@example.org", ["bob@example.org", "eve@example.org"])
    world.directory.add_account("eve@example.org", "", 1_000_000)
    world.inbox("bob@example.org").append(b"x" * 1_000_000)
    assert len((await world.recipients.accept(RcptCommand("two@example.org"), may_relay=False)).accounts) == 2
    assert await refusal(world.recipients, RcptCommand("two@example.org"), 1_000_001) == (552, "5.2.3")
