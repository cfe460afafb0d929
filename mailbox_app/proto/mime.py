"""MIME parts: what a part's header says about it, and the table of byte ranges kept with every message.

The table is made once at delivery and stored beside the message, so that fetching one attachment of a large message
reads only its bytes. Its encoding is private to this module: fixed rows, then the types as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError

from mailbox_app.proto.parameters import Parameters, parse_parameters, strip_comments

# header start, body start, body end, lines, parent row (NO_PARENT for the message), children
_ROW = Struct("<QQQIII")
_COUNT = Struct("<I")
NO_PARENT = 0xFFFFFFFF
_MAX_LINES = 0xFFFFFFFF

CONTENT_FIELDS = frozenset(
    (
        b"content-type",
        b"content-transfer-encoding",
        b"content-id",
        b"content-description",
        b"content-disposition",
        b"content-language",
        b"content-location",
    )
)

_TYPE = re.compile(rb"([!#$%&'*+.^_`{|}~0-9a-z-]{1,127})\s*/\s*([!#$%&'*+.^_`{|}~0-9a-z-]{1,127})")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`{|}~0-9A-Za-z-]+")
# RFC 2046 5.1.1 allows 70 characters; longer ones exist, endless ones do not.
MAX_BOUNDARY = 1_000


@dataclass(slots=True)
class Content:
    """What the header of a part says about its body, with the defaults of RFC 2045 5.2 filled in."""

    major: bytes
    minor: bytes
    parameters: Parameters
    encoding: bytes
    content_id: bytes | None
    description: bytes | None
    disposition: tuple[bytes, Parameters] | None
    languages: Sequence[bytes]
    location: bytes | None
    boundary: bytes | None
    """Of a multipart only."""

    @property
    def is_message(self) -> bool:
        """Whether the body is a message of its own. RFC 2046 5.2.1, RFC 6532 3.7."""
        return self.major == b"message" and self.minor in (b"rfc822", b"global")


PLAIN_TEXT: tuple[bytes, bytes, Parameters] = (b"text", b"plain", ((b"charset", b"us-ascii"),))
DIGEST_DEFAULT: tuple[bytes, bytes, Parameters] = (b"message", b"rfc822", ())


def _boundary(parameters: Parameters) -> bytes | None:
    for name, value in parameters:
        if name == b"boundary":
            value = value.rstrip()  # a delimiter line cannot tell trailing white space
            return value if 0 < len(value) <= MAX_BOUNDARY and b"\n" not in value else None
    return None


def _encoding(value: bytes | None) -> bytes:
    token = _TOKEN.match(strip_comments(value).lstrip()) if value else None
    return token[0].lower() if token else b"7bit"


def _disposition(value: bytes | None) -> tuple[bytes, Parameters] | None:
    if not value:
        return None
    main, parameters = parse_parameters(value)
    return (main, parameters) if main else None


def read_content(fields: Mapping[bytes, bytes], *, in_digest: bool = False) -> Content:
    """Read the content fields (unfolded first values by lower-case name) of one part."""
    boundary = None
    declared = fields.get(b"content-type")
    if not declared:
        major, minor, parameters = DIGEST_DEFAULT if in_digest else PLAIN_TEXT
    else:
        main, parameters = parse_parameters(declared)
        match = _TYPE.fullmatch(main)
        if match is None:
            major, minor, parameters = PLAIN_TEXT
        else:
            major, minor = match.groups()
            if major == b"multipart":
                boundary = _boundary(parameters)
                if boundary is None:
                    major, minor, parameters = PLAIN_TEXT
            elif major == b"text" and minor == b"plain" and not any(name == b"charset" for name, _ in parameters):
                parameters = (*parameters, (b"charset", b"us-ascii"))
    language = fields.get(b"content-language")
    return Content(
        major,
        minor,
        parameters,
        _encoding(fields.get(b"content-transfer-encoding")),
        fields.get(b"content-id"),
        fields.get(b"content-description"),
        _disposition(fields.get(b"content-disposition")),
        _TOKEN.findall(strip_comments(language))[:20] if language else (),
        fields.get(b"content-location"),
        boundary,
    )


@dataclass(slots=True)
class Row:
    """One part while a message is scanned."""

    header_start: int
    body_start: int
    body_end: int
    lines: int
    parent: int
    children: int
    content_type: bytes
    encoding: bytes


def encode_rows(rows: Sequence[Row]) -> bytes:
    """The stored form of a part table."""
    out = [_COUNT.pack(len(rows))]
    for row in rows:
        lines = min(row.lines, _MAX_LINES)
        out.append(_ROW.pack(row.header_start, row.body_start, row.body_end, lines, row.parent, row.children))
    out.append(b"\n".join([b"%b\t%b" % (row.content_type, row.encoding) for row in rows]))
    return b"".join(out)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message as byte ranges of its file."""

    index: int
    """Its row in the table."""
    header_start: int
    body_start: int
    """Also the end of the part's header, its empty line included."""
    body_end: int
    lines: int
    """Line ends in the body."""
    content_type: bytes
    """Lower case, such as `text/plain`."""
    encoding: bytes
    """The content transfer encoding in lower case."""
    is_message: bool
    """The body is a message (message/rfc822); `PartTable.embedded` gives it."""
    children: int
    """Sub-parts of a multipart; 1 for a message/rfc822; 0 for a leaf."""

    @property
    def is_multipart(self) -> bool:
        """Whether the body is made of parts."""
        return self.content_type.startswith(b"multipart/")


