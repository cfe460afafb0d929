import base64
import quopri
from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.transfer_decoding import transfer_decoder


def decode(encoding: bytes, pieces: list[bytes]) -> bytes:
    decoder = transfer_decoder(encoding)
    assert decoder is not None
    return b"".join([*map(decoder.feed, pieces), decoder.finish()])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    cuts = sorted(place % (len(data) + 1) for place in places)
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def by_the_library(encoding: str, body: bytes) -> bytes:
    message = message_from_bytes(f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body)
    payload = message.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


@given(st.binary(max_size=500), st.lists(st.integers(0, 1000), max_size=6))
def test_base64_gives_what_was_encoded_however_it_is_cut(data: bytes, places: list[int]) -> None:
    body = base64.encodebytes(data).replace(b"\n", b"\r\n")
    assert decode(b"base64", cut(body, places)) == data == by_the_library("base64", body)


@given(st.binary(max_size=500), st.lists(st.integers(0, 1000), max_size=6))
def test_quoted_printable_gives_what_was_encoded_however_it_is_cut(data: bytes, places: list[int]) -> None:
    body = quopri.encodestring(data, quotetabs=True)
    assert decode(b"quoted-printable", cut(body, places)) == by_the_library("quoted-printable", body)


@given(st.binary(max_size=300), st.lists(st.integers(0, 600), max_size=6), st.sampled_from([b"base64", b"8bit"]))
def test_no_bytes_fail_and_cuts_never_matter(data: bytes, places: list[int], encoding: bytes) -> None:
    assert decode(encoding, cut(data, places)) == decode(encoding, [data])


@given(st.lists(st.sampled_from([b"=", b"=4", b"1", b" ", b"\t", b"\r\n", b"\n", b"a", b"=\r\n"]), max_size=60))
def test_hostile_quoted_printable_may_be_cut_anywhere(words: list[bytes]) -> None:
    data = b"".join(words)
    assert decode(b"quoted-printable", [data[i : i + 1] for i in range(len(data))]) == decode(
        b"quoted-printable", [data]
    )


@pytest.mark.parametrize(
    ("encoding", "body", "wanted"),
    [
        (b"base64", b"aGVsbG8=aGVsbG8=", b"hello"),
        (b"base64", b"aGV\x00s-bG8", b"hello"),
        (b"base64", b"aGVsb", b"hel"),
        (b"quoted-printable", b"white  \r\nsoft= \r\nbreak=3D\r\n", b"white\r\nsoftbreak=\r\n"),
        (b"quoted-printable", b"bad =ZZ escape=", b"bad =ZZ escape"),
        (b"binary", b"a\0b", b"a\0b"),
    ],
)
def test_decoding(encoding: bytes, body: bytes, wanted: bytes) -> None:
    assert decode(encoding, [body]) == wanted


def test_an_endless_quoted_line_is_not_kept() -> None:
    decoder = transfer_decoder(b"quoted-printable")
    assert decoder is not None
    given_out = sum(len(decoder.feed(b"ab=41" * 10_000)) for _ in range(20))
    assert given_out > 500_000
    assert given_out + len(decoder.finish()) == 20 * 30_000


def test_an_unknown_encoding_has_no_decoder() -> None:
    assert transfer_decoder(b"x-uuencode") is None
