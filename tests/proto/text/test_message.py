from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.message import MessageScanner
from mailbox_app.proto.mime import PartTable
from mailbox_app.proto.text import message as message_module
from mailbox_app.proto.text.message import body_texts, header_text
from mailbox_app.proto.text.preview import preview


def scanned(data: bytes) -> PartTable:
    scanner = MessageScanner()
    scanner.feed(data)
    return PartTable.decode(scanner.finish().parts)


def texts(data: bytes) -> list[str]:
    return ["".join(pieces) for pieces in body_texts(lambda start, size: data[start : start + size], scanned(data))]


def first_words(data: bytes, **more: int) -> str:
    return preview(lambda start, size: data[start : start + size], scanned(data), **more)


def alternative(plain: str, html: str) -> bytes:
    message = EmailMessage()
    message["Subject"] = "both"
    message.set_content(plain)
    message.add_alternative(html, subtype="html")
    return message.as_bytes()


def test_header_fields_are_readable() -> None:
    block = b"Subject: =?utf-8?q?caf=C3=A9?= =?iso-8859-1?b?6A==?=\r\nX-Folded: one\r\n two\r\n\r\nbody"
    assert header_text(block) == "Subject: caféè\nX-Folded: one two"


def test_every_text_part_and_the_headers_of_all() -> None:
    found = texts(alternative("plain words", "<p>rich <b>wo</b>rds"))
    assert "plain words\n" in found
    assert "rich words" in found
    assert sum("Content-Type: text/" in each for each in found) == 2


def test_file_names_in_any_encoding_are_text() -> None:
    data = (
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: application/pdf\r\n"
        b"Content-Disposition: attachment; filename*=utf-8''Stra%C3%9Fe.pdf\r\n\r\nbytes\r\n--x--\r\n"
    )
    assert any("Straße.pdf" in each for each in texts(data))
    assert not any("bytes" in each for each in texts(data))


def test_an_attached_message_is_read_like_a_message() -> None:
    inner = EmailMessage()
    inner["Subject"] = "=?utf-8?q?inner?="
    inner.set_content("zebra")
    outer = EmailMessage()
    outer.set_content("see below")
    outer.add_attachment(inner)
    found = texts(outer.as_bytes())
    assert any("Subject: inner" in each for each in found)
    assert "zebra\n" in found


def test_the_body_of_a_message_is_text_even_when_it_calls_itself_an_attachment() -> None:
    assert "words" in texts(b"Content-Disposition: attachment\r\n\r\nwords")


@given(st.binary(max_size=400), st.integers(1, 50))
def test_no_bytes_fail(data: bytes, piece: int) -> None:
    prefix = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n\r\n"
    for whole in (data, prefix + data):
        texts(whole)
        assert len(first_words(whole, longest=piece)) <= piece


@given(text=st.text(alphabet="abc \u00e9\u00df\n=+/", max_size=100), size=st.integers(1, 9))
def test_pieces_of_any_size_give_the_same_text(text: str, size: int) -> None:
    message = EmailMessage()
    message.set_content(text, charset="utf-8", cte="base64" if size % 2 else "quoted-printable")
    data = message.as_bytes()
    whole = texts(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_module, "_PIECE_BYTES", size)
        assert texts(data) == whole


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"Subject: x\r\n\r\n  Hello\r\n\r\n world \r\n", "Hello world"),
        (b"Subject: x\r\n\r\n> quoted\r\nown words\r\n-- \r\nsignature\r\n", "own words"),
        (b"Subject: x\r\n\r\n> only quoted\r\n", "> only quoted"),
        (b"Subject: x\r\n\r\n", ""),
        (b"Content-Type: text/html\r\n\r\n<style>p{}</style><p>Hi&nbsp;<b>you</b>", "Hi you"),
        (b"Content-Type: image/png\r\n\r\nbytes", ""),
        (b"Content-Type: text/html\r\n\r\n<p>in&#8203;&zwnj;visible&shy;", "invisible"),
    ],
)
def test_previews(data: bytes, wanted: str) -> None:
    assert first_words(data) == wanted


def test_a_preview_is_of_the_first_text_that_has_words() -> None:
    assert first_words(alternative("plain", "<p>rich")) == "plain"
    assert first_words(alternative("\n \n", "<p>rich")) == "rich"


def test_a_long_preview_ends_after_a_word() -> None:
    assert first_words(b"\r\n" + b"word " * 100, longest=12) == "word word"
    assert first_words(b"\r\n" + b"w" * 100, longest=12) == "w" * 12