class PartTable:
    """The parts of one message, decoded from its stored form."""

    __slots__ = ("_count", "_data", "_types")

    def __init__(self, data: bytes, count: int, types: Sequence[bytes]) -> None:
        self._data = data
        self._count = count
        self._types = types

    @classmethod
    def decode(cls, data: bytes) -> PartTable:
        """Read the stored form; raises ValueError when it is none."""
        try:
            (count,) = _COUNT.unpack_from(data)
            types = data[_COUNT.size + count * _ROW.size :].split(b"\n")
        except StructError as error:
            raise ValueError("not a part table") from error
        if len(types) != count or len(data) < _COUNT.size + count * _ROW.size:
            raise ValueError("not a part table")
        return cls(data, count, types)

    def __len__(self) -> int:
        return self._count

    def part(self, index: int) -> Part:
        """The part of one row; row 0 is the message itself."""
        fields = _ROW.unpack_from(self._data, _COUNT.size + index * _ROW.size)
        header_start, body_start, body_end, lines, _, children = fields
        content_type, _, encoding = self._types[index].partition(b"\t")
        is_message = children == 1 and content_type in (b"message/rfc822", b"message/global")
        return Part(index, header_start, body_start, body_end, lines, content_type, encoding, is_message, children)

    def child(self, part: Part, number: int) -> Part | None:
        """The sub-part with that number, counted from 1."""
        if not 1 <= number <= part.children:
            return None
        seen = 0
        for index in range(part.index + 1, self._count):
            if self._parent(index) == part.index:
                seen += 1
                if seen == number:
                    return self.part(index)
        return None

    def _parent(self, index: int) -> int:
        parent: int = _ROW.unpack_from(self._data, _COUNT.size + index * _ROW.size)[4]
        return parent

    def parent(self, part: Part) -> Part | None:
        """The part that holds this one."""
        index = self._parent(part.index)
        return None if index == NO_PARENT else self.part(index)

    def embedded(self, part: Part) -> Part | None:
        """The message inside a message/rfc822 part: its own header and body."""
        return self.child(part, 1) if part.is_message else None

    def find(self, section: Sequence[int]) -> Part | None:
        """The part with those IMAP part numbers; () is the message itself. RFC 9051 6.4.5.1.

        Part 1 of a message that is no multipart is that message's body.
        """
        part = self.part(0)
        holds_message = True
        for number in section:
            inner = part if holds_message else self.embedded(part)
            container = inner or part
            if container.is_multipart:
                found = self.child(container, number)
            else:
                found = container if inner is not None and number == 1 else None
            if found is None:
                return None
            part = found
            holds_message = False
        return part
