"""Runs test scripts in the style of Pigeonhole's test suite (`*.svtest`): Sieve scripts that test Sieve.

`python -m tests.support.svtest FILE...` prints what failed and what could not be read. Our own are in `tests/conformance/sieve`;
suites of others that are written this way run with the same command. What is sent (answers, notifications) is not made here, so
tests that look at it fail.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from unittest.mock import patch

from mailbox_app.proto.sieve import registry
from mailbox_app.proto.sieve.actions import Action, FileInto, Keep, Redirect
from mailbox_app.proto.sieve.compiler import Compiler
from mailbox_app.proto.sieve.context import Context
from mailbox_app.proto.sieve.faults import Fault, SieveError
from mailbox_app.proto.sieve.limits import Limits
from mailbox_app.proto.sieve.machine import Machine, Operation, Test
from mailbox_app.proto.sieve.message import Message
from mailbox_app.proto.sieve.script import Outcome, Script, compile_script, run
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Command, Question, Shape, Tag

LIMITS = Limits(actions=10_000, redirects=10_000, steps=10_000_000, seconds=30, variables=1_000, trace_steps=0)
_NAMES: Mapping[type, str] = {Keep: "keep", FileInto: "store"}
_SUITES = ("vnd.dovecot.testsuite", "vnd.stalwart.testsuite")


class Failed(Exception):
    """`test_fail`."""


class Suite:
    """One test script and the little world that it sees."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failures: list[str] = []
        self.passed = 0
        self._script: Script | None = None
        self._outcome: Outcome | None = None
        self._errors: Sequence[str] = ()
        self._folders: dict[str, list[bytes]] = {"INBOX": []}
        self._sent: list[bytes] = []
        self._metadata: dict[tuple[str | None, str], str] = {}

    # Mailboxes, Library and Memory of the context

    def exists(self, name: str) -> bool:
        return name in self._folders

    def by_special_use(self, attribute: str) -> str | None:
        return None

    def special_uses(self, name: str) -> Collection[str]:
        return ()

    def by_id(self, mailbox_id: str) -> str | None:
        return None

    def metadata(self, name: str | None, entry: str) -> str | None:
        return self._metadata.get((name, entry.lower()))

    def script(self, location: str, name: str) -> Script | None:
        for folder in ("included" if location == "personal" else "included-global", "."):
            path = self.path.parent / folder / f"{name}.sieve"
            if path.exists():
                return compile_script(path.read_bytes(), LIMITS)
        return None

    def seen(self, identity: str) -> bool:
        return False

    # running

    def run(self) -> None:
        """Run the whole file; what failed is in `failures`."""
        rows = {row.name: row for row in self._commands()}
        questions = {row.name: row for row in self._questions()}
        with (
            patch.dict(cast("dict[str, Command]", registry.COMMANDS), rows),
            patch.dict(cast("dict[str, Question]", registry.QUESTIONS), questions),
            patch.object(registry, "CAPABILITIES", [*registry.CAPABILITIES, *_SUITES]),
        ):
            try:
                script = compile_script(self.path.read_bytes(), LIMITS)
            except SieveError as error:
                self.failures.append(f"cannot be read: {error.public_text}")
                return
            machine = Machine(self._context(b"From: a@b.example\r\n\r\n"), LIMITS)
            try:
                stopped, _ = machine.execute(script)
            except Failed as failed:
                stopped = str(failed)
            if stopped:
                self.failures.append(stopped)

    def _context(self, message: bytes) -> Context:
        return Context(
            Message.of_bytes(message),
            datetime(2026, 1, 5, 10, 0, tzinfo=UTC),
            "sender@example.com",
            "recipient@example.com",
            environment={"host": "mail.example.com", "domain": "example.com", "name": "test", "version": "1"},
            mailboxes=self,
            library=self,
            memory=self,
        )

    def _show(self, machine: Machine, message: bytes) -> None:
        machine.context = replace(machine.context, message=Message.of_bytes(message))
        machine.edit(type(machine.edits)())
        machine.headers.clear()
        machine.bodies.clear()

    def _reset(self, machine: Machine) -> None:
        machine.actions.clear()
        machine.implicit_keep = True
        self._outcome = None

    # words

    def _commands(self) -> Sequence[Command]:
        text = Shape.STRING
        return (
            Command("test", self._test, (text,), block=True),
            Command("test_fail", self._fail, (text,)),
            Command("test_set", self._set, (text, text)),
            Command("test_result_reset", lambda use, compiler: self._reset),
            Command("test_mailbox_create", self._create, (text,)),
            Command("test_imap_metadata_set", self._set_metadata, (text, text), (Tag("mailbox", text),)),
            Command("test_config_set", _nothing, (text, text)),
            Command("test_config_unset", _nothing, (text,)),
            Command("test_config_reload", _nothing, (), (Tag("extension", text),)),
            Command("test_result_print", _nothing),
            Command("test_message_print", _nothing),
            Command("test_binary_load", _nothing, (text,)),
            Command("test_binary_save", _nothing, (text,)),
        )

    def _questions(self) -> Sequence[Question]:
        index = (Tag("index", Shape.NUMBER),)
        place = (Tag("smtp", None, "", "place"), Tag("folder", Shape.STRING, "", "place"))
        keys = (Shape.STRINGS,)
        return (
            Question("test_script_compile", self._compile, (Shape.STRING,)),
            Question("test_compile", self._compile, (Shape.STRING,)),
            Question("test_execute", self._run_script),
            Question("test_result", self._listed(self._action_names), keys, index, matching=True),
            Question("test_script_run", self._run_script, (), (Tag("append_result"),)),
            Question("test_result_execute", lambda use, compiler: self._execute),
            Question("test_result_action", self._listed(self._action_names), keys, index, matching=True),
            Question("test_error", self._listed(lambda machine: self._errors), keys, index, matching=True),
            Question("test_message", self._message, (Shape.NUMBER,), place),
        )

    def _test(self, use: Use, compiler: Compiler) -> Operation:
        name = compiler.text(use[0])
        block = compiler.block(use.call.block or ())

        def test(machine: Machine) -> None:
            try:
                machine.run(block)
            except Failed as failed:
                self.failures.append(f"line {machine.line}: {name.value(machine)}: {failed}")
            except Fault as fault:
                self.failures.append(f"line {machine.line}: {name.value(machine)}: stopped by {fault}")
            else:
                self.passed += 1

        return test

    def _fail(self, use: Use, compiler: Compiler) -> Operation:
        reason = compiler.text(use[0])

        def fail(machine: Machine) -> None:
            raise Failed(reason.value(machine))

        return fail

    def _set(self, use: Use, compiler: Compiler) -> Operation:
        name, value = compiler.text(use[0]), compiler.text(use[1])
        fields = {"envelope.from": "sender", "envelope.to": "recipient", "envelope.auth": "authenticated"}

        def test_set(machine: Machine) -> None:
            text = value.value(machine)
            if name.value(machine) == "message":
                self._show(machine, text.encode("utf-8", "surrogateescape"))
            elif name.value(machine) in fields:
                address = text.strip().removeprefix("<").removesuffix(">").strip()
                machine.context = replace(machine.context, **{fields[name.value(machine)]: address})  # type: ignore[arg-type]

        return test_set

    def _create(self, use: Use, compiler: Compiler) -> Operation:
        name = compiler.text(use[0])
        return lambda machine: self._folders.setdefault(name.value(machine), []).clear()

    def _set_metadata(self, use: Use, compiler: Compiler) -> Operation:
        mailbox = use.tags.get("mailbox")
        folder = compiler.text(mailbox) if mailbox is not None else None
        entry, value = compiler.text(use[0]), compiler.text(use[1])

        def set_metadata(machine: Machine) -> None:
            key = (folder.value(machine) if folder is not None else None, entry.value(machine).lower())
            self._metadata[key] = value.value(machine)

        return set_metadata

    def _compile(self, use: Use, compiler: Compiler) -> Test:
        name = compiler.text(use[0])

        def compiles(machine: Machine) -> bool:
            self._script, self._errors = None, ()
            try:
                self._script = compile_script((self.path.parent / name.value(machine)).read_bytes(), LIMITS)
            except SieveError as error:
                self._errors = [problem.message for problem in error.problems]
                return False
            except OSError as error:
                self._errors = [str(error)]
                return False
            return True

        return compiles

    def _run_script(self, use: Use, compiler: Compiler) -> Test:
        def runs(machine: Machine) -> bool:
            assert self._script is not None
            self._outcome = run(self._script, machine.context, replace(LIMITS, actions=32, redirects=4, seconds=2))
            self._errors = [self._outcome.error] if self._outcome.error else ()
            return not self._outcome.error

        return runs

    def _actions(self, machine: Machine) -> Sequence[Action]:
        return self._outcome.actions if self._outcome is not None else machine.result(failed=False)

    def _action_names(self, machine: Machine) -> Sequence[str]:
        return [_NAMES.get(type(action), type(action).__name__.lower()) for action in self._actions(machine)]

    def _execute(self, machine: Machine) -> bool:
        message = machine.context.message.read(0, machine.context.message.size_bytes)
        for action in self._actions(machine):
            if isinstance(action, Keep | FileInto | Redirect):
                edited = action.edits.apply(message) if action.edits else message
                if isinstance(action, Redirect):
                    self._sent.append(edited)
                else:
                    name = action.mailbox if isinstance(action, FileInto) else "INBOX"
                    self._folders.setdefault(name, []).append(edited)
        self._reset(machine)
        return True

    def _listed(self, found: Callable[[Machine], Sequence[str]]) -> Callable[[Use, Compiler], Test]:
        def compile_listed(use: Use, compiler: Compiler) -> Test:
            keys = compiler.texts(use[0])
            match = compiler.match(use, keys)
            index = use.tags.get("index")

            def listed(machine: Machine) -> bool:
                values = found(machine)
                if index is not None:
                    values = values[index.number - 1 : index.number]
                return match.test(machine, values, keys)

            return listed

        return compile_listed

    def _message(self, use: Use, compiler: Compiler) -> Test:
        folder = use.tags.get("folder")
        name = compiler.text(folder) if folder is not None else None
        number = use[0].number

        def message(machine: Machine) -> bool:
            where = self._folders.get(name.value(machine), []) if name is not None else self._sent
            if number >= len(where):
                return False
            self._show(machine, where[number])
            return True

        return message


def _nothing(use: Use, compiler: Compiler) -> Operation:
    return lambda machine: None


def main(names: Sequence[str]) -> int:
    """Run each file."""
    bad = 0
    for name in names:
        suite = Suite(Path(name))
        suite.run()
        bad += len(suite.failures)
        sys.stdout.write(f"{name}: {suite.passed} passed, {len(suite.failures)} failed\n")
        for failure in suite.failures:
            sys.stdout.write(f"    {failure}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
