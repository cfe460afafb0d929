from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.control.wire import MAX_FRAME_BYTES, decode_answer, decode_request, encode, error_frame
from mailbox_app.errors import AccountError, ControlError
from mailbox_app.proto.plain_text import clean, clean_lines


def test_a_request_has_defaults() -> None:
    request = decode_request(b'{"id":1,"method":"status"}\n')
    assert (request.id, request.method, bytes(request.params), request.via) == (1, "status", b"{}", "")


@given(st.binary(max_size=200))
def test_no_line_makes_decoding_fail_otherwise_than_with_an_error_of_ours(line: bytes) -> None:
    for decode in (decode_request, decode_answer):
        try:
            decode(line)  # type: ignore[operator]
        except ControlError as error:
            assert error.code == "control.bad_frame"  # noqa: PT017


@pytest.mark.parametrize("line", [b'{"id":1,"m\xebthod":"status"}\n', b'{"id":1,"via":"\xff"}\n', b"[" * 100_000])
def test_bytes_that_are_no_text_and_deep_nesting_are_bad_frames(line: bytes) -> None:
    with pytest.raises(ControlError) as error:
        decode_request(line)
    assert error.value.code == "control.bad_frame"


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_a_frame_is_one_line(value: object) -> None:
    line = encode({"id": 1, "result": {"value": value}})
    assert line.count(b"\n") == 1
    assert decode_answer(line).id == 1


def test_a_frame_too_large_is_refused_not_sent() -> None:
    with pytest.raises(ControlError) as error:
        encode({"id": 1, "result": "x" * MAX_FRAME_BYTES})
    assert error.value.code == "control.too_large"


def test_an_error_tells_its_way_out() -> None:
    frame = error_frame(7, AccountError("account.exists", "is there", fields={"remedy": "Choose another."}))
    answer = decode_answer(frame)
    assert answer.error is not None
    assert (answer.id, answer.error.code, answer.error.remedy) == (7, "account.exists", "Choose another.")


@given(st.text())
def test_cleaned_text_cannot_move_a_cursor_or_turn_a_line_around(text: str) -> None:
    cleaned = clean(text)
    assert all(character >= " " and not 0x7F <= ord(character) <= 0x9F for character in cleaned)
    assert not set(cleaned) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200f\ufeff")
    assert clean(cleaned) == cleaned
    cleaned.encode()


def test_cleaned_lines_keep_their_line_ends() -> None:
    assert clean_lines("a\r\n\tb\x1b[2J\rc") == "a\n\tb\ufffd[2J\ufffdc"


def test_ordinary_text_stays() -> None:
    assert clean("Jürgen 你好 <a@b>") == "Jürgen 你好 <a@b>"
