from __future__ import annotations

import pytest

from mailbox_app.proto.message import scan
from mailbox_app.proto.mime import PartTable, read_content


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x05\x00\x00\x00", b"\xff\xff\xff\xff", b"\x01\x00\x00\x00" + b"x" * 10]
)
def test_what_is_no_table_is_told(data):
    with pytest.raises(ValueError, match="not a part table"):
        PartTable.decode(data)


def test_a_table_of_a_simple_message_is_small():
    assert len(scan(b"From: a\r\n\r\nx\r\n").parts) < 60


def test_parts_know_where_they_are():
    data = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n--a\r\n\r\ntwo\r\n--a--\r\n"
    table = PartTable.decode(scan(data).parts)
    root = table.find(())
    assert (root.is_multipart, root.children, root.is_message) == (True, 2, False)
    second = table.find([2])
    assert table.parent(second) == root
    assert table.parent(root) is None
    assert (second.content_type, second.encoding, second.lines) == (b"text/plain", b"7bit", 0)


@pytest.mark.parametrize(
    ("declared", "boundary"),
    [
        (b"multipart/mixed; boundary=abc", b"abc"),
        (b'multipart/mixed; boundary="a b:c;d "', b"a b:c;d"),
        (b"multipart/mixed (x) ; charset=y; BOUNDARY = abc (z)", b"abc"),
        (b"multipart/mixed; boundary*0=ab; boundary*1=c", b"abc"),
        (b"multipart/mixed; boundary=" + b"x" * 1_001, None),
        (b"text/plain; boundary=abc", None),
    ],
)
def test_boundaries(declared, boundary):
    assert read_content({b"content-type": declared}).boundary == boundary


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        (b"Base64", b"base64"),
        (b" (x) quoted-printable; y", b"quoted-printable"),
        (b"", b"7bit"),
        (b"\xff\xff", b"7bit"),
    ],
)
def test_encodings(declared, encoding):
    assert read_content({b"content-transfer-encoding": declared}).encoding == encoding
