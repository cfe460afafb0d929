"""Rows: what a word of the language takes and who compiles it. Extensions are made of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.machine import Operation, Test

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler
    from mailbox_app.proto.sieve.use import Use


class Shape(Enum):
    """What an argument must be."""

    STRING = "a string"
    STRINGS = "a string list"
    NUMBER = "a number"


class Tests(Enum):
    """How many tests follow."""

    NONE = "no test"
    ONE = "one test"
    MANY = "a list of tests in parentheses"


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that a word knows."""

    name: str
    shape: Shape | None = None
    """Of the argument that follows it."""
    capability: str = ""
    """What must be required for it beyond the word's own."""
    group: str = ""
    """Only one tag of a group may be there."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command."""

    name: str
    compile: Callable[[Use, Compiler], Operation]
    arguments: tuple[Shape, ...] = ()
    tags: tuple[Tag, ...] = ()
    optional: int = 0
    """So many of the first arguments may be missing."""
    optional_last: int = 0
    """So many of the last."""
    block: bool = False
    matching: bool = False
    """It takes a comparator and a match type."""
    address_parts: bool = False
    capability: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A test."""

    name: str
    compile: Callable[[Use, Compiler], Test]
    arguments: tuple[Shape, ...] = ()
    tags: tuple[Tag, ...] = ()
    optional: int = 0
    optional_last: int = 0
    matching: bool = False
    address_parts: bool = False
    tests: Tests = Tests.NONE
    capability: str = ""


Word = Command | Question


@dataclass(frozen=True, slots=True)
class Extension:
    """What one document adds."""

    capabilities: tuple[str, ...]
    rfc: str
    commands: tuple[Command, ...] = ()
    questions: tuple[Question, ...] = ()
    tags: Mapping[str, tuple[Tag, ...]] = field(default_factory=dict)
    """More tags for words of other documents, by the word's name."""
    match_types: tuple[Tag, ...] = ()
    address_parts: tuple[Tag, ...] = ()
