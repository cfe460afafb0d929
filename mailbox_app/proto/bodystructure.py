"""The IMAP values BODY and BODYSTRUCTURE of one part, built from the finished values of its sub-parts.

Each function returns the pair (BODY, BODYSTRUCTURE). RFC 9051 7.5.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.proto.envelope import NIL, imap_nstring, imap_string
from mailbox_app.proto.mime import Content
from mailbox_app.proto.parameters import Parameters

Rendering = tuple[bytes, bytes]

# What stands for the missing parts of a multipart without any: the grammar wants at least one.
EMPTY_PART: Rendering = (
    b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)',
    b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)',
)


def _parameters(parameters: Parameters) -> bytes:
    if not parameters:
        return NIL
    return b"(%b)" % b" ".join([b"%b %b" % (imap_string(name), imap_string(value)) for name, value in parameters])


def _extension(content: Content) -> bytes:
    """Disposition, language and location, as both kinds of part end."""
    if content.disposition is None and not content.languages and content.location is None:
        return b"NIL NIL NIL"
    disposition = NIL
    if content.disposition is not None:
        kind, parameters = content.disposition
        disposition = b"(%b %b)" % (imap_string(kind), _parameters(parameters))
    languages = b"(%b)" % b" ".join(map(imap_string, content.languages)) if content.languages else NIL
    return b"%b %b %b" % (disposition, languages, imap_nstring(content.location))


def _fields(content: Content, size: int) -> bytes:
    return b"%b %b %b %b %b %b %d" % (
        imap_string(content.major),
        imap_string(content.minor),
        _parameters(content.parameters),
        imap_nstring(content.content_id),
        imap_nstring(content.description),
        imap_string(content.encoding),
        size,
    )


def render_leaf(content: Content, size: int, lines: int) -> Rendering:
    """A part without parts; only text has its lines told."""
    fields = _fields(content, size)
    if content.major == b"text":
        fields = b"%b %d" % (fields, lines)
    return b"(%b)" % fields, b"(%b NIL %b)" % (fields, _extension(content))


def render_message(content: Content, size: int, lines: int, envelope: bytes, inner: Rendering) -> Rendering:
    """A part that is a message: its envelope and structure are told too."""
    fields = _fields(content, size)
    body, structure = inner
    extension = _extension(content)
    return (
        b"(%b %b %b %d)" % (fields, envelope, body, lines),
        b"(%b %b %b %d NIL %b)" % (fields, envelope, structure, lines, extension),
    )


def render_multipart(content: Content, bodies: Sequence[bytes], structures: Sequence[bytes]) -> Rendering:
    """A part made of parts."""
    minor = imap_string(content.minor)
    return (
        b"(%b %b)" % (b"".join(bodies), minor),
        b"(%b %b %b %b)" % (b"".join(structures), minor, _parameters(content.parameters), _extension(content)),
    )
