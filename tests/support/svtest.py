"""Runs test scripts in the style of Pigeonhole's test suite (`*.svtest`): Sieve scripts that test Sieve.

`python -m tests.support.svtest FILE...` prints what failed and what could not be read. Our own are in `tests/conformance/sieve`;
suites of others that are written this way run with the same command. Answers and notifications are composed by the code that
delivery composes them with; settings of other servers (`test_config_set`) and the exact words of errors are not known here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from unittest.mock import patch

from mailbox_app.delivery import notifications, vacation
from mailbox_app.delivery.generated import compose
from mailbox_app.proto.sieve import registry
from mailbox_app.proto.sieve.actions import Action, FileInto, Keep, Notify, Redirect, Vacation
from mailbox_app.proto.sieve.compiler import Compiler
from mailbox_app.proto.sieve.context import Context
from mailbox_app.proto.sieve.faults import Fault, SieveError
from mailbox_app.proto.sieve.limits import Limits
from mailbox_app.proto.sieve.machine import Machine, Operation, Test
from mailbox_app.proto.sieve.message import Message
from mailbox_app.proto.sieve.script import Outcome, Script, compile_script, run
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.values import Texts
from mailbox_app.proto.sieve.words import Command, Question, Shape, Tag

LIMITS = Limits(actions=10_000, redirects=10_000, steps=10_000_000, seconds=30, variables=1_000, trace_steps=0)
_NAMES: Mapping[type, str] = {Keep: "keep", FileInto: "store"}
_SUITES = ("vnd.dovecot.testsuite", "vnd.stalwart.testsuite")


_PLACES = (Tag("smtp", None, "", "place"), Tag("folder", Shape.STRING, "", "place"))
_CONFIG = (Tag("set"), Tag("unset"), Tag("reload"))


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
        self._folders: dict[str, list[tuple[bytes, Sequence[str]]]] = {"INBOX": []}
        self._sent: list[tuple[str, str, bytes]] = []
        """Envelope sender, recipient, message."""
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
        self._sent.clear()

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
            Command("test_config", _nothing, (text, text), _CONFIG, optional_last=2),
            Command("test_binary", _nothing, (text,), (Tag("save"), Tag("load"))),
            Command("test_message", self._message_command, (Shape.NUMBER,), _PLACES),
            Command("test_result_print", _nothing),
            Command("test_message_print", _nothing),
            Command("test_binary_load", _nothing, (text,)),
            Command("test_binary_save", _nothing, (text,)),
        )

    def _questions(self) -> Sequence[Question]:
        index = (Tag("index", Shape.NUMBER),)
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
            Question("test_message", self._message, (Shape.NUMBER,), _PLACES),
            Question("test_multiscript", self._multiscript, keys),
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
        self._carry_out(machine, self._actions(machine))
        machine.actions.clear()
        machine.implicit_keep = True
        self._outcome = None
        return True

    def _carry_out(self, machine: Machine, actions: Sequence[Action]) -> None:
        context = machine.context
        message = context.message.read(0, context.message.size_bytes)
        for action in actions:
            if isinstance(action, Keep | FileInto | Redirect):
                edited = action.edits.apply(message) if action.edits else message
                if isinstance(action, Redirect):
                    self._sent.append((context.sender or "", action.address, edited))
                else:
                    name = action.mailbox if isinstance(action, FileInto) else "INBOX"
                    self._folders.setdefault(name, []).append((edited, action.flags))
            elif isinstance(action, Vacation):
                self._answer(context, action)
            elif isinstance(action, Notify):
                self._notify(context, action)

    def _answer(self, context: Context, action: Vacation) -> None:
        sender, own, header = context.sender or "", context.recipient or "", context.message.header
        mine = {own.lower(), *(address.lower() for address in action.addresses)}

        def owns(address: str) -> bool:
            return address.lower() in mine

        if vacation.why_not_to(sender, owns) or vacation.why_silent(header):
            return
        if not vacation.is_addressed(header, mine, owns):
            return
        content = compose(
            sender=action.sender or own,
            recipients=[sender],
            subject=vacation.subject_of(action, header),
            auto_submitted="auto-replied",
            text=action.reason,
            now=context.now,
            hostname="mail.example.com",
            answered=header,
            is_entity=action.mime,
        )
        self._sent.append(("", sender, content))

    def _notify(self, context: Context, action: Notify) -> None:
        header, target = context.message.header, notifications.read_mailto(action.method)
        automatic = (header.first(b"auto-submitted") or b"no").split(b";")[0].strip().lower()
        if target is None or automatic != b"no":
            return
        content = compose(
            sender=action.sender or context.recipient or "",
            recipients=target.to,
            subject=notifications.subject_of(action, target, header),
            auto_submitted="auto-notified",
            text=notifications.text_of(action, target, header),
            now=context.now,
            hostname="mail.example.com",
            further=[("Cc", ", ".join(target.cc)), ("Importance", notifications.importance_of(action)), *target.fields],
        )
        self._sent += [("", recipient, content) for recipient in target.recipients]

    def _multiscript(self, use: Use, compiler: Compiler) -> Test:
        names: Texts = compiler.texts(use[0])

        def multiscript(machine: Machine) -> bool:
            """Each script runs when the one before it kept the message; what is kept at the end goes to INBOX."""
            flags: Sequence[str] = ()
            for name in names.values(machine):
                script = compile_script((self.path.parent / name).read_bytes(), LIMITS)
                inner = Machine(machine.context, LIMITS)
                inner.flags = list(flags)
                if inner.execute(script)[0]:
                    return False
                self._carry_out(machine, inner.actions)
                if not inner.implicit_keep:
                    return True
                flags = inner.flags
            self._carry_out(machine, [Keep(tuple(flags), True)])
            return True

        return multiscript

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
            if name is None:
                if number >= len(self._sent):
                    return False
                sender, recipient, content = self._sent[number]
                self._show(machine, content)
                machine.context = replace(machine.context, sender=sender, recipient=recipient)
                return True
            where = self._folders.get(name.value(machine), [])
            if number >= len(where):
                return False
            content, flags = where[number]
            self._show(machine, content)
            machine.flags = list(flags)
            return True

        return message

    def _message_command(self, use: Use, compiler: Compiler) -> Operation:
        look = self._message(use, compiler)

        def message(machine: Machine) -> None:
            if not look(machine):
                raise Failed("there is no such message")

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
