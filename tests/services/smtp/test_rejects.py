"""What a score refuses is kept for its recipients while the sender hears 550; what a rule refuses is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.rejects import Rejects
from mailbox_app.errors import StoreError
from mailbox_app.events.bus import LocalBus
from mailbox_app.ids import Uid
from mailbox_app.policy.check import Mode
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict
from mailbox_app.store.maildir.backend import MaildirStore
from tests.support.policy import Bench
from tests.support.smtp import SmtpWorld, smtp_world

SETTINGS = "[abuse]\ngreeting_delay_ms = 0\n[policy]\nreject_score = 8.0\n"
MESSAGE = b"From: Carol <carol@remote.example>\r\nSubject: hello\r\n\r\nHi.\r\n"


class Dislikes:
    """Nine points, or a refusal of its own."""

    name: ClassVar[str] = "dislikes"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, _tools: Tools) -> None:
        pass

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """By the body."""
        assert facts.message is not None
        assert isinstance(facts.message.body, bytes)
        if b"rule" in facts.message.body:
            return [Finding(self.name, "a rule", 9.0, Verdict.REJECT)]
        return [Finding(self.name, "junk", 9.0)]


def kept(world: SmtpWorld, store: MaildirStore) -> list[bytes]:
    account = world.directory.account("alice@example.org")
    assert account is not None
    mail = store.account(account.ref)
    try:
        mailbox_id = mail.mailbox("Rejects").mailbox_id
    except StoreError:
        return []
    found = []
    for uid in mail.sizes(mailbox_id).uids:
        with mail.open_message(mailbox_id, Uid(uid)) as file:
            found.append(file.read())
    return found


@pytest.mark.parametrize(("ending", "copies"), [(b"", 1), (b"by a rule\r\n", 0)])
async def test_a_copy_is_kept_of_what_the_score_alone_refused(tmp_path: Path, ending: bytes, copies: int) -> None:
    store = MaildirStore(tmp_path / "mail", LocalBus(), hostname="mail.example.org", clock=SystemClock())
    offload = Offload(2)
    async with smtp_world(tmp_path, store=store, settings=SETTINGS, client_ip="192.0.2.7", checks=[Dislikes]) as world:
        world.service.rejects = Rejects(store, offload, SystemClock(), lambda: Bench.settings(SETTINGS))
        client = await world.connect()
        await client.begin()
        code, _ = await client.content(MESSAGE + ending)
        assert code == 550
        found = kept(world, store)
        assert len(found) == copies
        for copy in found:
            assert copy.startswith(b"Return-Path: <")
            assert b"X-Mailbox-Verdict: junk; score=9 " in copy
            assert copy.endswith(MESSAGE)
        assert world.queued() == []
    offload.close()
    store.close()
