"""What the index says may hold a text, against looking into every message."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailbox_app.clock import SystemClock
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId, AccountRef, MailboxId, Uid
from mailbox_app.proto.mime import PartTable
from mailbox_app.proto.text.folding import fold
from mailbox_app.services.imap.message_text import MessageText
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.model import FlagMode, SystemFlag
from mailbox_app.store.search import builder as building
from mailbox_app.store.search import extracting
from mailbox_app.store.search.builder import IndexBuilder
from mailbox_app.store.search.files import REBUILT_FILE, SEARCH_FILE
from mailbox_app.store.search.index import Candidates, SearchIndex, Where
from tests.support.store_place import Place, RecordingBus


def mail(subject: str, text: str) -> bytes:
    message = EmailMessage()
    message["Subject"] = subject
    message.set_content(text, charset="utf-8")
    return message.as_bytes().replace(b"\n", b"\r\n")


def build(place: Place) -> int:
    return sum(IndexBuilder(place.store, place.data_dir).batches(place.ref))


def ask(place: Place, needle: str, where: Where = "text", mailbox: str = "INBOX") -> Candidates:
    return SearchIndex(place.data_dir).candidates(place.ref, place.id(mailbox), needle, where)


def search_file(place: Place) -> Path:
    return place.maildir.parent / SEARCH_FILE


def remove_all(place: Place, uids: list[int]) -> None:
    inbox = place.id()
    place.account.store_flags(inbox, [Uid(uid) for uid in uids], FlagMode.ADD, SystemFlag.DELETED)
    place.account.expunge(inbox, None)


def test_only_messages_with_the_text_are_candidates(place: Place) -> None:
    place.deliver(body=mail("zebra crossing", "nothing to see"))
    place.deliver(body=mail("hello", "a zebra is here"))
    place.deliver(body=mail("hello", "no such animal"))
    assert build(place) == 3
    assert list(ask(place, "ZEBRA").uids) == [1, 2]
    assert list(ask(place, "zebra", "header").uids) == [1]
    assert list(ask(place, "zebra", "body").uids) == [2]
    found = ask(place, "quagga")
    assert (list(found.uids), found.indexed_below, list(found.gaps)) == ([], 4, [])


def test_without_an_index_everything_must_be_looked_at(place: Place) -> None:
    place.deliver()
    assert ask(place, "zebra") == Candidates()
    assert not search_file(place).exists()


def test_what_came_after_the_last_batch_is_told(place: Place) -> None:
    place.deliver()
    build(place)
    place.deliver(body=mail("zebra", ""))
    found = ask(place, "zebra")
    assert (list(found.uids), found.indexed_below) == ([], 2)
    assert IndexBuilder(place.store, place.data_dir).waiting(place.ref) == 1
    assert build(place) == 1
    assert list(ask(place, "zebra").uids) == [2]


def test_a_text_of_two_characters_cannot_be_asked_for(place: Place) -> None:
    with pytest.raises(ValueError):
        ask(place, "ze")


def test_quotes_in_a_text_are_only_characters(place: Place) -> None:
    place.deliver(body=mail("a", 'he said "AND" (NOT) *'))
    build(place)
    assert list(ask(place, 'said "and" (not) *').uids) == [1]


def test_attachments_are_left_out_but_their_names(place: Place) -> None:
    message = EmailMessage()
    message["Subject"] = "report"
    message.set_content("see attachment")
    message.add_attachment("the zebra\n", filename="quagga.txt")
    place.deliver(body=message.as_bytes())
    build(place)
    assert not ask(place, "the zebra").uids
    assert list(ask(place, "quagga.txt", "body").uids) == [1]


def test_moved_and_copied_messages_are_not_read_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.deliver(body=mail("zebra", ""))
    build(place)
    place.account.copy(place.id(), [Uid(1)], place.id("Archive"))
    place.account.copy(place.id(), [Uid(1)], place.id("Trash"), move=True)
    monkeypatch.setattr(building, "extract", lambda *_: pytest.fail("read again"))
    assert build(place) == 2
    assert list(ask(place, "zebra", mailbox="Archive").uids) == [1]
    assert list(ask(place, "zebra", mailbox="Trash").uids) == [1]


def test_a_killed_build_goes_on_where_it_was(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_BATCH_MESSAGES", 3)
    for number in range(10):
        place.deliver(body=mail(f"zebra {number}", ""))
    batches = IndexBuilder(place.store, place.data_dir).batches(place.ref)
    assert next(batches) == 3
    batches.close()  # type: ignore[attr-defined]
    found = ask(place, "zebra")
    assert (list(found.uids), found.indexed_below) == ([1, 2, 3], 4)
    assert build(place) == 7
    assert list(ask(place, "zebra").uids) == list(range(1, 11))


@pytest.mark.parametrize("damage", [b"no database at all " * 500, b""])
def test_a_damaged_index_is_made_anew(place: Place, damage: bytes) -> None:
    place.deliver(body=mail("zebra", ""))
    build(place)
    search_file(place).write_bytes(damage)
    assert ask(place, "zebra") == Candidates()
    build(place)
    assert list(ask(place, "zebra").uids) == [1]


def test_a_deleted_index_is_made_anew(place: Place) -> None:
    place.deliver(body=mail("zebra", ""))
    build(place)
    search_file(place).unlink()
    assert build(place) == 1
    assert list(ask(place, "zebra").uids) == [1]


def test_an_index_deleted_while_it_is_built_is_made_anew(place: Place) -> None:
    place.deliver(body=mail("zebra", ""))
    batches = IndexBuilder(place.store, place.data_dir).batches(place.ref)
    next(batches)
    search_file(place).unlink()
    list(batches)
    build(place)
    assert list(ask(place, "zebra").uids) == [1]


def test_messages_that_cannot_be_read_now_are_told_and_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for subject in ("one zebra", "two zebras", "three zebras"):
        place.deliver(body=mail(subject, ""))
    account = type(place.account)
    works = account.open_message

    def fails(self: object, mailbox_id: MailboxId, uid: Uid) -> object:
        if uid == 2:
            raise StoreError("store.full", "storage is not readable now", temporary=True)
        return works(self, mailbox_id, uid)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(account, "open_message", fails)
        build(place)
    found = ask(place, "zebra")
    assert (list(found.uids), found.indexed_below, list(found.gaps)) == ([1, 3], 4, [2])
    assert IndexBuilder(place.store, place.data_dir).waiting(place.ref) == 1
    assert build(place) == 1
    found = ask(place, "zebra")
    assert (list(found.uids), list(found.gaps)) == ([1, 2, 3], [])


def test_a_message_too_long_to_index_is_always_a_candidate(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extracting, "_TEXT_LENGTH", 1000)
    place.deliver(body=mail("a", "word " * 1000 + "zebra"))
    place.deliver(body=mail("b", "word"))
    build(place)
    assert list(ask(place, "zebra").uids) == [1]
    assert list(ask(place, "quagga").uids) == [1]


def test_a_message_with_an_endless_header_is_always_a_candidate(place: Place) -> None:
    place.deliver(body=b"X-Long: " + b"x" * 1_200_000 + b"\r\nSubject: zebra\r\n\r\n")
    build(place)
    assert list(ask(place, "zebra", "header").uids) == [1]


def test_messages_of_an_earlier_uidvalidity_are_forgotten(place: Place) -> None:
    place.deliver(body=mail("zebra", ""))
    build(place)
    uidvalidity = place.account.mailbox("INBOX").uidvalidity
    index = SearchIndex(place.data_dir)
    assert index.candidates(place.ref, place.id(), "zebra", "text", uidvalidity=uidvalidity).indexed_below == 2
    assert index.candidates(place.ref, place.id(), "zebra", "text", uidvalidity=uidvalidity + 1) == Candidates()


def test_the_index_outlives_a_rebuilt_store(place: Place) -> None:
    place.deliver(body=mail("zebra", ""))
    build(place)
    place.store.rebuild(place.ref)
    assert build(place) == 0
    assert list(ask(place, "zebra").uids) == [1]


def test_many_expunged_messages_are_swept_out_and_the_index_shrinks(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_FEWEST_GONE", 3)
    for number in range(30):
        place.deliver(body=mail(f"zebra {number}", "x" * number))
    build(place)
    remove_all(place, list(range(1, 28)))
    place.deliver(body=mail("zebra last", ""))
    build(place)
    assert list(ask(place, "zebra").uids) == [28, 29, 30, 31]
    build(place)
    assert list(ask(place, "zebra").uids) == [28, 29, 30, 31]
    assert not (place.maildir.parent / REBUILT_FILE).exists()
    assert build(place) == 0


def test_a_deleted_mailbox_is_forgotten(place: Place) -> None:
    place.account.create("Old")
    place.deliver("Old", mail("zebra", ""))
    build(place)
    old = place.id("Old")
    place.account.delete("Old")
    build(place)
    assert SearchIndex(place.data_dir).candidates(place.ref, old, "zebra", "text") == Candidates()


def test_a_removed_account_is_not_made_again(place: Place) -> None:
    place.deliver()
    place.store.remove_account(place.ref)
    assert build(place) == 0
    assert not place.maildir.parent.exists()


def test_an_account_removed_while_it_is_indexed_is_not_made_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_BATCH_MESSAGES", 1)
    for _ in range(3):
        place.deliver()
    batches = IndexBuilder(place.store, place.data_dir).batches(place.ref)
    next(batches)
    place.store.remove_account(place.ref)
    assert list(batches) == []
    assert not place.maildir.parent.exists()


def test_discarding_removes_every_file(place: Place) -> None:
    place.deliver()
    build(place)
    IndexBuilder(place.store, place.data_dir).discard(place.ref)
    assert not list(place.maildir.parent.glob("search.db*"))


# against brute force

LETTERS = (
    "aAbBzZ .\"'*-%iIsSKkeE\n\u00df\u1e9e\u017f\u0131\u0130\u00e9\u00c9\u0301\u0307\ufb01\u00bd\u03a3\u03c3\u03c2\u212b\u00c5"
    "\u212a\u6f22\u5b57\ud55c\uae00\U0001f993"
)
TEXTS = st.text(alphabet=LETTERS, min_size=0, max_size=60)


def brute_force(store: MaildirStore, ref: AccountRef, inbox: MailboxId, uid: int, needle: str, body: bool) -> bool:
    ((_, parts),) = store.account(ref).rendered(inbox, [Uid(uid)], ("parts",))
    with store.account(ref).open_message(inbox, Uid(uid)) as opened:
        (found,) = MessageText(opened, PartTable.decode(parts)).contains([needle], body_only=body)  # type: ignore[arg-type]
    return found


def _needles(texts: list[tuple[str, str]], chance: random.Random) -> Iterator[str]:
    for text in [each for pair in texts for each in pair if len(each) >= 3]:
        start = chance.randrange(len(text) - 2)
        piece = text[start : start + chance.randrange(3, 12)]
        yield from (piece, piece.upper(), piece.casefold(), piece.swapcase(), piece[::-1])


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6), seed=st.integers(0, 1 << 30))
def test_candidates_that_are_checked_are_what_brute_force_finds(texts: list[tuple[str, str]], seed: int) -> None:
    ref = AccountRef(AccountId(7), "example.org", "alice", 0)
    with tempfile.TemporaryDirectory() as folder:
        store = MaildirStore(Path(folder), RecordingBus(), hostname="mx.example.org", clock=SystemClock())
        try:
            for subject, text in texts:
                body = mail(" ".join(subject.split()), text)
                staged = store.stage(ref, Content(b"", body, len(body)))
                store.account(ref).append([NewMessage(staged, "INBOX")])
            list(IndexBuilder(store, folder).batches(ref))
            inbox = store.account(ref).mailbox("INBOX").mailbox_id
            index = SearchIndex(folder)
            for uid, (_, text) in enumerate(texts, 1):
                assert brute_force(store, ref, inbox, uid, text[10:30].swapcase().swapcase(), body=True)
            for needle in _needles(texts, random.Random(seed)):
                if len(fold(needle)) < 3:
                    continue
                for where, body_only in (("text", False), ("body", True)):
                    found = index.candidates(ref, inbox, needle, where)  # type: ignore[arg-type]
                    assert found.indexed_below == len(texts) + 1
                    for uid in range(1, len(texts) + 1):
                        if brute_force(store, ref, inbox, uid, needle, body_only):
                            assert uid in found.uids, (needle, where)
        finally:
            store.close()
