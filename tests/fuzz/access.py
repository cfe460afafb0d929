"""What mail access reads beside commands: subjects, references, patterns, stored envelopes, compressed streams."""

from __future__ import annotations

import zlib

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.base_subject import base_subject
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.partial import read_partial
from mailbox_app.proto.imap.patterns import Matcher
from mailbox_app.proto.imap.stored_envelope import read_date_and_subject, read_envelope
from mailbox_app.proto.imap.threads import (
    Threadable,
    by_references,
    first_message_id,
    message_ids,
    ordered_subject,
    thread_text,
)
from mailbox_app.services.imap.compression import PIECE_BYTES, CorruptStream, Deflate
from tests.fuzz.corpus import MAIL
from tests.fuzz.target import Target


def subject(data: bytes) -> None:
    """The base of a base is itself, as far as words are not encoded twice."""
    base, _ = base_subject(data)
    if base.isascii() and "=?" not in base and "\n" not in base:
        assert base_subject(base.encode("ascii"))[0] == base


def threads(data: bytes) -> None:
    """Each line is a message: its id, then its references. Every message is told once."""
    messages = []
    for number, line in enumerate(data.split(b"\n")):
        head, _, references = line.partition(b" ")
        base, is_reply = base_subject(references[-20:])
        messages.append(Threadable(number % 7, base, is_reply, first_message_id(head), tuple(message_ids(references))))
    for forest in (by_references(messages), ordered_subject(messages)):
        text = "".join(thread_text(forest, range(1, len(messages) + 1)))
        told = text.replace("(", " ").replace(")", " ").split()
        assert sorted(map(int, told)) == list(range(1, len(messages) + 1))


def patterns(data: bytes) -> None:
    """A pattern without wildcards matches itself only; the first line is the pattern."""
    pattern, *listed = data.decode("latin-1").split("\n")
    matcher = Matcher(pattern[:1_000])
    for name in listed[:20]:
        matched = matcher.matches(name[:250])
        if not {"*", "%"} & set(pattern) and pattern[:5].upper() != "INBOX" and len(pattern) <= 250:
            assert matched == (name[:250] == pattern)


def envelope(data: bytes) -> None:
    """Both readers see the same, whatever is stored."""
    whole = read_envelope(data)
    assert read_date_and_subject(data) == (whole.date, whole.subject) or whole.date is None


def partial(data: bytes) -> None:
    """A window is within the results."""
    try:
        found = read_partial(Cursor(data))
    except ProtocolError:
        return
    for count in (0, 1, 10):
        assert set(found.window(count)) <= set(range(count))


def deflate(data: bytes) -> None:
    """As a stream, and as what a stream is made of; pieces stay small and nothing is lost."""
    stream = Deflate()
    stream.take(data)
    try:
        while stream.waiting and len(stream.unpack()) <= PIECE_BYTES:
            continue
    except CorruptStream:
        pass
    stream = Deflate()
    packer = zlib.compressobj(wbits=-15)
    stream.take(packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))
    pieces = []
    while stream.waiting:
        pieces.append(stream.unpack())
        assert len(pieces[-1]) <= PIECE_BYTES
    assert b"".join(pieces) == data


TARGETS = (
    Target(
        "imap",
        "base subjects",
        subject,
        (b"Re: [list] Fwd: x (fwd)", b"[fwd: [fwd: a]]", b"re[2] : b", b"=?utf-8?q?Re=3A_x?=", b"[a][b] ", b" (fwd)"),
    ),
    Target(
        "imap",
        "threads",
        threads,
        (b"<a@b> <c@d>\n<c@d> <a@b>\n", b"<e@f> <a@b> <c@d>\n", b'<"x y"@z> < a@b >\n', b"\n", b"x Re: a\n"),
    ),
    Target("imap", "patterns", patterns, (b"a*b%c\naxb/c\n", b"inbox/%\nINBOX/a\nINBOX\n", b"*%" * 9, b"a/a\n", b"%")),
    Target(
        "imap",
        "stored envelopes",
        envelope,
        (
            b'("Mon, 5 Jan 2026 10:00:00 +0000" "a \\"b" (("n" NIL "m" "h")) NIL NIL NIL NIL NIL NIL "<i@d>")',
            b"(NIL {3}\r\na\xe9b ((NIL NIL NIL NIL)(",
        ),
    ),
    Target("imap", "partial ranges", partial, (b"1:10", b"-5:-1", b"4294967295:1", b"0:1", b"-1:1", b":,-")),
    Target("imap", "compressed streams", deflate, (b"\x03\x00", zlib.compress(b"a" * 9_000)[2:-4], b"\xff\x00", *MAIL)),
)
