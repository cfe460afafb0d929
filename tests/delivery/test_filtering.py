"""Filter scripts from the wire to the mailbox: each action, the row of scripts, what happens when a script is wrong."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailbox_app.config.schema import Sieve
from mailbox_app.delivery.inbound import RuleRefusal
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef
from mailbox_app.policy.verdict import Finding, Judgement
from mailbox_app.store.model import SpecialUse
from tests.support.filtered import ALICE, BOB, CAROL, DAVE, MESSAGE, FilteredWorld, filtered_world

SEEN, FLAGGED = 1, 4
JUNK = Judgement([Finding("dnsbl", "listed", score=7.2)])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FilteredWorld]:
    async with filtered_world(tmp_path) as made:
        yield made


async def test_without_a_script_mail_goes_to_the_inbox_and_junk_to_junk(world: FilteredWorld) -> None:
    assert (await world.send())[0] == 250
    delivered = await world.deliver(judgement=JUNK)
    assert world.counts() == {"INBOX": 1, "Junk": 1}
    (filing,) = delivered.filings
    assert (filing.address, filing.action, filing.target) == (ALICE, "stored", "Junk")
    assert filing.reason == "junk: score 7.2 of 5"


async def test_junk_goes_to_the_mailbox_with_the_role_whatever_its_name(world: FilteredWorld) -> None:
    account = world.stored(ALICE)
    old = account.mailbox("Junk")
    account.rename("Junk", "Spam")
    await world.deliver(judgement=JUNK)
    assert world.counts() == {"Spam": 1}
    account.set_special_use(old.mailbox_id, None)
    account.create("Rubbish", SpecialUse.JUNK)
    await world.deliver(judgement=JUNK)
    account.delete("Rubbish")
    await world.deliver(judgement=JUNK)
    assert world.counts() == {"Spam": 1, "Junk": 1}


async def test_junk_of_one_account_only(world: FilteredWorld) -> None:
    mine = Judgement([Finding("bayes", "looks like junk", score=9, account_id=world.account(ALICE).account_id)])
    await world.deliver(ALICE, DAVE, judgement=mine)
    assert (world.counts(), world.counts(DAVE)) == ({"Junk": 1}, {"INBOX": 1})


async def test_fileinto_with_flags_creates_the_mailbox(world: FilteredWorld) -> None:
    world.script(
        'require ["fileinto", "mailbox", "imap4flags"];'
        'if header :contains "subject" "lunch" {'
        ' fileinto :create :flags ["\\\\Seen", "\\\\flagged", "$Work", "\\\\Recent"] "Work/2026"; }'
    )
    assert (await world.send())[0] == 250
    assert world.counts() == {"Work/2026": 1}
    assert world.flags("Work/2026") == [(SEEN | FLAGGED, ("$Work",))]
    assert "Work/2026" in world.stored(ALICE).subscriptions()
    (stored,) = world.messages(mailbox="Work/2026")
    assert stored.endswith(b"\r\n" + MESSAGE)


async def test_a_mailbox_that_is_not_there_is_the_inbox_with_the_reason(world: FilteredWorld) -> None:
    world.script('require "fileinto"; fileinto "Nowhere";')
    delivered = await world.deliver()
    assert world.counts() == {"INBOX": 1}
    (filing,) = delivered.filings
    assert filing.target == "INBOX"
    assert "there is no mailbox Nowhere" in filing.reason
    assert any("fileinto" in step for step in filing.steps)


async def test_bad_mailbox_names_never_leave_the_account(world: FilteredWorld) -> None:
    world.script('require ["fileinto", "mailbox"]; fileinto :create "../../dave/x"; fileinto :create "a//b";')
    await world.deliver()
    assert world.counts() == {"INBOX": 1}


async def test_several_copies_share_one_file(world: FilteredWorld) -> None:
    world.script('require ["fileinto", "copy", "mailbox"]; fileinto :copy :create "A"; fileinto :copy :create "B";')
    assert (await world.send(ALICE, DAVE))[0] == 250
    assert world.counts() == {"A": 1, "B": 1, "INBOX": 1}
    files = [path for path in world.path.glob("mail/*/*/Maildir/**/cur/*") if path.is_file()]
    assert len({os.stat(path).st_ino for path in files}) == 1
    assert len(files) == 4


async def test_special_use_and_id_lead_to_renamed_mailboxes(world: FilteredWorld) -> None:
    account = world.stored(ALICE)
    account.rename("Archive", "Old")
    mine = account.create("Mine")
    account.rename("Mine", "Ours")
    ref = world.account(ALICE).ref
    world.script(
        'require ["fileinto", "special-use", "mailboxid"];'
        f'fileinto :specialuse "\\\\Archive" "Nope"; fileinto :mailboxid "F{ref.account_id}-{mine.mailbox_id}" "Nope";'
    )
    await world.deliver()
    assert world.counts() == {"Old": 1, "Ours": 1}


async def test_keep_goes_to_the_inbox_also_for_junk(world: FilteredWorld) -> None:
    world.script('require "imap4flags"; if address "from" "carol@remote.example" { keep :flags "$Friend"; stop; }')
    await world.deliver(judgement=JUNK)
    await world.deliver(judgement=JUNK, content=b"From: x@y.example\r\n\r\n")
    assert world.counts() == {"INBOX": 1, "Junk": 1}
    assert world.flags("INBOX") == [(0, ("$Friend",))]


async def test_discard_stores_nothing_and_says_so(world: FilteredWorld) -> None:
    world.script("discard;")
    delivered = await world.deliver()
    assert world.counts() == {}
    assert [filing.action for filing in delivered.filings] == ["discarded"]
    assert (await world.send())[0] == 250


async def test_a_changed_header_is_that_accounts_alone(world: FilteredWorld) -> None:
    world.script('require "editheader"; addheader "X-Filed" "by rule"; deleteheader "Subject";')
    assert (await world.send(ALICE, DAVE))[0] == 250
    (alice,), (dave,) = world.messages(ALICE), world.messages(DAVE)
    assert dave.endswith(MESSAGE)
    assert b"X-Filed: by rule\r\n" in alice
    assert b"Subject: lunch" not in alice
    assert alice.startswith(b"Return-Path: <carol@remote.example>\r\n")
    assert alice.endswith(b"\r\n\r\nToday?\r\n")


async def test_a_large_message_in_a_file_is_filtered_by_its_body(world: FilteredWorld) -> None:
    world.script(
        'require ["body", "fileinto", "mailbox", "copy"]; if body :contains "needle" { fileinto :copy :create "N"; }'
    )
    content = MESSAGE + b"needle\r\n" + b"0123456789abcdef\r\n" * 150_000
    assert (await world.send(ALICE, DAVE, content=content))[0] == 250
    assert world.counts() == {"INBOX": 1, "N": 1}
    assert all(
        each.endswith(content) for each in (*world.messages(mailbox="N"), *world.messages(), *world.messages(DAVE))
    )


async def test_the_only_recipient_refuses_at_the_door(world: FilteredWorld) -> None:
    world.script('require "reject"; reject "No, thank you.\r\nNever \u2013 ever.";')
    assert await world.send() == (550, "5.7.1 No, thank you.\n5.7.1 Never ? ever.")
    world.script('require "ereject"; ereject "Go";', BOB)
    code, text = await world.send(ALICE, BOB)
    assert code == 550
    assert text in ("5.7.1 No, thank you.\n5.7.1 Never ? ever.", "5.7.1 Go")
    assert (world.counts(), world.counts(BOB), world.queued()) == ({}, {}, [])


async def test_one_who_refuses_among_others_gets_junk_with_the_reason(world: FilteredWorld) -> None:
    world.script('require "reject"; reject "Not me";')
    assert (await world.send(ALICE, DAVE))[0] == 250
    assert (world.counts(), world.counts(DAVE)) == ({"Junk": 1}, {"INBOX": 1})
    (stored,) = world.messages(mailbox="Junk")
    assert b"X-Mailbox-Reason: refused by your filter: Not me\r\n" in stored
    assert world.queued() == []


async def test_with_an_answer_for_each_recipient_one_refuses_alone(world: FilteredWorld) -> None:
    world.script('require "reject"; reject "Not me";')
    delivered = await world.deliver(ALICE, DAVE, each_answers=True)
    assert {address: str(reply) for address, reply in delivered.replies.items()} == {ALICE: "550 5.7.1 Not me"}
    assert (world.counts(), world.counts(DAVE)) == ({}, {"INBOX": 1})


async def test_a_recipient_that_stands_for_several_is_refused_by_all_or_none(world: FilteredWorld) -> None:
    world.smtp.directory.add_alias("both@example.org", [ALICE, DAVE])
    world.script('require "reject"; reject "Not me";')
    delivered = await world.deliver("both@example.org", each_answers=True)
    assert (delivered.replies, world.counts(), world.counts(DAVE)) == ({}, {"Junk": 1}, {"INBOX": 1})
    world.script('require "reject"; reject "Nor me";', DAVE)
    delivered = await world.deliver("both@example.org", "alice.alias@example.org", each_answers=True)
    assert set(delivered.replies) == {"both@example.org", "alice.alias@example.org"}
    assert (world.counts(), world.counts(DAVE)) == ({"Junk": 1}, {"INBOX": 1})


async def test_with_an_answer_for_each_recipient_a_full_mailbox_is_told_and_not_queued(world: FilteredWorld) -> None:
    world.smtp.directory.add_alias("both@example.org", [BOB, DAVE])
    world.smtp.directory.set_quota(BOB, 500)
    content = MESSAGE + b"x" * 900 + b"\r\n"
    delivered = await world.deliver(BOB, ALICE, content=content, each_answers=True)
    assert {address: reply.code for address, reply in delivered.replies.items()} == {BOB: 452}
    assert (delivered.stored, world.queued()) == ([ALICE], [])
    delivered = await world.deliver("both@example.org", content=content, each_answers=True)
    assert (delivered.replies, delivered.stored) == ({}, [DAVE])
    assert [(recipient, transport) for _, recipient, transport in world.queued()] == [(BOB, "local")]


async def test_a_refusal_by_rule_tells_the_decision_record_which_steps_led_to_it(world: FilteredWorld) -> None:
    world.script('require "reject"; if header :contains "subject" "lunch" { reject "No"; }')
    with pytest.raises(RuleRefusal) as caught:
        await world.deliver()
    (filing,) = caught.value.filings
    assert (filing.action, filing.target) == ("rejected", "550 5.7.1 No")
    assert any("reject" in step for step in filing.steps)


async def test_a_refusal_of_what_was_accepted_before_is_stored_as_junk(world: FilteredWorld) -> None:
    world.script('require "reject"; reject "Not me";')
    await world.deliver(may_refuse=False)
    assert world.counts() == {"Junk": 1}


async def test_a_script_that_fails_keeps_the_message_and_leaves_word(world: FilteredWorld) -> None:
    ref = world.account(ALICE).ref
    world.script('require ["variables", "fileinto"]; set "m" "x"; fileinto "${m}\x00"; ')
    world.script("no such command;")
    delivered = await world.deliver()
    assert world.counts() == {"INBOX": 1}
    assert "script main is not valid: line 1" in delivered.filings[0].reason
    assert "script main is not valid: line 1" in world.smtp.filters.scripts.failure(ref)
    world.script("keep;")
    assert world.smtp.filters.scripts.failure(ref) == ""


async def test_a_new_version_of_a_script_counts_at_once(world: FilteredWorld) -> None:
    world.script("discard;")
    await world.deliver()
    world.script("keep   ;")
    await world.deliver()
    assert world.counts() == {"INBOX": 1}
    world.smtp.filters.scripts.activate(world.account(ALICE).ref, "")
    await world.deliver()
    assert world.counts() == {"INBOX": 2}


async def test_scripts_before_and_after_the_own_one(tmp_path: Path) -> None:
    before, after = tmp_path / "before.sieve", tmp_path / "after.sieve"
    before.write_text(
        'require ["fileinto", "copy", "mailbox", "imap4flags", "editheader"]; fileinto :copy :create "Journal";'
        'if header :is "subject" "drop" { discard; } if header :is "subject" "mark" { addflag "$B"; addheader "X-B" "1"; }'
    )
    after.write_text('require ["fileinto", "mailbox"]; if header :is "x-b" "1" { fileinto :create "Marked"; }')
    async with filtered_world(tmp_path, Sieve(before=[str(before)], after=[str(after), "/no/such.sieve"])) as world:
        world.script('require ["fileinto", "mailbox"]; if header :is "subject" "own" { fileinto :create "Own"; }')
        for subject in (b"drop", b"mark", b"own", b"other"):
            await world.deliver(content=b"Subject: " + subject + b"\r\n\r\nx\r\n")
        assert world.counts() == {"Journal": 4, "Marked": 1, "Own": 1, "INBOX": 1}
        (marked,) = world.messages(mailbox="Marked")
        assert b"X-B: 1\r\n" in marked


async def test_included_scripts_are_the_accounts_own_or_the_administrators(tmp_path: Path) -> None:
    (tmp_path / "global").mkdir()
    (tmp_path / "global" / "shared.sieve").write_text('require ["fileinto", "mailbox"]; fileinto :create "Global";')
    (tmp_path / "secret.sieve").write_text("discard;")
    async with filtered_world(tmp_path, Sieve(global_dir=str(tmp_path / "global"))) as world:
        scripts, ref = world.smtp.filters.scripts, world.account(ALICE).ref
        scripts.put(ref, "part", b'require ["fileinto", "mailbox"]; fileinto :create "Personal";')
        world.script('require "include"; include :personal "part"; include :global "shared";')
        await world.deliver()
        assert world.counts() == {"Global": 1, "Personal": 1}
        world.script('require "include"; include :global :optional "../secret";')
        await world.deliver()
        assert world.counts()["INBOX"] == 1


async def test_a_duplicate_is_known_over_messages(world: FilteredWorld) -> None:
    world.script('require "duplicate"; if duplicate :seconds 60 { discard; }')
    await world.send()
    await world.send()
    assert world.counts() == {"INBOX": 1}
    world.clock.skip(61)
    await world.send()
    assert world.counts() == {"INBOX": 2}


async def test_spam_and_environment_are_known_to_scripts(world: FilteredWorld) -> None:
    world.script(
        'require ["spamtestplus", "relational", "comparator-i;ascii-numeric", "fileinto", "mailbox", "environment", "subaddress",'
        ' "envelope"]; if allof (spamtest :percent :value "ge" :comparator "i;ascii-numeric" "70",'
        ' environment "host" "mail.example.org", envelope :detail "to" "shop") { fileinto :create "Sure"; }'
    )
    await world.deliver("alice+shop@example.org", judgement=JUNK)
    await world.deliver("alice+shop@example.org", judgement=Judgement([Finding("x", "y", score=5)]))
    assert world.counts() == {"Sure": 1, "Junk": 1}


async def test_over_quota_waits_in_the_queue_and_is_filtered_once(world: FilteredWorld) -> None:
    world.smtp.directory.set_quota(BOB, 2_000)
    world.script(
        'require ["fileinto", "copy", "mailbox"]; fileinto :copy :create "A"; redirect :copy "z@far.example";', BOB
    )
    content = MESSAGE + b"x" * 900 + b"\r\n"
    assert (await world.send(ALICE, BOB, content=content))[0] == 250
    assert world.counts(BOB) == {}, "two copies do not fit: none of them is stored"
    assert world.queued() == [(CAROL, BOB, "local")]


async def test_a_full_mailbox_alone_is_a_temporary_answer_and_nothing_was_done(world: FilteredWorld) -> None:
    world.smtp.directory.set_quota(BOB, 1_500)
    world.script(
        'require ["fileinto", "copy", "mailbox"]; fileinto :copy :create "A"; redirect :copy "z@far.example";', BOB
    )
    code, _ = await world.send(BOB, content=MESSAGE + b"x" * 900 + b"\r\n")
    assert code == 452
    assert (world.counts(BOB), world.queued(), world.smtp.queued_content()) == ({}, [], [])


async def test_many_messages_at_once_with_several_copies_each(world: FilteredWorld) -> None:
    world.script(
        'require ["fileinto", "copy", "mailbox", "variables"]; if header :matches "subject" "m*" { set "n" "${1}"; }'
        'fileinto :copy :create "All"; if string "${n}" ["3", "7"] { discard; } redirect :copy "far@outside.example";'
    )
    contents = [MESSAGE.replace(b"Subject: lunch", b"Subject: m%d" % number) for number in range(24)]
    replies = await asyncio.gather(
        *(world.deliver(ALICE, DAVE, content=content) for content in contents),
        *(world.deliver(DAVE, content=content) for content in contents),
    )
    assert len(replies) == 48
    assert world.counts() == {"All": 24, "INBOX": 22}
    assert world.counts(DAVE) == {"INBOX": 48}
    assert len(world.queued()) == 24
    assert not list(world.path.glob("mail/*/*/Maildir/tmp/*"))
    assert sorted(each.split(b"Subject: ")[1][:4] for each in world.messages(mailbox="All")) == sorted(
        content.split(b"Subject: ")[1][:4] for content in contents
    )


async def test_a_script_that_cannot_be_read_now_is_temporary_trouble(
    world: FilteredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.script("discard;")
    trouble = StoreError("store.failed", "storage failed", temporary=True)

    def fail(ref: AccountRef) -> None:
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(world.smtp.filters.scripts, "active", fail)
        assert (await world.send())[0] == 451
        delivered = await world.deliver(ALICE, DAVE)
        assert delivered.stored == [DAVE]
        assert [recipient for _, recipient, _ in world.queued()] == [ALICE]


MIXED = (
    b"From: Carol <carol@remote.example>\r\nTo: alice@example.org\r\nSubject: files\r\nMessage-ID: <2@remote.example>\r\n"
    b"Date: Mon, 5 Jan 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
    b'--b\r\nContent-Type: application/exe; name="run.com"\r\n\r\nMZMZ\r\n--b--\r\n'
)
REPLACING = (
    'require ["foreverypart", "mime", "replace", "fileinto", "copy", "mailbox"];'
    'foreverypart { if header :mime :subtype "Content-Type" "exe" { replace "taken out"; } }'
)


@pytest.mark.parametrize("large", [False, True])
async def test_a_replaced_part_is_replaced_in_that_accounts_copies_alone(world: FilteredWorld, large: bool) -> None:
    content = MIXED + b"x" * 2_000_000 + b"\r\n" if large else MIXED
    world.script(REPLACING + 'redirect :copy "else@remote.example"; fileinto :copy :create "Copy";')
    assert (await world.send(ALICE, DAVE, content=content))[0] == 250
    (mine,), (copy,) = world.messages(), world.messages(mailbox="Copy")
    (other,) = world.messages(DAVE)
    assert other.endswith(content)
    wanted = content.partition(b"\r\n\r\n")[2].replace(
        b'Content-Type: application/exe; name="run.com"\r\n\r\nMZMZ',
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\ntaken out",
    )
    assert mine == copy
    assert mine.startswith(b"Return-Path: <carol@remote.example>\r\n")
    assert mine.partition(b"\r\n\r\n")[2] == wanted
    (left,) = world.smtp.queued_content()
    assert left.partition(b"\r\n\r\n")[2] == wanted


async def test_an_enclosed_message_is_stored_and_the_plain_one_passed_on(world: FilteredWorld) -> None:
    world.script('require ["enclose", "copy"]; enclose :subject "look" "around"; redirect :copy "else@remote.example";')
    await world.send(content=MESSAGE)
    (mine,), (left,) = world.messages(), world.smtp.queued_content()
    assert b"\r\nSubject: look\r\n" in mine
    assert MESSAGE in mine
    assert left.endswith(MESSAGE)


async def test_a_later_script_sees_what_an_earlier_one_replaced(tmp_path: Path) -> None:
    after = tmp_path / "after.sieve"
    after.write_text('require ["body", "fileinto"]; if body :contains "taken out" { fileinto "Archive"; }')
    async with filtered_world(tmp_path, Sieve(after=[str(after)])) as world:
        world.script(REPLACING)
        await world.deliver(content=MIXED)
        (filed,) = world.messages(mailbox="Archive")
        assert (b"taken out" in filed, b"MZMZ" in filed) == (True, False)


async def test_what_filters_did_is_counted(world: FilteredWorld) -> None:
    def counted() -> dict[str, float]:
        samples = world.smtp.metrics.filter_actions.collect()[0].samples
        return {each.labels["action"]: each.value for each in samples if each.name.endswith("_total")}

    await world.deliver()
    assert counted() == {}
    world.script('require ["fileinto", "copy"]; fileinto :copy "Archive"; redirect :copy "else@remote.example";')
    await world.deliver()
    assert counted() == {"stored": 2, "redirected": 1}
    world.script('require "reject"; reject "no";')
    with pytest.raises(RuleRefusal):
        await world.deliver()
    world.script("discard;")
    await world.deliver()
    assert counted() == {"stored": 2, "redirected": 1, "rejected": 1, "discarded": 1}
