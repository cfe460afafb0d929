"""The text of a message, part by part: what the search index holds and what SEARCH checks, letter for letter.

Header fields come with their encoded words decoded, bodies of text parts decoded from transfer encoding and charset, HTML
as text. Parts that are attachments or no text give only their headers, where the names of files are. A message in a
message is read like the message itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mailbox_app.proto.address_list import parse_address_items
from mailbox_app.proto.header import Header, decode_text, decode_words, unfold
from mailbox_app.proto.mime import CONTENT_FIELDS, Content, Part, PartTable, read_content
from mailbox_app.proto.parameters import Parameters
from mailbox_app.proto.text.charsets import decoder
from mailbox_app.proto.text.html_text import HtmlText
from mailbox_app.proto.transfer_decoding import transfer_decoder

Read = Callable[[int, int], bytes]
"""(offset, size) to the bytes there; fewer at the end of the file."""

_PIECE_BYTES = 1 << 16
ADDRESS_FIELDS = frozenset({b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"})
HEADER_BYTES = 1 << 20
"""Read of one header: more is nobody's subject."""


def header_text(block: bytes) -> str:
    """A header block as lines of "name: value", readable."""
    return _lines(Header.parse(block))


def _lines(header: Header) -> str:
    lines = [f"{field.name.decode('latin-1')}: {decode_words(field.value)}" for field in header.fields]
    lines += [plain_addresses(f.value) for f in header.fields if f.key in ADDRESS_FIELDS and b"(" in f.value]
    return "\n".join(lines)


def plain_addresses(value: bytes) -> str:
    """The mailboxes of a header field as `name <local@domain>`, without the comments that may stand anywhere in them."""
    shown = []
    for name, local, domain, _ in parse_address_items(unfold(value)):
        if local is not None and domain is not None:
            address = decode_words(b"%b@%b" % (local, domain))
            shown.append(f"{decode_words(name)} <{address}>" if name else address)
    return ", ".join(shown)


def body_texts(read: Read, table: PartTable) -> Iterator[Iterator[str]]:
    """The text below the message's own header: for each header and each body its pieces, which belong together.

    Take the pieces of one text before asking for the next.
    """
    for index in range(len(table)):
        part = table.part(index)
        header = Header.parse(read_header(read, part))
        content = content_of(header)
        if index:
            yield iter((_part_header(header, content),))
        if is_readable(part, content):
            yield part_text(read, part, content)


def read_header(read: Read, part: Part) -> bytes:
    """The header block of a part; of an endless one the beginning."""
    return read(part.header_start, min(part.body_start - part.header_start, HEADER_BYTES))


def content_of(header: Header) -> Content:
    """What a header says about its body."""
    fields: dict[bytes, bytes] = {}
    for field in header.fields:
        if field.key in CONTENT_FIELDS and field.key not in fields:
            fields[field.key] = unfold(field.value)
    return read_content(fields)


def is_readable(part: Part, content: Content) -> bool:
    """Whether its body is text for people: a text part that is no attachment."""
    if not part.content_type.startswith(b"text/"):
        return False
    return not part.index or content.disposition is None or content.disposition[0] != b"attachment"


def part_text(read: Read, part: Part, content: Content) -> Iterator[str]:
    """The decoded body in pieces, lines ended by LF."""
    decode = decoder(_charset(content.parameters)).decode
    transfer = transfer_decoder(part.encoding) or transfer_decoder(b"binary")
    assert transfer is not None
    html = HtmlText() if part.content_type == b"text/html" else None
    position = part.body_start
    while position < part.body_end:
        piece = read(position, min(_PIECE_BYTES, part.body_end - position))
        position += len(piece)
        final = not piece or position >= part.body_end
        data = transfer.feed(piece)
        text = decode(data + transfer.finish() if final else data, final)
        if html is not None:
            yield html.feed(text, final)
        else:
            yield text.replace("\r", "") if "\r" in text else text
        if not piece:  # the file is shorter than its table says
            break


def _charset(parameters: Parameters) -> str:
    for name, value in parameters:
        if name == b"charset":
            return value.decode("latin-1")
    return ""


def _part_header(header: Header, content: Content) -> str:
    """The header's lines, and the names of files that hide in extended parameters."""
    names = [
        extended_value(value)
        for parameters in (content.parameters, content.disposition[1] if content.disposition else ())
        for name, value in parameters
        if name in (b"name*", b"filename*")
    ]
    return "\n".join([_lines(header), *names])


def extended_value(value: bytes) -> str:
    """The value of `name*=charset'language'percent-encoded`. RFC 2231 4."""
    charset, _, rest = value.partition(b"'")
    first, *others = rest.partition(b"'")[2].split(b"%")
    pieces = [first]
    for piece in others:
        try:
            pieces.append(bytes.fromhex(piece[:2].decode("ascii")) + piece[2:])
        except ValueError:
            pieces.append(b"%" + piece)
    return decode_text(b"".join(pieces), charset.decode("latin-1"))
