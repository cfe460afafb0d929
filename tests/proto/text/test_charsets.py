from __future__ import annotations

from encodings.aliases import aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.text.charsets import codec_of, decoder

NAMES = sorted({*aliases, *aliases.values(), "x-unknown", "", "us-ascii", "iso-8859-8-i", "x-sjis", "ks_c_5601-1987"})


def decode(charset: str, data: bytes, piece_length: int) -> str:
    decode = decoder(charset).decode
    pieces = [decode(data[start : start + piece_length]) for start in range(0, len(data), piece_length)]
    return "".join(pieces) + decode(b"", True)


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("UTF-8", "utf-8"),
        ("iso-8859-1", "cp1252"),
        ("ISO-8859-15", "iso8859-15"),
        ("koi8-r", "koi8-r"),
        ("windows-1251", "cp1251"),
        ("gb2312", "gbk"),
        ("GB18030", "gb18030"),
        ("Shift_JIS", "cp932"),
        ("iso-2022-jp", "iso2022-jp"),
        ("ks_c_5601-1987", "cp949"),
        ("big5", "big5"),
        ("utf-16", "utf-16"),
        ("utf-7", "utf-7"),
        ("macintosh", "mac-roman"),
    ],
)
@pytest.mark.parametrize("piece_length", [1, 2, 5, 100])
def test_known_charsets(charset: str, codec: str, piece_length: int) -> None:
    for text in ("Grüße äöü", "привет мир", "日本語テスト", "中文字符", "한국어 글"):
        try:
            data = text.encode(codec)
        except UnicodeEncodeError:
            continue
        assert decode(charset, data, piece_length) == text


@pytest.mark.parametrize("charset", ["", "us-ascii", "x-nobody-knows", "idna", "zlib", "unicode_escape", "rot13"])
def test_text_that_does_not_say_is_utf_8_or_windows(charset: str) -> None:
    assert decode(charset, "na\u00efve \u2013 ok".encode(), 3) == "na\u00efve \u2013 ok"
    assert decode(charset, "na\xefve \x96 ok".encode("latin-1"), 100) == "na\xefve \u2013 ok"


def test_broken_utf_8_that_says_so_keeps_its_good_letters() -> None:
    assert decode("utf-8", b"caf\xc3\xa9 \xff caf\xc3\xa9", 4) == "café \ufffd café"


def test_a_shift_sequence_without_end_is_not_kept_for_ever() -> None:
    text = decode("utf-7", b"+" + b"AGEA" * 500_000, 65_536)
    assert len(text) > 400_000


@pytest.mark.parametrize("piece_length", [1, 3, 100])
def test_utf_16_without_a_byte_order_mark_has_the_networks_order(piece_length: int) -> None:
    assert decode("utf-16", "Grüße".encode("utf-16-be"), piece_length) == "Grüße"
    assert decode("utf-32", "Grüße".encode("utf-32"), piece_length) == "Grüße"
    assert decode("utf-16", b"\0", 1) == "\ufffd"


@given(st.sampled_from(NAMES), st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_in_any_charset_fail(charset: str, data: bytes, piece_length: int) -> None:
    decode(charset, data, piece_length)


@given(st.text())
def test_no_name_fails(name: str) -> None:
    codec_of(name)
    decoder(name).decode(b"\xff\x00a", True)
