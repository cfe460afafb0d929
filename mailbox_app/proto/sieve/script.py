"""Scripts read and run: the two doors of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.proto.sieve.actions import Action, Remember
from mailbox_app.proto.sieve.compiler import Compiler
from mailbox_app.proto.sieve.context import Context
from mailbox_app.proto.sieve.faults import Problem
from mailbox_app.proto.sieve.grammar import parse
from mailbox_app.proto.sieve.header_edits import HeaderEdits
from mailbox_app.proto.sieve.limits import Limits
from mailbox_app.proto.sieve.machine import Block, Machine

DEFAULT_LIMITS = Limits()


class Script:
    """A compiled script; it may run any number of times, on several threads at once."""

    __slots__ = ("block", "capabilities", "warnings")

    def __init__(self, block: Block, capabilities: frozenset[str], warnings: Sequence[Problem] = ()) -> None:
        self.block = block
        self.capabilities = capabilities
        """What it requires."""
        self.warnings: Sequence[Problem] = warnings
        """What is not wrong but odd, for who wrote it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run decided."""

    actions: Sequence[Action]
    """In order, the implicit keep last; duplicates left out; empty only when the message is discarded without more."""
    edits: HeaderEdits | None
    """The header at the end of the run; actions carry the header as it was for them. None: as received."""
    flags: Sequence[str]
    """The internal flag variable at the end (imapsieve). RFC 5232 4, RFC 6785 3.7."""
    steps: Sequence[str]
    """What happened, a line each: `3: header :contains ["subject"] ["x"] = true`."""
    error: str = ""
    """Why the run stopped short ("line 4: ..."); the only action is then the implicit keep."""
    error_line: int = 0
    remember: Sequence[Remember] = ()
    """For `Memory`, once the actions are done."""


def compile_script(source: bytes | str, limits: Limits = DEFAULT_LIMITS) -> Script:
    """Read and check a script; raises `SieveError` with every problem found."""
    compiler = Compiler(limits)
    block = compiler.script(parse(source, limits))
    return Script(block, frozenset(compiler.required), compiler.warnings())


def run(script: Script, context: Context, limits: Limits = DEFAULT_LIMITS) -> Outcome:
    """Run a script on a message. Never raises for what a script or a message contains."""
    machine = Machine(context, limits)
    error, line = machine.execute(script)
    return Outcome(
        machine.result(failed=bool(error)),
        None if error else machine.edits or None,
        tuple(machine.flags),
        tuple(machine.trace),
        error,
        line,
        () if error else tuple(machine.remember.values()),
    )
