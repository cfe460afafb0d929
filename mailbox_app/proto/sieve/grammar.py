"""The tree of a script: commands, tests and arguments as they are written. What they mean is the compiler's. RFC 5228 8.2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.proto.sieve.faults import Problem, SieveError
from mailbox_app.proto.sieve.lexer import Kind, Lexeme, Lexer
from mailbox_app.proto.sieve.limits import Limits


@dataclass(frozen=True, slots=True)
class Argument:
    """A string list (one string is a list of one, `single`), a number or a tag."""

    kind: Kind
    position: int
    strings: tuple[str, ...] = ()
    single: bool = True
    number: int = 0
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A command or a test with everything that belongs to it."""

    name: str
    position: int
    arguments: Sequence[Argument]
    tests: Sequence[Call] = ()
    listed: bool = False
    """Whether the tests stand in parentheses."""
    block: Sequence[Call] | None = None


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole script."""

    calls: Sequence[Call]
    lexer: Lexer
    """Knows the places."""


def parse(source: bytes | str, limits: Limits) -> Tree:
    """Read a script; raises `SieveError` at the first place that is not grammatical."""
    if isinstance(source, bytes):
        if len(source) > limits.script_bytes:
            raise SieveError(1, 1, f"the script is larger than {limits.script_bytes} bytes")
        try:
            text = source.decode("utf-8")
        except UnicodeDecodeError as error:
            before = source[: error.start]
            line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
            raise SieveError(line, column, "the script is not UTF-8 text") from error
    else:
        text = source
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise SieveError(1, 1, "the script is not UTF-8 text")
        if len(text) > limits.script_bytes:
            raise SieveError(1, 1, f"the script is larger than {limits.script_bytes} bytes")
    return _Parser(Lexer(text.removeprefix("\ufeff"), limits), limits).tree()


class _Parser:
    """One lexeme of look-ahead."""

    def __init__(self, lexer: Lexer, limits: Limits) -> None:
        self._lexer = lexer
        self._limits = limits
        self._next = lexer.next()
        self._words = 0
        self._problems: list[Problem] = []
        self._unreadable = False

    def tree(self) -> Tree:
        try:
            calls = self._commands(0)
            if self._next.kind is not Kind.END:
                raise self._unexpected("a command")
        except SieveError as error:
            self._problems += error.problems
            calls = ()
        if self._problems:
            raise SieveError.of(self._problems)
        return Tree(calls, self._lexer)

    def _take(self) -> Lexeme:
        taken = self._next
        try:
            self._next = self._lexer.next()
        except SieveError:
            self._unreadable = True  # what follows cannot be told
            raise
        return taken

    def _pass_over(self, error: SieveError) -> None:
        """After a problem: to the end of the command, so that the next ones are looked at too."""
        if self._unreadable or len(self._problems) + 1 >= self._limits.problems:
            raise error
        self._problems += error.problems
        braces = 0
        while self._next.kind is not Kind.END and not (braces == 0 and self._at("}")):
            taken = self._take()
            if taken.kind is Kind.MARK:
                braces += {"{": 1, "}": -1}.get(taken.text, 0)
                if braces == 0 and taken.text in (";", "}"):
                    return

    def _name(self) -> Lexeme:
        self._words += 1
        if self._words > self._limits.words:
            self._unreadable = True
            message = f"the script has more than {self._limits.words} commands and tests"
            raise self._lexer.error(self._next.position, message)
        return self._take()

    def _at(self, mark: str) -> bool:
        return self._next.kind is Kind.MARK and self._next.text == mark

    def _unexpected(self, wanted: str) -> SieveError:
        found = self._next
        shown = found.kind.value if found.kind is Kind.END or not found.text else f'"{found.text[:40]}"'
        return self._lexer.error(found.position, f"{wanted} is expected here, not {shown}")

    def _commands(self, depth: int) -> Sequence[Call]:
        calls = []
        while self._next.kind is Kind.WORD:
            try:
                calls.append(self._command(depth))
            except SieveError as error:
                self._pass_over(error)
        return calls

    def _command(self, depth: int) -> Call:
        name = self._name()
        arguments = self._arguments()
        tests, listed = self._tests(depth)
        block = None
        if self._at("{"):
            if depth >= self._limits.depth:
                raise self._lexer.error(self._next.position, f"blocks are nested deeper than {self._limits.depth}")
            self._take()
            block = self._commands(depth + 1)
            if not self._at("}"):
                raise self._unexpected('a command or "}"')
            self._take()
        elif self._at(";"):
            self._take()
        else:
            raise self._unexpected('";" after the command' if not tests else 'a block "{" or ";"')
        return Call(name.text, name.position, arguments, tests, listed, block)

    def _arguments(self) -> Sequence[Argument]:
        arguments: list[Argument] = []
        while True:
            item = self._next
            if item.kind is Kind.STRING:
                self._take()
                arguments.append(Argument(Kind.STRING, item.position, (item.text,)))
            elif item.kind is Kind.NUMBER:
                self._take()
                arguments.append(Argument(Kind.NUMBER, item.position, number=item.number))
            elif item.kind is Kind.TAG:
                self._take()
                arguments.append(Argument(Kind.TAG, item.position, tag=item.text))
            elif self._at("["):
                arguments.append(self._string_list())
            else:
                return arguments
            if len(arguments) > self._limits.list_items:
                raise self._lexer.error(item.position, f"there are more than {self._limits.list_items} arguments")

    def _string_list(self) -> Argument:
        start = self._take().position
        strings: list[str] = []
        while True:
            if self._next.kind is not Kind.STRING:
                raise self._unexpected("a string")
            strings.append(self._take().text)
            if len(strings) > self._limits.list_items:
                raise self._lexer.error(start, f"the list has more than {self._limits.list_items} strings")
            if self._at("]"):
                self._take()
                return Argument(Kind.STRING, start, tuple(strings), single=False)
            if not self._at(","):
                raise self._unexpected('"," or "]"')
            self._take()

    def _tests(self, depth: int) -> tuple[Sequence[Call], bool]:
        if self._next.kind is Kind.WORD:
            return (self._test(depth),), False
        if not self._at("("):
            return (), False
        self._take()
        tests = [self._test(depth)]
        while self._at(","):
            self._take()
            tests.append(self._test(depth))
            if len(tests) > self._limits.list_items:
                raise self._lexer.error(self._next.position, f"there are more than {self._limits.list_items} tests")
        if not self._at(")"):
            raise self._unexpected('"," or ")"')
        self._take()
        return tests, True

    def _test(self, depth: int) -> Call:
        if self._next.kind is not Kind.WORD:
            raise self._unexpected("a test")
        if depth > self._limits.depth:
            raise self._lexer.error(self._next.position, f"tests are nested deeper than {self._limits.depth}")
        name = self._name()
        arguments = self._arguments()
        tests, listed = self._tests(depth + 1)
        return Call(name.text, name.position, arguments, tests, listed)
