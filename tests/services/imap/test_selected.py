from array import array

from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.ids import MailboxId, Modseq, Uid
from mailbox_app.services.imap.selected import Selected
from mailbox_app.store.model import Changes, MailboxInfo, Snapshot


def view_of(uids: list[int], *, first_recent: int | None = None) -> Selected:
    info = MailboxInfo(
        MailboxId(1),
        "INBOX",
        1,
        Uid(max(uids, default=0) + 1),
        Modseq(1),
        len(uids),
        0,
        0,
        0,
        Uid(1),
        True,
        None,
        ("kw",),
    )
    count = len(uids)
    snapshot = Snapshot(info, array("I", uids), array("Q", [0] * count), array("Q", [1] * count))
    return Selected(snapshot, None if first_recent is None else Uid(first_recent), read_only=False)


def changes(changed=(), expunged=(), modseq: int = 2, uidnext: int = 100, keywords=("kw",)) -> Changes:
    return Changes(
        [(Uid(uid), flags, Modseq(modseq)) for uid, flags in changed],
        [Uid(uid) for uid in expunged],
        Modseq(modseq),
        Uid(uidnext),
        keywords,
        exists=True,
    )


def test_expunge_numbers_are_taken_before_each_removal() -> None:
    view = view_of([3, 5, 7, 9])
    lines, _ = view.apply(changes(expunged=[3, 7, 8]), expunges=True, uid=False, modseq=False)
    assert lines == ["* 1 EXPUNGE\r\n", "* 2 EXPUNGE\r\n"]
    assert list(view.uids) == [5, 9]


def test_withheld_expunges_keep_their_numbers_until_told() -> None:
    view = view_of([3, 5])
    lines, new = view.apply(changes([(100, 1)], expunged=[3], uidnext=101), expunges=False, uid=False, modseq=False)
    assert (lines, new) == (["* 3 EXISTS\r\n"], 1)
    assert view.remove_withheld() == ["* 1 EXPUNGE\r\n"]
    assert list(view.uids) == [5, 100]


def test_own_changes_are_not_told_twice() -> None:
    view = view_of([3])
    assert view.set_flags([(3, 1, 2)]) == [0]
    assert view.apply(changes([(3, 1)]), expunges=True, uid=False, modseq=False) == ([], 0)


def test_new_keywords_are_told_before_flags_that_name_them() -> None:
    view = view_of([3])
    lines, _ = view.apply(changes([(3, 1 << 9)], keywords=("kw", "new")), expunges=True, uid=True, modseq=True)
    assert lines[0] == "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft kw new)\r\n"
    assert lines[2] == "* 1 FETCH (UID 3 FLAGS (new) MODSEQ (2))\r\n"


def test_recent_is_counted_over_expunges() -> None:
    view = view_of([3, 5, 7], first_recent=5)
    assert view.recent_count == 2
    view.apply(changes(expunged=[5]), expunges=True, uid=False, modseq=False)
    assert view.recent_count == 1
    view.apply(changes([(200, 0)], uidnext=201, modseq=3), expunges=True, uid=False, modseq=False)
    assert view.mark_recent_since(Uid(200), 2) == ["* 2 RECENT\r\n"]
    assert view.texts[view.flags[2]] == "(\\Recent)"


@given(
    st.sets(st.integers(1, 60), max_size=60),
    st.lists(
        st.tuples(st.sets(st.integers(1, 60), max_size=40), st.integers(0, 4), st.booleans()), min_size=1, max_size=6
    ),
)
def test_a_client_that_follows_the_lines_has_the_same_view(start: set[int], steps) -> None:
    view = view_of(sorted(start))
    client: list[int | None] = list(view.uids)
    uidnext = 100
    modseq = 1
    for expunged, arrivals, allowed in steps:
        modseq += 1
        changed = [(uidnext + number, 0) for number in range(arrivals)]
        uidnext += arrivals
        update = changes(changed, sorted(expunged), modseq, uidnext)
        lines, _ = view.apply(update, expunges=allowed, uid=False, modseq=False)
        for line in lines:
            number, word = int(line.split()[1]), line.split()[2]
            if word == "EXPUNGE":
                del client[number - 1]
            elif word == "EXISTS":
                client += [None] * (number - len(client))
        assert len(client) == view.count
        assert all(seen in (None, uid) for seen, uid in zip(client, view.uids, strict=True))
        client = list(view.uids)
