"""What checks read of a message: parts, text, links, files, words."""

from __future__ import annotations

import base64
import io
import zipfile

from mailbox_app.policy.content import MAX_FILES, TEXT_CHARACTERS, Source, read_content
from mailbox_app.policy.files import MAX_NAMES, read_file
from mailbox_app.policy.identity import of_stored
from mailbox_app.policy.links import domains_of, hosts_of, is_mixed, misleading
from mailbox_app.policy.words import words_of
from mailbox_app.proto.header import Header, header_end
from mailbox_app.proto.mime import Part
from mailbox_app.proto.text.html_links import MAX_LINKS, read_html
from tests.fuzz.corpus import MAIL
from tests.fuzz.target import Target

_HTML = (
    b"<p>Hi <a href='https://x.example/?a&amp;b'>www.bank.com</a><!-- <a href=no> --><script>x</script>",
    b'<a href=//evil.com>a</a><form action="http://x.example">&#x41;&copy',
    b"From: a@b.example\r\nContent-Type: text/html\r\n\r\n<p>&#" + b"9" * 5_000 + b";",
)
_PACKED = io.BytesIO()
with zipfile.ZipFile(_PACKED, "w") as _archive:
    _archive.writestr("a.exe", b"MZ" * 20)
    _archive.writestr("b/\xfc.txt", b"x")
_ZIP = _PACKED.getvalue()


def content(data: bytes) -> None:
    """Nothing raises, everything is bounded."""
    end = header_end(data)
    header = Header.parse(data[:end])
    found = read_content(Source(data[:end], data[end:], len(data)), header)
    assert len(found.text) <= TEXT_CHARACTERS
    assert len(found.files) <= MAX_FILES
    words = words_of(header, found.text, domains_of(found), found.kinds)
    assert len(words) == len(set(words)) < 500
    misleading(found)
    for host in hosts_of(found):
        assert host.isascii()
        is_mixed(host)
    of_stored(header, "mail.example.org")


def links(data: bytes) -> None:
    """Text never grows beyond what entities can make of it."""
    text = data.decode("utf-8", "replace")
    plain, found = read_html(text)
    assert len(found) <= MAX_LINKS
    assert len(plain) <= len(text) + 2


def archive(data: bytes) -> None:
    """A file that says it is an archive: its names, or nothing."""
    encoded = base64.encodebytes(b"PK\x03\x04" + data.removeprefix(b"PK\x03\x04"))
    part = Part(0, 0, 0, len(encoded), 1, b"application/zip", b"base64", False, 0)
    found = read_file(lambda offset, size: encoded[offset : offset + size], part, "a.zip")
    assert len(found.inner) <= MAX_NAMES


TARGETS = (
    Target("mail", "archives", archive, (_ZIP, _ZIP[:30], _ZIP[-22:], b"PK\x06\x06" + b"\xff" * 52, b"PK\x01\x02" * 9)),
    Target("mail", "content", content, (*MAIL, *_HTML)),
    Target("mail", "links", links, _HTML),
)
