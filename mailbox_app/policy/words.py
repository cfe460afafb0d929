"""A message as a bounded set of word numbers: what the classifier counts.

Words of the subject, of names and addresses in the header, of linked domains and part types are kept apart from words of
the text by a mark. A word is a number (CRC-32 of its marked form), so no mail can be read out of the counts. Of a long
text the words with the lowest numbers are taken, always the same ones for the same words: filler in front of a message
does not push the rest out. Pure, linear, never fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from zlib import crc32

from mailbox_app.proto.address_list import parse_address_items
from mailbox_app.proto.header import Header, decode_words, unfold

TEXT_WORDS = 220
"""Distinct words of the text that count."""
HEADER_WORDS = 80
LINK_WORDS = 20
_READ_CHARACTERS = 32_768
"""Of the text: what is not told by then does not matter."""

_WORD = re.compile(r"[^\W\d_][\w'$-]{2,23}")
_ASCII_WORD = re.compile(r"[a-z][a-z0-9_'$-]{2,23}")
"""The same for text that is ASCII and lower case, at half the cost."""
_ASCII_BYTES = re.compile(_ASCII_WORD.pattern.encode())
_FAR_EASTERN = re.compile("[\u2e80-\u9fff\uac00-\ud7a3\u0e00-\u0e7f]{2,}")
_TEXT_MARK = crc32(b":")
_MAILER = (b"x-mailer", b"user-agent")
_HEADER_VALUE_BYTES = 2_000


def word_number(mark: str, word: str) -> int:
    """The number a word is counted under."""
    return crc32(word.encode("utf-8", "surrogatepass"), crc32(f"{mark}:".encode()))


def words_of(header: Header, text: str, domains: Iterable[str] = (), kinds: Iterable[str] = ()) -> Sequence[int]:
    """The numbers of a message's words, each once, at most some 320."""
    numbers = dict.fromkeys(_header_numbers(header))
    for domain, _ in zip(domains, range(LINK_WORDS), strict=False):
        numbers[word_number("u", domain)] = None
    for kind, _ in zip(sorted(set(kinds)), range(8), strict=False):
        numbers[word_number("t", kind)] = None
    numbers.update(dict.fromkeys(sorted(_text_numbers(text[:_READ_CHARACTERS]))[:TEXT_WORDS]))
    return list(numbers)


def _text_numbers(text: str) -> set[int]:
    if text.isascii():  # a thousand words a message: not one of them as an object of its own
        return set(map(crc32, set(_ASCII_BYTES.findall(text.lower().encode())), repeat(_TEXT_MARK)))
    return {crc32(word.encode("utf-8", "surrogatepass"), _TEXT_MARK) for word in _text_words(text)}


def _text_words(text: str) -> set[str]:
    """Lower-case words; of scripts that write none apart, pairs of characters."""
    lowered = text.lower()
    if text.isascii():
        return set(_ASCII_WORD.findall(lowered))
    words = set(_WORD.findall(lowered))
    for run in _FAR_EASTERN.findall(lowered):
        words.update(run[at : at + 2] for at in range(len(run) - 1))
    return words


def _header_numbers(header: Header) -> Iterator[int]:
    subject = decode_words(_first(header, b"subject"))
    for word in sorted(_text_words(subject))[: HEADER_WORDS // 2]:
        yield word_number("s", word)
    for key, mark in ((b"from", "f"), (b"reply-to", "r"), (b"sender", "e")):
        for name, local, domain, _ in parse_address_items(_first(header, key), limit=4):
            if domain:
                yield word_number(f"{mark}d", _plain(domain))
                if mark == "f" and local:
                    yield word_number("fa", f"{_plain(local)}@{_plain(domain)}")
            if name and mark == "f":
                for word in sorted(_text_words(decode_words(name)))[:8]:
                    yield word_number("fn", word)
    message_id = _first(header, b"message-id").rpartition(b"@")[2].rstrip(b"> ")
    if message_id:
        yield word_number("i", _plain(message_id))
    list_id = _first(header, b"list-id")
    if list_id:
        yield word_number("l", _plain(list_id.rpartition(b"<")[2].rstrip(b"> ")))
    for key in _MAILER:
        for word in sorted(_text_words(_plain(_first(header, key))))[:4]:
            yield word_number("m", word)
    for field in header.fields[:HEADER_WORDS]:
        if field.key not in _USUAL:
            yield word_number("h", _plain(field.key))


_USUAL = frozenset(
    b"received return-path from to cc subject date message-id mime-version content-type content-transfer-encoding"
    b" dkim-signature authentication-results in-reply-to references delivered-to".split()
)


def _first(header: Header, key: bytes) -> bytes:
    return unfold(header.first(key) or b"")[:_HEADER_VALUE_BYTES]


def _plain(value: bytes) -> str:
    return value[:200].decode("utf-8", "replace").lower()
