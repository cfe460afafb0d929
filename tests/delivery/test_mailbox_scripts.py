"""Scripts on what IMAP did: which one runs, what it is told, what its actions come to. RFC 6785."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.store.maildir.account import MaildirAccount
from mailbox_app.store.maildir.account_notes import MaildirNotes
from mailbox_app.store.model import SystemFlag
from tests.support.filtered import ALICE, MESSAGE
from tests.support.imap_events import EventsWorld, events_world

SEEN, FLAGGED, DELETED = int(SystemFlag.SEEN), int(SystemFlag.FLAGGED), int(SystemFlag.DELETED)
EVENTS = 'require ["imapsieve", "environment", "imap4flags", "fileinto", "copy", "mailbox", "variables"];\n'
TEXT = MESSAGE.decode()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[EventsWorld]:
    async with events_world(tmp_path) as made:
        yield made


def append(mailbox: str = "INBOX", flags: str = "") -> str:
    return f"APPEND {mailbox} ({flags}) {{{len(TEXT)}+}}\r\n{TEXT}"


async def test_an_appended_message_is_filed_and_the_original_marked(world: EventsWorld) -> None:
    world.script(EVENTS + 'if environment "imap.cause" "APPEND" { fileinto :create "Lists"; }')
    answers = await world.commands(append(flags="\\Seen"))
    assert "IMAPSIEVE=sieve://mail.example.org" in answers[1]
    assert world.mail.messages(mailbox="Lists") == [MESSAGE]
    assert world.mail.flags("Lists") == [(SEEN, ())]
    assert world.mail.flags("INBOX") == [(SEEN | DELETED, ())]


async def test_a_copy_leaves_the_original_as_it_is(world: EventsWorld) -> None:
    world.script(EVENTS + 'fileinto :copy :create "Lists";')
    await world.commands(append())
    assert (world.mail.flags("Lists"), world.mail.flags("INBOX")) == ([(0, ())], [(0, ())])


async def test_discard_marks_the_message_and_removes_nothing(world: EventsWorld) -> None:
    world.script(EVENTS + "discard;")
    await world.commands(append())
    assert world.mail.flags("INBOX") == [(DELETED, ())]


async def test_flags_are_those_of_the_message_and_change_it(world: EventsWorld) -> None:
    world.script(
        EVENTS + 'if hasflag :contains "\\\\Flagged" { removeflag "\\\\Flagged"; addflag ["\\\\Seen", "$Work"]; }'
    )
    await world.commands(append(flags="\\Flagged $Old"), append())
    assert world.mail.flags("INBOX") == [(SEEN, ("$Old", "$Work")), (0, ())]


async def test_the_environment_tells_what_happened(world: EventsWorld) -> None:
    items = ("location", "phase", "imap.user", "imap.email", "imap.cause", "imap.mailbox", "imap.changedflags")
    tests = " ".join(
        f'if environment :matches "{item}" "*" {{ set "v{number}" "${{1}}"; }}' for number, item in enumerate(items)
    )
    told = "|".join(f"${{v{number}}}" for number in range(len(items)))
    world.mail.stored(ALICE).create("Work")
    world.script(
        'require ["imapsieve", "environment", "editheader", "fileinto", "copy", "mailbox", "variables"];\n'
        f'{tests} addheader "X-Told" "{told}"; fileinto :copy :create "Told";',
        mailbox="Work",
    )
    await world.commands(append("Work"), "SELECT Work", "STORE 1 +FLAGS (\\Flagged $New)", "STORE 1 -FLAGS (\\Flagged)")
    first = [message.split(b"\r\n")[0] for message in world.mail.messages(mailbox="Told")]
    assert first == [
        b"X-Told: MS|post|alice@example.org|alice@example.org|APPEND|Work|",
        b"X-Told: MS|post|alice@example.org|alice@example.org|FLAG|Work|\\Flagged $New",
        b"X-Told: MS|post|alice@example.org|alice@example.org|FLAG|Work|\\Flagged",
    ]


async def test_copies_and_moves_are_events_of_the_mailbox_they_come_to(world: EventsWorld) -> None:
    world.mail.stored(ALICE).create("Work")
    world.script(EVENTS + 'if environment "imap.cause" "COPY" { addflag "$Came"; }', mailbox="Work")
    await world.commands(append(), append(), "SELECT INBOX", "COPY 1 Work", "MOVE 2 Work")
    assert world.mail.flags("Work") == [(0, ("$Came",)), (0, ("$Came",))]
    assert world.mail.flags("INBOX") == [(0, ())]


async def test_reading_a_message_is_a_change_of_its_flags(world: EventsWorld) -> None:
    world.script(EVENTS + 'if environment :contains "imap.changedflags" "\\\\Seen" { addflag "$Read"; }')
    await world.commands(append(), "SELECT INBOX", "FETCH 1 BODY[TEXT]")
    assert world.mail.flags("INBOX") == [(SEEN, ("$Read",))]


async def test_a_store_that_changes_nothing_is_no_event(world: EventsWorld) -> None:
    world.script(EVENTS + 'if environment "imap.cause" "FLAG" { addflag "$Again"; }')
    await world.commands(append(flags="\\Seen"), "SELECT INBOX", "STORE 1 +FLAGS (\\Seen)")
    assert world.mail.flags("INBOX") == [(SEEN, ())]


async def test_what_a_script_does_is_no_event(world: EventsWorld) -> None:
    world.mail.stored(ALICE).create("Work")
    world.script(EVENTS + 'fileinto :copy "Work"; addflag "$One";')
    world.bind("events", "Work")
    await world.commands(append())
    assert (len(world.mail.messages()), len(world.mail.messages(mailbox="Work"))) == (1, 1)
    assert world.mail.flags("Work") == [(0, ())]


async def test_keep_means_the_mailbox_the_message_is_in(world: EventsWorld) -> None:
    world.mail.stored(ALICE).create("Work")
    world.script(EVENTS + 'keep; fileinto "INBOX";', mailbox="Work")
    await world.commands(append("Work"))
    assert (world.mail.flags("Work"), world.mail.flags("INBOX")) == ([(0, ())], [(0, ())])


async def test_the_accounts_own_entry_holds_where_the_mailbox_has_none(world: EventsWorld) -> None:
    world.script(EVENTS + 'addflag "$All";', mailbox=None)
    world.mail.stored(ALICE).create("Quiet")
    world.bind("", "Quiet")
    await world.commands(append(), append("Quiet"))
    assert (world.mail.flags("INBOX"), world.mail.flags("Quiet")) == ([(0, ("$All",))], [(0, ())])


async def test_the_script_is_named_over_imap(world: EventsWorld) -> None:
    scripts, ref = world.mail.smtp.filters.scripts, world.mail.account(ALICE).ref
    scripts.put(ref, "events", (EVENTS + 'addflag "$All";').encode())
    answers = await world.commands('SETMETADATA "" (/shared/imapsieve/script "events")', append())
    assert answers[2].startswith("t1 OK")
    assert world.mail.flags("INBOX") == [(0, ("$All",))]
    answers = await world.commands('SETMETADATA "" (/shared/imapsieve/script NIL /shared/comment "x")')
    assert answers[2].startswith("t1 NO [NOPERM]")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ('require ["imapsieve", "reject"]; reject "no";', "reject cannot be used"),
        ('require ["imapsieve", "vacation"]; vacation "away";', "vacation cannot be used"),
        ('require ["imapsieve", "envelope"]; if envelope "from" "x" { discard; }', "envelope"),
    ],
)
async def test_a_script_that_fails_changes_nothing_and_its_owner_is_told(
    world: EventsWorld, source: str, why: str
) -> None:
    world.script(source)
    await world.commands(append(flags="\\Flagged $Old"))
    assert world.mail.flags("INBOX") == [(FLAGGED, ("$Old",))]
    assert why in world.mail.smtp.filters.scripts.failure(world.mail.account(ALICE).ref)


async def test_a_script_that_is_missing_is_told(world: EventsWorld) -> None:
    world.script("keep;")
    world.bind("gone", "INBOX")
    await world.commands(append())
    assert "script gone: a mailbox names it" in world.mail.smtp.filters.scripts.failure(world.mail.account(ALICE).ref)


async def test_redirect_and_notify_leave_in_the_owners_name(world: EventsWorld) -> None:
    world.script(
        'require ["imapsieve", "enotify", "copy"]; redirect :copy "else@remote.example"; notify "mailto:tell@remote.example";'
    )
    text = "Return-Path: <stranger@remote.example>\r\n" + TEXT
    await world.commands(f"APPEND INBOX {{{len(text)}+}}\r\n{text}")
    assert world.mail.queued() == [
        (ALICE, "else@remote.example", "smtp"),
        ("", "tell@remote.example", "smtp"),
    ]
    redirected = next(each for each in world.mail.smtp.queued_content() if b"lunch" in each and b"Today?" in each)
    assert redirected.endswith(MESSAGE)
    assert b"Return-Path" not in redirected


async def test_many_messages_of_one_command_each_run_the_script(world: EventsWorld) -> None:
    world.script(EVENTS + 'if environment "imap.cause" "FLAG" { addflag "$Seen2"; }')
    await world.commands(*[append()] * 45, "SELECT INBOX", "STORE 1:* +FLAGS (\\Seen)")
    assert world.mail.flags("INBOX") == [(SEEN, ("$Seen2",))] * 45


async def test_a_full_mailbox_leaves_the_message_where_it_is(
    world: EventsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.script(EVENTS + 'fileinto "Archive"; addflag "$X";')
    world.bind("events", "INBOX")

    def full(*_: object, **__: object) -> None:
        raise StoreError("store.over_quota", "over quota")

    monkeypatch.setattr(MaildirAccount, "copy", full)
    await world.commands(append())
    assert world.mail.flags("INBOX") == [(0, ())]


async def test_what_a_client_put_here_leaves_in_no_colleagues_name(world: EventsWorld) -> None:
    world.script('require ["imapsieve", "copy"]; redirect :copy "else@remote.example";')
    forged = TEXT.replace("Carol <carol@remote.example>", "Boss <bob@example.org>")
    await world.commands(f"APPEND INBOX {{{len(forged)}+}}\r\n{forged}")
    assert world.mail.queued() == []
    await world.commands(append())
    assert [recipient for _, recipient, _ in world.mail.queued()] == ["else@remote.example"]


async def test_a_name_that_cannot_be_read_now_fails_no_command(
    world: EventsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.script(EVENTS + 'addflag "$X";')
    await world.commands(append())

    def busy(*_: object) -> None:
        raise StoreError("store.busy", "busy", temporary=True)

    monkeypatch.setattr(MaildirNotes, "annotations", busy)
    answers = await world.commands("SELECT INBOX", "STORE 1 +FLAGS (\\Flagged)")
    assert answers[-1].startswith("t2 OK")
    assert world.mail.flags("INBOX") == [(FLAGGED, ("$X",))]


async def test_others_who_share_a_mailbox_cause_its_owners_script(world: EventsWorld) -> None:
    world.mail.store.notes(world.mail.account(ALICE).ref).change_acl(
        world.mail.stored(ALICE).mailbox("INBOX").mailbox_id, "bob@example.org", lambda _: "lrswite"
    )
    world.script(EVENTS + 'if environment "imap.user" "bob@example.org" { addflag "$Bob"; }')
    await world.commands(append("Users/alice@example.org/INBOX"), user="bob")
    assert world.mail.flags("INBOX") == [(0, ("$Bob",))]
