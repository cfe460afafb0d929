from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mailbox_app.proto.header import Header, decode_words, header_end
from mailbox_app.proto.sieve.header_edits import HeaderEdits, render_field
from tests.support.sieve import outcome_of, told

MAIL = b"X-A: one\r\nX-B: two\r\n folded\r\nX-A: three\r\nSubject: s\r\n\r\nbody\r\n"


def edited(script: str, message: bytes = MAIL) -> bytes:
    outcome = outcome_of('require ["editheader", "variables", "index"];' + script, message)
    assert outcome.error == ""
    assert outcome.edits is not None
    return outcome.edits.apply(message)


def test_added_fields_stand_above_or_below_all_others() -> None:
    script = 'addheader "X-New" "1"; addheader :last "X-Last" "2"; addheader "X-New" "3";'
    assert edited(script) == b"X-New: 3\r\nX-New: 1\r\n" + MAIL.replace(b"\r\n\r\n", b"\r\nX-Last: 2\r\n\r\n")


def test_deleted_fields_are_gone_and_all_else_is_untouched() -> None:
    assert edited('deleteheader "x-b";') == MAIL.replace(b"X-B: two\r\n folded\r\n", b"")
    assert edited('deleteheader :index 2 "X-A";') == MAIL.replace(b"X-A: three\r\n", b"")
    assert edited('deleteheader :index 2 :last "X-A";') == MAIL.replace(b"X-A: one\r\n", b"")
    assert edited('deleteheader :contains "X-A" "thr";') == MAIL.replace(b"X-A: three\r\n", b"")
    assert edited('deleteheader "X-A"; deleteheader "X-B"; deleteheader "Subject";') == b"\r\nbody\r\n"


def test_what_was_added_can_be_deleted_and_tested() -> None:
    script = """addheader "X-C" "new"; if not header "x-c" "new" { discard; }
        deleteheader :is "X-C" "new"; if exists "x-c" { discard; } addheader "X-D" "d";"""
    assert edited(script) == b"X-D: d\r\n" + MAIL


def test_protected_fields_stay_and_trusted_ones_cannot_be_made() -> None:
    script = 'require "editheader"; deleteheader "Received"; addheader "Authentication-Results" "me; spf=pass"; keep;'
    outcome = outcome_of(script, b"Received: x\r\n\r\n")
    assert outcome.edits is None
    assert [step.split(": ")[1] for step in outcome.steps[:2]] == ["deleteheader", "addheader"]


def test_actions_keep_the_header_of_their_time() -> None:
    script = 'require ["editheader", "fileinto", "copy"]; fileinto :copy "a"; addheader "X-N" "1"; redirect :copy "b@c.example";'
    before, after, kept = outcome_of(script).actions
    assert told(before) == "fileinto a copy"
    assert getattr(before, "edits", 0) is None
    assert getattr(after, "edits", None) == getattr(kept, "edits", None) == HeaderEdits((("X-N", "1"),))


def test_a_value_cannot_smuggle_in_another_field() -> None:
    script = 'set "v" "x\r\nBcc: evil@example.com\r\n\r\nbody"; addheader "X-N" "${v}";'
    assert edited(script) == b"X-N: x Bcc: evil@example.com body\r\n" + MAIL


def test_the_name_of_a_field_is_checked() -> None:
    outcome = outcome_of('require ["editheader", "variables"]; set "n" "a b"; addheader "${n}" "x";')
    assert "is not the name of a header field" in outcome.error


def test_bare_line_feeds_and_missing_bodies_are_left_as_they_are() -> None:
    edits = HeaderEdits((), (("X", "y"),), frozenset({0}))
    assert edits.apply(b"A: b\nC: d\n\nbody") == b"C: d\nX: y\r\n\nbody"
    assert edits.apply(b"A: b\r\nC: d") == b"C: d\r\nX: y\r\n"
    assert edits.apply(b"A: b\r\n\r\n") == b"X: y\r\n\r\n"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_a_rendered_value_reads_back_the_same_but_for_white_space(value: str) -> None:
    value = "".join(each for each in value if each.isprintable())
    field = render_field("X-Name", value)
    assert field.isascii()
    assert all(len(line) <= 998 for line in field.split(b"\r\n"))
    header = Header.parse(field + b"\r\n")
    assert len(header.fields) == 1
    assert decode_words(header.fields[0].value).split() == value.split()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120), st.sets(st.integers(0, 5)), st.booleans())
def test_the_body_is_never_touched(block: bytes, removed: set[int], below: bool) -> None:
    data = block + b"\r\n\r\nbody"
    edits = HeaderEdits((), (("X", "y"),) if below else (), frozenset(removed))
    assert edits.apply(data).endswith(data[header_end(data) :])
