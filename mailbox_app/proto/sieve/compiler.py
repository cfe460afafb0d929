"""From the tree to closures: every word is looked up among the extensions and its arguments are checked against its row.

All problems of a script are collected, as far as one does not follow from another. RFC 5228 2.10.5: what is not required is an
error when the script is read; below `ihave` (RFC 5463 4) it becomes one of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mailbox_app.proto.sieve import registry
from mailbox_app.proto.sieve.closest import like
from mailbox_app.proto.sieve.faults import Fault, Problem, SieveError
from mailbox_app.proto.sieve.grammar import Argument, Call, Tree
from mailbox_app.proto.sieve.lexer import Kind
from mailbox_app.proto.sieve.limits import Limits
from mailbox_app.proto.sieve.machine import Block, Machine, Operation, Test
from mailbox_app.proto.sieve.matching import COMPARATORS, NUMERIC, RELATIONS, Match
from mailbox_app.proto.sieve.regex import BadPattern
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.values import REFERENCE, BadCharacter, Piece, Text, Texts, decode_encoded
from mailbox_app.proto.sieve.words import Shape, Tag, Tests, Word

_COMPARATOR = Tag("comparator", Shape.STRING, group="comparator")
_COMPARATORS_OF_ALL = ("i;octet", "i;ascii-casemap", "i;unicode-casemap")
"""No script must require them; the last one in no script that others run either, whatever RFC 5228 2.7.3 says."""
_NOT_ALONE = {"elsif": "if", "else": "if"}


class _NotRequired(SieveError):
    """A word whose extension is not required, or a word that nobody here knows."""


class Compiler:
    """Compiles one script."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.required: set[str] = set()
        self._used: set[str] = set()
        self._named: dict[str, tuple[int, int]] = {}
        self._put_off: list[Problem] = []
        self.problems: list[Problem] = []
        self.loops: list[str] = []
        """Names of the foreverypart loops around the current command."""
        self._tree: Tree | None = None

    # places and problems

    def place(self, position: int) -> tuple[int, int]:
        """Line and column."""
        assert self._tree is not None
        return self._tree.lexer.places.of(position)

    def error(self, position: int, message: str) -> SieveError:
        """To be raised."""
        return SieveError(*self.place(position), message)

    def _unknown(self, position: int, message: str) -> SieveError:
        """What may be a word of an extension that is not here: with ihave no error of the script as such."""
        return _NotRequired(*self.place(position), message)

    def _report(self, error: SieveError) -> None:
        self.problems.extend(error.problems)
        if len(self.problems) >= self.limits.problems:
            raise SieveError.of(self.problems)

    # blocks

    def script(self, tree: Tree) -> Block:
        """The whole script; raises `SieveError`."""
        self._tree = tree
        calls = list(tree.calls)
        start = 0
        while start < len(calls) and calls[start].name == "require":
            self._collect(lambda call=calls[start]: self._require(call))  # type: ignore[misc]
            start += 1
        block = self.block(calls[start:])
        if self.problems:
            raise SieveError.of(self.problems)
        return block

    def _collect(self, action: Callable[[], None]) -> None:
        try:
            action()
        except SieveError as error:
            self._report(error)

    def block(self, calls: Sequence[Call]) -> Block:
        """Commands in braces, or all of a script."""
        operations: list[tuple[int, Operation]] = []
        position = 0
        while position < len(calls):
            call = calls[position]
            position += 1
            try:
                if call.name == "if":
                    branches = [call]
                    while position < len(calls) and calls[position].name in _NOT_ALONE and branches[-1].name != "else":
                        branches.append(calls[position])
                        position += 1
                    operation = self._branches(branches)
                else:
                    operation = self._command(call)
                operations.append((self.place(call.position)[0], operation))
            except SieveError as error:
                self._report(error)
        return tuple(operations)

    def _require(self, call: Call) -> None:
        if (
            len(call.arguments) != 1
            or call.arguments[0].kind is not Kind.STRING
            or call.tests
            or call.block is not None
        ):
            raise self.error(call.position, "`require` takes a string or a list of strings")
        unknown, hint = [], ""
        for name in call.arguments[0].strings:
            self._named.setdefault(name, self.place(call.arguments[0].position))
            if self.offers(name):
                self.grant(name)
            else:
                unknown.append(f'"{name[:60]}"')
                if len(unknown) == 1:
                    hint = like(name, filter(self.offers, registry.CAPABILITIES))
                self.required.add(name)  # so that its words are not reported as well
        if unknown:
            what = "the extension" if len(unknown) == 1 else "the extensions"
            raise self.error(call.arguments[0].position, f"{what} {', '.join(unknown)} is not known here{hint}")

    def offers(self, capability: str) -> bool:
        """Whether a script may require it."""
        return capability in registry.CAPABILITIES and capability not in self.limits.disabled

    def grant(self, capability: str) -> None:
        """A capability and those it includes."""
        self.required.add(capability)
        self.required.update(registry.IMPLIED.get(capability, ()))

    def has(self, capability: str) -> bool:
        """Whether it is required."""
        self._used.add(capability)
        return capability in self.required

    def warnings(self) -> Sequence[Problem]:
        """What is not wrong but odd: extensions that no word of the script needs, words that only ihave lets stand."""
        unused = [
            Problem(*place, f'"{name}" is required but not used')
            for name, place in self._named.items()
            if name in registry.BY_WORDS and name not in self._used
        ]
        return [*self._put_off, *unused][: self.limits.problems]

    def _branches(self, calls: Sequence[Call]) -> Operation:
        """RFC 5228 3.1."""
        compiled: list[tuple[int, Test | None, Block]] = []
        for call in calls:
            line = self.place(call.position)[0]
            self._collect(lambda call=call: self._check_branch(call))  # type: ignore[misc]
            test: Test | None = None
            if call.name != "else" and call.tests:
                try:
                    test = self.test(call.tests[0])
                except SieveError as error:
                    self._report(error)
            compiled.append((line, test, self.block(call.block or ())))

        def choose(machine: Machine) -> None:
            for line, test, block in compiled:
                machine.line = line
                if test is None or test(machine):
                    machine.run(block)
                    return

        return choose

    def _check_branch(self, call: Call) -> None:
        if call.block is None:
            raise self.error(call.position, f"`{call.name}` needs a block in braces")
        if call.arguments:
            raise self.error(call.arguments[0].position, f"`{call.name}` takes no arguments")
        wanted = 0 if call.name == "else" else 1
        if len(call.tests) != wanted or call.listed:
            raise self.error(call.position, f"`{call.name}` takes {'exactly one test' if wanted else 'no test'}")

    def _command(self, call: Call) -> Operation:
        name = call.name
        if name in _NOT_ALONE:
            raise self.error(call.position, f"`{name}` must follow directly after the block of an `if`")
        if name == "require":
            raise self.error(call.position, "`require` must stand before all other commands")
        row = registry.COMMANDS.get(name)
        if row is None:
            is_test = name in registry.QUESTIONS
            if is_test:
                raise self.error(call.position, f"`{name}` is a test, not a command")
            hint = like(name, registry.COMMANDS)
            return self._later(self._unknown(call.position, f"`{name}` is not a command{hint}"))
        try:
            self._need(row.capability, f"`{name}`", call.position)
            if call.tests:
                following = call.tests[0]
                known = following.name in registry.COMMANDS or following.name in ("if", "require")
                what = f'a ";" is missing after `{name}`' if known else f"`{name}` takes no test"
                raise self.error(following.position, what)
            if (call.block is not None) != row.block:
                wanted = "needs a block in braces" if row.block else "takes no block"
                raise self.error(call.position, f"`{name}` {wanted}")
            return row.compile(self._use(call, row), self)
        except _NotRequired as error:
            return self._later(error)

    def test(self, call: Call) -> Test:
        """A test, which notes its result in the trace."""
        row = registry.QUESTIONS.get(call.name)
        if row is None:
            is_command = call.name in registry.COMMANDS
            if is_command:
                raise self.error(call.position, f"`{call.name}` is a command, not a test")
            hint = like(call.name, registry.QUESTIONS)
            return self._never(self._unknown(call.position, f"`{call.name}` is not a test{hint}"))
        try:
            self._need(row.capability, f"`{call.name}`", call.position)
            counts = {Tests.NONE: not call.tests, Tests.ONE: len(call.tests) == 1, Tests.MANY: call.listed}
            if not counts[row.tests] or (row.tests is not Tests.MANY and call.listed):
                if row.tests is Tests.NONE and call.tests[0].name in registry.COMMANDS:
                    raise self.error(
                        call.tests[0].position, f"a block in braces is missing before `{call.tests[0].name}`"
                    )
                raise self.error(call.position, f"`{call.name}` takes {row.tests.value}")
            test = row.compile(self._use(call, row), self)
        except _NotRequired as error:
            return self._never(error)
        return test if row.tests is not Tests.NONE else _noted(call, test, self.place(call.position)[0])

    def _later(self, error: SieveError) -> Operation:
        """RFC 5463 4: with ihave, what is missing is an error only when it is reached."""
        if "ihave" not in self.required:
            raise error
        message = error.message
        self._put_off += error.problems

        def unavailable(machine: Machine) -> None:
            raise Fault(message)

        return unavailable

    def _never(self, error: SieveError) -> Test:
        """The same for a test."""
        fail = self._later(error)

        def unavailable(machine: Machine) -> bool:
            fail(machine)
            return False

        return unavailable

    def _need(self, capability: str, what: str, position: int) -> None:
        self._used.add(capability)
        if capability and capability not in self.required:
            line, column = self.place(position)
            raise _NotRequired(line, column, f'{what} needs require "{capability}"')

    # arguments

    def _use(self, call: Call, row: Word) -> Use:
        """Tags and arguments of a word, as its row has them."""
        known = {tag.name: tag for tag in self._tags(row)}
        tags: dict[str, Argument | None] = {}
        groups: dict[str, str] = {}
        positional: list[Argument] = []
        arguments = iter(call.arguments)
        for argument in arguments:
            if argument.kind is not Kind.TAG:
                positional.append(argument)
                continue
            tag = known.get(argument.tag)
            if tag is None:
                hint = like(argument.tag, known)
                raise self._unknown(argument.position, f"`{call.name}` has no tag `:{argument.tag}`{hint}")
            if positional:
                raise self.error(argument.position, f"the tag `:{tag.name}` must stand before the other arguments")
            self._need(tag.capability, f"`:{tag.name}`", argument.position)
            if tag.name in tags:
                raise self.error(argument.position, f"the tag `:{tag.name}` is there twice")
            if tag.group:
                other = groups.setdefault(tag.group, tag.name)
                if other != tag.name:
                    raise self.error(argument.position, f"`:{other}` and `:{tag.name}` exclude each other")
            tags[tag.name] = None
            if tag.shape is not None:
                value = next(arguments, None)
                tags[tag.name] = self._shaped(value, tag.shape, f"`:{tag.name}`", argument.position)
        wanted = row.arguments
        missing = len(wanted) - len(positional)
        if missing < 0:
            raise self.error(positional[len(wanted)].position, f"`{call.name}` has too many arguments")
        if missing > row.optional + row.optional_last:
            shape = wanted[-1] if row.optional else wanted[len(positional)]
            raise self.error(call.position, f"`{call.name}` lacks an argument: {shape.value}")
        absent: Sequence[None] = (None,) * missing
        placed: list[Argument | None] = [*positional, *absent] if row.optional_last else [*absent, *positional]
        for given, shape in zip(placed, wanted, strict=True):
            if given is not None:
                self._shaped(given, shape, f"`{call.name}`", given.position)
        return Use(call, self.place(call.position)[0], tags, groups, placed)

    def _tags(self, row: Word) -> Sequence[Tag]:
        more = registry.TAGS.get(row.name, ())
        parts = registry.ADDRESS_PARTS if row.address_parts else ()
        matching = (_COMPARATOR, *registry.MATCH_TYPES) if row.matching else ()
        return (*row.tags, *more, *parts, *matching)

    def _shaped(self, argument: Argument | None, shape: Shape, what: str, position: int) -> Argument:
        if argument is None:
            raise self.error(position, f"{what} must be followed by {shape.value}")
        fits = argument.kind is (Kind.NUMBER if shape is Shape.NUMBER else Kind.STRING)
        if not fits or (
            shape is Shape.STRING and len(argument.strings) != 1
        ):  # RFC 5228 2.4.2.1: "x" and ["x"] are one
            raise self.error(argument.position, f"{what} takes {shape.value} here")
        return argument

    def text(self, argument: Argument) -> Text:
        """A single string."""
        return self._template(argument.strings[0], argument.position)

    def texts(self, argument: Argument) -> Texts:
        """A string list."""
        return Texts([self._template(text, argument.position) for text in argument.strings])

    def constant(self, argument: Argument, what: str) -> str:
        """A single string that must be known now."""
        text = self.text(argument).constant
        if text is None:
            raise self.error(argument.position, f"{what} cannot have variables in it")
        return text

    def constants(self, argument: Argument, what: str) -> Sequence[str]:
        """A string list that must be known now."""
        texts = self.texts(argument).constant
        if texts is None:
            raise self.error(argument.position, f"{what} cannot have variables in it")
        return texts

    def _template(self, text: str, position: int) -> Text:
        if "${" not in text:
            return Text((text,))
        if "encoded-character" in self.required:
            try:
                text = decode_encoded(text)
            except BadCharacter as error:
                raise self.error(position, f"{error} is not a character") from error
        if "variables" not in self.required:
            return Text((text,))
        pieces: list[Piece] = []
        end = 0
        for match in REFERENCE.finditer(text):
            pieces.append(text[end : match.start()])
            pieces.append(self._reference(match[1] or "", match[2], match[3], position))
            end = match.end()
        pieces.append(text[end:])
        return Text([piece for piece in pieces if piece != ""])

    def _reference(self, namespace: str, name: str | None, number: str | None, position: int) -> Piece:
        if number is not None:
            index = int(number)
            return lambda machine: machine.frame.match[index] if index < len(machine.frame.match) else ""
        assert name is not None
        key = name.lower()
        if not namespace:
            return lambda machine: machine.variable(key)
        if namespace.lower() == "global." and "include" in self.required:  # RFC 6609 3.4.2
            return lambda machine: machine.globals.get(key, "")
        raise self.error(position, f"the variable namespace `{namespace[:-1]}` is not known")

    # matching

    def match(self, use: Use, keys: Texts, *, capture: bool = True) -> Match:
        """The match type and comparator of a test, looked at together with its keys; `capture` sets match variables."""
        kind = use.groups.get("match", "is")
        given = use.tags.get("comparator")
        comparator = "i;ascii-casemap"
        position = use.call.position
        if given is not None:
            comparator, position = self.constant(given, "a comparator").lower(), given.position
            if comparator not in COMPARATORS:
                raise self._unknown(position, f'the comparator "{comparator}" is not known here')
            if comparator not in _COMPARATORS_OF_ALL:
                self._need(f"comparator-{comparator}", f'the comparator "{comparator}"', position)
        if comparator == NUMERIC and kind in ("contains", "matches", "regex"):
            raise self.error(position, f'the comparator "{NUMERIC}" cannot be used with `:{kind}`')
        relation = ""
        argument = use.tags.get(kind) if kind in ("count", "value") else None
        if argument is not None:
            relation = self.constant(argument, "a relation").lower()
            if relation not in RELATIONS:
                raise self.error(argument.position, f'"{relation}" is not one of {", ".join(RELATIONS)}')
            if kind == "count":
                comparator = comparator if given is not None else NUMERIC
        match = Match(kind, comparator, relation, capture=capture and self.has("variables"))
        try:
            match.prepare(keys)
        except BadPattern as error:
            raise self.error(use.call.position, f"the regular expression is not valid: {error}") from error
        return match


def _noted(call: Call, test: Test, line: int) -> Test:
    label = " ".join([call.name, *(f":{argument.tag}" for argument in call.arguments if argument.kind is Kind.TAG)])

    def noted(machine: Machine) -> bool:
        machine.line = line
        machine.spend(1)
        machine.seen = None
        result = test(machine)
        seen = f" {machine.show(machine.seen[1])} in {machine.show(machine.seen[0])}" if machine.seen else ""
        machine.note(f"{label}{seen} = {'true' if result else 'false'}")
        return result

    return noted
