"""What a message holds, parsed once for all checks: its parts, the beginning of its text, its links, its files.

`content_of(facts, offload)` makes it at the first wish and keeps it in `MessageFacts.derived`; small messages are read where
they are, large ones in a thread. Nothing here fails, whatever the bytes are, and everything is bounded: 64 KB of text, 300
parts, 200 links, 50 files. `Source` reads a message's bytes from several threads without their disturbing each other.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from mailbox_app.db.offload import Offload
from mailbox_app.policy.facts import MessageFacts
from mailbox_app.policy.files import AttachedFile, read_file
from mailbox_app.proto.header import Header, decode_words_as_they_are
from mailbox_app.proto.message import MessageScanner
from mailbox_app.proto.mime import Content as Described
from mailbox_app.proto.mime import Part, PartTable
from mailbox_app.proto.parameters import Parameters
from mailbox_app.proto.text.html_links import Link, read_html
from mailbox_app.proto.text.message import content_of as described
from mailbox_app.proto.text.message import extended_value, is_readable, part_text, read_header

TEXT_CHARACTERS = 65_536
MAX_PARTS = 300
MAX_DEPTH = 20
MAX_FILES = 50
INLINE_BYTES = 65_536
"""Up to here parsing takes about a millisecond and a thread costs more than it saves."""
_PIECE_BYTES = 65_536
_NAME_CHARACTERS = 255
_MAX_URLS = 200
_URL = re.compile(r"\b(?:https?://|www\.)[^\s<>\"'\])}]{3,2000}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Content:
    """The parsed message."""

    text: str
    """Of all readable parts, HTML with its markup taken out; at most `TEXT_CHARACTERS`."""
    links: Sequence[Link]
    """Of HTML parts."""
    urls: Sequence[str]
    """Found in the text itself."""
    files: Sequence[AttachedFile]
    kinds: Sequence[str]
    """The content type of every part, in order."""
    part_count: int
    too_many_parts: bool
    """At `MAX_PARTS` the rest was left unread."""


class Source:
    """A message as one run of bytes: header block, then body."""

    def __init__(self, block: bytes, body: bytes | BinaryIO, size_bytes: int) -> None:
        self._block = block
        self._body = body
        self._lock = threading.Lock()
        self.size_bytes = len(block) + len(body) if isinstance(body, bytes) else size_bytes

    @property
    def is_in_memory(self) -> bool:
        """Whether `read` never blocks."""
        return isinstance(self._body, bytes)

    @property
    def is_small(self) -> bool:
        """Whether reading all of it on the loop is cheap."""
        return isinstance(self._body, bytes) and len(self._block) + len(self._body) <= INLINE_BYTES

    def read(self, offset: int, size: int) -> bytes:
        """The bytes there; fewer at the end. Blocks when the body is a file."""
        start = len(self._block)
        if offset < start:
            head = self._block[offset : offset + size]
            return head + self.read(start, size - len(head)) if offset + size > start else head
        if isinstance(self._body, bytes):
            return self._body[offset - start : offset - start + size]
        with self._lock:
            self._body.seek(offset - start)
            return self._body.read(size)


def source_of(message: MessageFacts) -> Source:
    """The one `Source` of this message: whoever reads a body that is a file reads it through this."""
    found = message.derived.get("source")
    if not isinstance(found, Source):
        found = message.derived["source"] = Source(message.block, message.body, message.size_bytes)
    return found


async def content_of(message: MessageFacts, offload: Offload) -> Content:
    """The parsed message, made once."""
    found = message.derived.get("content")
    if isinstance(found, Content):
        return found
    if isinstance(found, asyncio.Task):
        made: Content = await asyncio.shield(found)
        return made
    source = source_of(message)
    if source.is_small:
        content = read_content(source, message.header)
        message.derived["content"] = content
        return content
    task = asyncio.get_running_loop().create_task(offload.run(read_content, source, message.header))
    message.derived["content"] = task
    return await asyncio.shield(task)  # one check that is cancelled must not take it from the others


def read_content(source: Source, header: Header) -> Content:
    """Parse. Blocks as long as reading the message takes."""
    scanner = MessageScanner(max_parts=MAX_PARTS, max_depth=MAX_DEPTH)
    offset = 0
    while piece := source.read(offset, _PIECE_BYTES):
        scanner.feed(piece)
        offset += len(piece)
    table = PartTable.decode(scanner.finish().parts)
    reader = _Reader(source)
    kinds: list[str] = []
    for index in range(len(table)):
        part = table.part(index)
        kinds.append(part.content_type.decode("latin-1"))
        if not part.children:
            part_header = header if index == 0 else Header.parse(read_header(source.read, part))
            reader.take(part, described(part_header))
    text = " ".join(reader.texts)[:TEXT_CHARACTERS]
    urls = list(dict.fromkeys(match[0] for match in _first(_URL, text)))
    return Content(text, reader.links, urls, reader.files, kinds, len(table), len(table) >= MAX_PARTS)


def _first(pattern: re.Pattern[str], text: str) -> Sequence[re.Match[str]]:
    if "://" not in text and "www." not in text.lower():
        return ()
    return [match for match, _ in zip(pattern.finditer(text), range(_MAX_URLS), strict=False)]


class _Reader:
    """Collects while the parts go by."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._room = TEXT_CHARACTERS
        self.texts: list[str] = []
        self.links: list[Link] = []
        self.files: list[AttachedFile] = []

    def take(self, part: Part, content: Described) -> None:
        name = filename_of(content)
        if (name or not part.content_type.startswith(b"text/")) and len(self.files) < MAX_FILES:
            self.files.append(read_file(self._source.read, part, name))
        if self._room > 0 and is_readable(part, content):
            self._take_text(part, content)

    def _take_text(self, part: Part, content: Described) -> None:
        is_html = part.content_type == b"text/html"
        as_text = replace(part, content_type=b"text/plain") if is_html else part
        pieces: list[str] = []
        room = self._room
        for piece in part_text(self._source.read, as_text, content):
            pieces.append(piece[:room])
            room -= len(piece)
            if room <= 0:
                break
        text = "".join(pieces)
        self._room -= len(text)
        if is_html:
            text, links = read_html(text)
            self.links.extend(links)
        self.texts.append(text)


def filename_of(content: Described) -> str:
    """The file name a part gives itself, readable, at most 255 characters; "" without one."""
    for parameters in (content.disposition[1] if content.disposition else (), content.parameters):
        if found := _named(parameters):
            return found[:_NAME_CHARACTERS]
    return ""


def _named(parameters: Parameters) -> str:
    for name, value in parameters:
        if name in (b"filename*", b"name*"):
            return extended_value(value)
        if name in (b"filename", b"name"):
            return decode_words_as_they_are(value) if b"=?" in value else value.decode("utf-8", "replace")
    return ""
