"""What comes in at the doors beside mail: ManageSieve, PROXY headers, mended line ends."""

from __future__ import annotations

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.framing import Announced, Complete, Framer, FramingLimits
from mailbox_app.proto.managesieve.answers import answer, string
from mailbox_app.proto.managesieve.grammar import parse, parse_string
from mailbox_app.proto.proxy_header import MAX_BYTES, SIGNATURE
from mailbox_app.proto.proxy_header import parse as parse_proxy
from mailbox_app.proto.smtp.line_repair import LineRepair
from tests.fuzz.target import Target

_LIMITS = FramingLimits(line_bytes=200, literal_bytes=300, command_bytes=600, literals=4)


def commands(data: bytes) -> None:
    """Framed the same for every cut; a command's strings come back when they are said again."""
    found = []
    for step in (len(data) + 1, 1, 3):
        framer, seen = Framer(_LIMITS), []
        for start in range(0, len(data), step):
            framer.feed(data[start : start + step])
            while (event := framer.next_event()) is not None:
                if isinstance(event, Announced):
                    framer.collect()
                elif isinstance(event, Complete):
                    seen.append(event.data)
        found.append(seen)
    if len(data) <= _LIMITS.line_bytes:
        assert found[0] == found[1] == found[2]
    for command in found[0]:
        read_command(command)


def read_command(command: bytes) -> None:
    try:
        request = parse(command)
        while request.has_more:
            said = request.string()
            written = string(said)
            if not written.startswith(b"{"):
                assert parse_string(written) == said
    except ProtocolError as error:
        written = answer("NO", error.public_text)
        assert written.count(b"\n") == 1


def proxy_header(data: bytes) -> None:
    try:
        header = parse_proxy(data)
    except ProtocolError:
        return
    if header is None:
        assert len(data) < MAX_BYTES
        return
    assert parse_proxy(data[: header.length]) == header
    assert parse_proxy(data[: header.length - 1]) is None


def line_repair(data: bytes) -> None:
    texts = []
    for step in (len(data) + 1, 1, 2):
        repair = LineRepair()
        pieces = [repair.chunk(data[start : start + step]) for start in range(0, len(data), step)]
        texts.append(b"".join(pieces) + repair.end())
    assert texts[0] == texts[1] == texts[2]
    assert texts[0].count(b"\r") == texts[0].count(b"\n") == texts[0].count(b"\r\n")
    assert texts[0].split() == data.split()


TARGETS = (
    Target(
        "managesieve",
        "ManageSieve commands",
        commands,
        (
            b'AUTHENTICATE "PLAIN" "AGFsaWNlAHNlY3JldA=="\r\n',
            b'PUTSCRIPT "main" {7+}\r\nkeep;\r\n\r\nHAVESPACE {1+}\r\nx 4294967295\r\n',
            b'NOOP "a\\"b\\\\"\r\nCHECKSCRIPT {3}\r\nabc\r\nLOGOUT\r\n',
        ),
    ),
    Target(
        "managesieve",
        "PROXY headers",
        proxy_header,
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\nEHLO x\r\n",
            b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n",
            b"PROXY UNKNOWN ffff::1\r\n",
            SIGNATURE + b"\x21\x11\x00\x0f\xc0\x00\x02\x07\xc6\x33\x64\x01\x00\x01\x00\x19\x04\x00\x00EHLO",
            SIGNATURE + b"\x20\x00\x00\x00",
        ),
    ),
    Target("smtp", "mended line ends", line_repair, (b"a\r\nb\nc\rd\r\r\n\n.\r.", b"\r", b"\n\r\n.\r\n")),
)
