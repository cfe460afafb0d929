"""All words of the language by name, taken together from the extensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailbox_app.proto.sieve.extensions import EXTENSIONS
from mailbox_app.proto.sieve.words import Command, Question, Tag

COMMANDS: Mapping[str, Command] = {row.name: row for each in EXTENSIONS for row in each.commands}
QUESTIONS: Mapping[str, Question] = {row.name: row for each in EXTENSIONS for row in each.questions}
MATCH_TYPES: Sequence[Tag] = [tag for each in EXTENSIONS for tag in each.match_types]
ADDRESS_PARTS: Sequence[Tag] = [tag for each in EXTENSIONS for tag in each.address_parts]
CAPABILITIES: Sequence[str] = [name for each in EXTENSIONS for name in each.capabilities]
"""What a script may require, as ManageSieve tells it."""
TAGS: Mapping[str, Sequence[Tag]] = {
    word: [tag for each in EXTENSIONS for tag in each.tags.get(word, ())] for each in EXTENSIONS for word in each.tags
}
_WORDS = {row.capability for row in COMMANDS.values()} | {row.capability for row in QUESTIONS.values()}
_TAGGED = {tag.capability for tags in (MATCH_TYPES, ADDRESS_PARTS, *TAGS.values()) for tag in tags}
BY_WORDS = frozenset(_WORDS | _TAGGED)
"""Capabilities that are used by writing a word."""
IMPLIED: Mapping[str, Sequence[str]] = {
    "vacation-seconds": ("vacation",),  # RFC 6131 4
    "spamtestplus": ("spamtest",),  # RFC 5235 2.1
    "foreverypart": ("mime",),  # RFC 5703 3: its loops look at headers of parts
}
"""Capabilities that come with another one."""
