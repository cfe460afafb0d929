"""Sections of stored messages: against a slow reader, against the email library, and with hostile structure."""

import base64
import email
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailbox_app.proto.header import Header, header_end
from mailbox_app.proto.imap.fetch import Body, Kind, parse_fetch
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.message import scan
from mailbox_app.proto.mime import PartTable
from mailbox_app.services.imap.binary_content import without_nul
from mailbox_app.services.imap.bodies import Section, UnknownEncoding, find_section, header_answer
from tests.proto.test_message import _FRAGMENTS


def item(text: bytes) -> Body:
    (found,) = parse_fetch(Cursor(text)).items
    assert isinstance(found, Body)
    return found


@contextmanager
def stored(data: bytes) -> Iterator[int]:
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(data)
        yield file.fileno()


def value(found: Section) -> bytes:
    data = b"".join(found.pieces())
    assert len(data) == found.size
    return data


LINES = [b"From: a\r\n", b"FROM : b\r\n", b" folded\r\n", b"\tfolded\r\n", b"To:c\r\n", b"Fromm: d\r\n", b"X-From: e\r\n", b"\r\n",
    b"no field\r\n", b"subject: f\n", b"date:\r\n", b"From: cut"]  # fmt: skip


@given(
    st.lists(st.sampled_from(LINES), max_size=12),
    st.sets(st.sampled_from([b"from", b"to", b"subject", b"x-from"]), min_size=1),
)
def test_fields_are_found_as_a_slow_reader_finds_them(lines: list[bytes], names: set[bytes]) -> None:
    block = b"".join(lines).lstrip(b"\r\n \t")
    block = block[: header_end(block)]
    wanted = b"".join(block[f.start : f.end] for f in Header.parse(block).fields if f.key in names)
    if not wanted.endswith(b"\n") and wanted:
        wanted += b"\r\n"
    asked = item(b"BODY.PEEK[HEADER.FIELDS (%b)]" % b" ".join(sorted(names)))
    length, _, answer = header_answer(asked)(block).partition(b"\r\n")
    assert answer == wanted + b"\r\n"
    assert length == b"{%d}" % len(answer)


def test_names_that_look_like_patterns_find_only_themselves() -> None:
    block = b"a.b: 1\r\naxb: 2\r\n]x: 3\r\n-y: 4\r\n\r\n"
    assert header_answer(item(b'BODY.PEEK[HEADER.FIELDS ("a.b" "]X" "-y")]'))(block).endswith(
        b"a.b: 1\r\n]x: 3\r\n-y: 4\r\n\r\n"
    )
    assert header_answer(item(b'BODY.PEEK[HEADER.FIELDS ("")]'))(block) == b"{2}\r\n\r\n"


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.integers(0, 250), st.integers(1, 250))
def test_decoded_parts_are_what_the_library_reads(bodies: list[bytes], offset: int, count: int) -> None:
    parts = b"".join(
        b"--x\r\nContent-Transfer-Encoding: base64\r\n\r\n%b\r\n" % base64.encodebytes(body).replace(b"\n", b"\r\n")
        for body in bodies
    )
    data = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" + parts + b"--x--\r\n"
    table = PartTable.decode(scan(data).parts)
    library = email.message_from_bytes(data).get_payload()
    with stored(data) as descriptor:
        for number, part in enumerate(library, 1):
            wanted = part.get_payload(decode=True)
            found = find_section(descriptor, item(b"BINARY.PEEK[%d]" % number), table)
            assert found is not None
            assert value(found) == wanted == bodies[number - 1]
            assert found.holds_nul == (b"\0" in bodies[number - 1])
            cut = find_section(descriptor, item(b"BINARY.PEEK[%d]<%d.%d>" % (number, offset, count)), table)
            assert cut is not None
            assert value(cut) == bodies[number - 1][offset : offset + count]


def test_a_large_part_is_decoded_in_pieces() -> None:
    body = random.Random(1).randbytes(2_000_000)
    data = b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(body)
    table = PartTable.decode(scan(data).parts)
    with stored(data) as descriptor:
        found = find_section(descriptor, item(b"BINARY.PEEK[1]"), table)
        assert found is not None
        assert found.holds_nul
        assert value(found) == body
        assert max(map(len, found.pieces())) < 300_000
        cut = find_section(descriptor, item(b"BINARY.PEEK[1]<1234567.300000>"), table)
        assert cut is not None
        assert value(cut) == body[1_234_567:1_534_567]


SECTIONS = [
    b"1",
    b"2",
    b"1.1",
    b"2.1",
    b"1.MIME",
    b"1.HEADER",
    b"1.TEXT",
    b"HEADER",
    b"TEXT",
    b"",
    b"3.2.1",
    b"HEADER.FIELDS (X)",
]


@given(
    st.lists(st.sampled_from(_FRAGMENTS), max_size=60), st.sampled_from(SECTIONS), st.sampled_from([b"BODY", b"BINARY"])
)
def test_no_structure_breaks_a_section(fragments: list[bytes], section: bytes, kind: bytes) -> None:
    data = b"".join(fragments)
    table = PartTable.decode(scan(data).parts)
    with stored(data) as descriptor:
        try:
            found = find_section(descriptor, item(b"%b.PEEK[%b]" % (kind, section)), table)
        except UnknownEncoding:
            assert kind == b"BINARY"
            return
        if found is not None:
            whole = value(found)
            if kind == b"BODY" and not section.startswith(b"HEADER.FIELDS"):
                assert whole in data


@given(st.lists(st.binary(max_size=120), min_size=1, max_size=3))
def test_binary_parts_come_back_as_they_were_sent(bodies: list[bytes]) -> None:
    bodies = [body.replace(b"\n--", b"\n__") for body in bodies]
    parts = b"".join(
        b"--=x=\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: BINARY\r\n\r\n%b\r\n" % b for b in bodies
    )
    data = b'Content-Type: multipart/mixed; boundary="=x="\r\n\r\n' + parts + b"--=x=--\r\n"
    with tempfile.TemporaryFile(buffering=0) as source:
        source.write(data)
        converted = without_nul(source, None)
        assert converted is not None
        with converted:
            text = os.pread(converted.fileno(), 1 << 20, 0)
            assert b"\0" not in text
            table = PartTable.decode(scan(text).parts)
            for number, body in enumerate(bodies, 1):
                found = find_section(converted.fileno(), item(b"BINARY.PEEK[%d]" % number), table)
                assert found is not None
                assert value(found) == body


@pytest.mark.parametrize("data", [b"a\0: b\r\n\r\n", b"Content-Transfer-Encoding: base64\r\n\r\na\0"])
def test_nul_elsewhere_is_refused(data: bytes) -> None:
    with tempfile.TemporaryFile(buffering=0) as source:
        source.write(data)
        assert without_nul(source, None) is None


def test_a_lone_binary_body_is_encoded() -> None:
    with tempfile.TemporaryFile(buffering=0) as source:
        source.write(b"Subject: x\r\n\r\na\0b")
        converted = without_nul(source, None)
        assert converted is not None
        with converted:
            assert os.pread(converted.fileno(), 100, 0) == (
                b"Subject: x\r\nContent-Transfer-Encoding: base64\r\n\r\nYQBi\r\n"
            )


def test_kinds_cover_the_grammar() -> None:
    assert {item(b"BODY[%b]" % each).kind for each in SECTIONS} == set(Kind) - {Kind.FIELDS_NOT}
