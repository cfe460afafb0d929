"""One run of a script: its budget, variables, flags, header edits, the actions so far and the trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from mailbox_app.proto.header import Header, decode_words
from mailbox_app.proto.sieve.actions import Action, Discard, FileInto, Keep, Redirect, Reject, Remember, Vacation
from mailbox_app.proto.sieve.context import Context
from mailbox_app.proto.sieve.faults import Fault, SieveError
from mailbox_app.proto.sieve.header_edits import HeaderEdits, Place
from mailbox_app.proto.sieve.limits import Limits
from mailbox_app.proto.sieve.message import Message
from mailbox_app.proto.sieve.rewritten import Rewritten, with_parts
from mailbox_app.proto.sieve.values import tidy

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.script import Script

Operation = Callable[["Machine"], None]
Test = Callable[["Machine"], bool]
Block = Sequence[tuple[int, Operation]]
"""Commands with their lines."""

_CLOCK_EVERY = 256
"""Steps between two looks at the clock."""


class Stop(Exception):
    """The `stop` command."""


class Return(Exception):
    """The `return` command. RFC 6609 3.3."""


class Frame:
    """What belongs to one script of a run."""

    __slots__ = ("globals_used", "match", "name", "variables")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.variables: dict[str, str] = {}
        self.match: Sequence[str] = ()
        self.globals_used: set[str] = set()


class Machine:
    """The state of a run. Operations and tests get it as their only argument."""

    def __init__(self, context: Context, limits: Limits) -> None:
        self.context = context
        self.limits = limits
        self.line = 0
        self.frame = Frame()
        self._includes = 0
        self._running: list[tuple[str, str]] = []
        self.included: set[tuple[str, str]] = set()
        self.globals: dict[str, str] = {}
        self.flags: list[str] = list(context.flags or ())
        self.edits = HeaderEdits()
        self.actions: list[Action] = []
        self.implicit_keep = True
        self.remember: dict[str, Remember] = {}
        self._duplicates: dict[str, bool] = {}
        self.part: int | None = None
        """The MIME part of the innermost foreverypart."""
        self.headers: dict[int, Header] = {}
        """Of MIME parts, by their row."""
        self.bodies: dict[object, Sequence[str]] = {}
        self._content: Rewritten | None = None
        """The message as the script made it; `context.message` reads it."""
        self._replaced: dict[int, bytes] = {}
        """Parts to be replaced when the loop over them ends."""
        self._rewritten = 0
        self._unenclosed: tuple[Rewritten | None, HeaderEdits] | None = None
        """What redirects take: the message before it was enclosed. RFC 5703 6."""
        self.trace: list[str] = []
        self.seen: tuple[Sequence[str], Sequence[str]] | None = None
        """The values and keys of the last match, for the trace."""
        self._steps = 0
        self._next_clock = _CLOCK_EVERY
        self._ends = time.thread_time() + limits.seconds
        self._values: dict[str, Sequence[str]] = {}
        self._redirects = 0

    # budget and trace

    def spend(self, steps: int) -> None:
        """Take from the budget; raises `Fault` when it is used up."""
        self._steps += steps
        if self._steps >= self._next_clock:
            self._next_clock = self._steps + _CLOCK_EVERY
            if self._steps > self.limits.steps:
                raise Fault(f"the script took more than {self.limits.steps} steps")
            if time.thread_time() > self._ends:
                raise Fault(f"the script took longer than {self.limits.seconds:g} seconds")

    def fault(self, message: str) -> Fault:
        """To be raised."""
        return Fault(message)

    def note(self, text: str) -> None:
        """One line of the trace."""
        if len(self.trace) < self.limits.trace_steps:
            name = self.frame.name
            self.trace.append(f"{name}:{self.line}: {text}" if name else f"{self.line}: {text}")
        elif len(self.trace) == self.limits.trace_steps:
            self.trace.append("... more steps are not shown")

    def show(self, texts: Sequence[str]) -> str:
        """Values for the trace."""
        longest = self.limits.trace_characters
        shown = [f'"{text[:longest]}..."' if len(text) > longest else f'"{text}"' for text in texts[:5]]
        if len(texts) > 5:
            shown.append(f"and {len(texts) - 5} more")
        line = ", ".join(shown).replace("\r", "").replace("\n", "\\n")
        return line if len(shown) == 1 else f"[{line}]"

    # running

    def run(self, block: Block) -> None:
        """Run commands in order."""
        for line, operation in block:
            self.line = line
            self.spend(1)
            operation(self)

    def execute(self, script: Script) -> tuple[str, int]:
        """Run a whole script; what went wrong and where, or ("", 0)."""
        try:
            self.run(script.block)
        except (Stop, Return):
            return "", 0
        except Fault as fault:
            place = f"{self.frame.name}, line {self.line}" if self.frame.name else f"line {self.line}"
            self.note(f"error: {fault}")
            return f"{place}: {fault}", self.line
        except RecursionError:
            return f"line {self.line}: the script is nested too deeply", self.line
        return "", 0

    # the header

    def values(self, name: str) -> Sequence[str]:
        """The decoded values of a field of the message's own header, as edited so far, top first."""
        key = name.lower()
        found = self._values.get(key)
        if found is None:
            raw = self.raw_values(key)
            found = self._values[key] = [tidy(decode_words(value)) for value in raw[: self.limits.header_values]]
            self.spend(sum(map(len, raw)) >> 9)
        return found

    def raw_values(self, key: str) -> Sequence[bytes]:
        """The same undecoded; `key` in lower case."""
        header = self.context.message.header
        if not self.edits:
            return header.all(key.encode("utf-8", "surrogateescape"))
        return [place.value for place in self.places(key)]

    def places(self, key: str) -> Sequence[Place]:
        """The fields of that name (lower case) as edited so far."""
        header = self.context.message.header
        self.spend(len(header.fields) >> 3)
        return self.edits.places(header, key)

    def edit(self, edits: HeaderEdits) -> None:
        """The header has changed."""
        self.edits = edits
        self._values.clear()

    def size_bytes(self) -> int:
        """The size of the message as edited so far."""
        message = self.context.message
        if not self.edits:
            return message.size_bytes
        self.spend(sum(len(value) for _, value in (*self.edits.above, *self.edits.below)) >> 6)
        return message.size_bytes + self.edits.growth(message.header)

    # the content. RFC 5703

    def head(self) -> bytes:
        """The header block as edited so far, with its empty line."""
        message = self.context.message
        length = message.parts.part(0).body_start if len(message.parts) else message.size_bytes
        self.spend(length >> 6)
        block = self.edits.apply(message.read(0, length))
        if block.endswith((b"\n\r\n", b"\n\n")) or block == b"\r\n":
            return block
        return block + (b"\r\n" if block.endswith(b"\n") else b"\r\n\r\n")

    def replace_part(self, entity: bytes) -> None:
        """Another entity for the part of the loop; seen by tests when the loop is through."""
        self._count_rewriting(len(entity))
        self._replaced[self.part or 0] = entity

    def rewrite(self, content: Rewritten) -> None:
        """From now on this is the message; a loop over the parts of the one before ends."""
        self._count_rewriting(content.header_bytes)
        self.edits = HeaderEdits()
        self._take(content)

    def enclose(self, make: Callable[[Message], Rewritten]) -> None:
        """Make a message around this one, which redirects do not take."""
        self.settle()
        if self._unenclosed is None:
            self._unenclosed = self._content, self.edits
        self.rewrite(make(self.context.message))

    def settle(self) -> None:
        """Replace the parts that were to be replaced."""
        if self._replaced:
            self._take(with_parts(self.context.message, self._replaced))

    def _count_rewriting(self, size: int) -> None:
        self._rewritten += 1
        if self._rewritten > self.limits.actions:
            raise Fault(f"the message is changed more than {self.limits.actions} times")
        self.spend(size >> 6)

    def _take(self, content: Rewritten) -> None:
        self._content = content
        self._replaced.clear()
        message = Message(content.read, content.size_bytes)
        self.context = replace(self.context, message=message)
        self.headers.clear()
        self.bodies.clear()
        self._values.clear()
        self.part = None if self.part is None else 0

    def _filed(self, action: Keep | FileInto | Redirect) -> Keep | FileInto | Redirect:
        """The action with the message as it is now."""
        if isinstance(action, Redirect) and self._unenclosed is not None:
            content, edits = self._unenclosed
            return replace(action, content=content, edits=edits or None)
        content = with_parts(self.context.message, self._replaced) if self._replaced else self._content
        return action if content is None else replace(action, content=content)

    # variables. RFC 5229

    def variable(self, name: str) -> str:
        """The value of a variable; an unknown one is empty. `name` in lower case."""
        frame = self.frame
        if name in frame.globals_used:
            return self.globals.get(name, "")
        return frame.variables.get(name, "")

    def set_variable(self, name: str, value: str) -> None:
        """Assign to a variable of this script, or to a global one that it declared."""
        self._assign(self.globals if name in self.frame.globals_used else self.frame.variables, name, value)

    def set_global(self, name: str, value: str) -> None:
        """Assign to one that all scripts of the run share. RFC 6609 3.4.2."""
        self._assign(self.globals, name, value)

    def _assign(self, scope: dict[str, str], name: str, value: str) -> None:
        limits = self.limits
        if len(value) * 4 > limits.variable_bytes:  # RFC 5229 6: what is too long is cut
            raw = value.encode("utf-8", "surrogateescape")
            if len(raw) > limits.variable_bytes:
                value = raw[: limits.variable_bytes].decode("utf-8", "ignore")
        if name not in scope and len(scope) >= limits.variables:
            raise Fault(f"there are more than {limits.variables} variables")
        scope[name] = value

    # other scripts, and what was seen before

    def include(self, location: str, name: str, *, once: bool, optional: bool) -> None:
        """Run another script here. RFC 6609 3.2."""
        key = (location, name)
        if once and key in self.included:
            return
        if key in self._running:
            raise Fault(f'the script "{name[:80]}" includes itself')
        self._includes += 1
        if self._includes > self.limits.includes or len(self._running) >= self.limits.include_depth:
            raise Fault("too many scripts are included")
        try:
            script = self.context.library.script(location, name)
        except SieveError as error:
            raise Fault(f'the included script "{name[:80]}" is not valid: {error.problems[0]}') from error
        if script is None:
            if optional:
                self.note(f"include {name[:80]}: there is no such script")
                return
            raise Fault(f'there is no {location} script "{name[:80]}" to include')
        self.note(f"include {location} {name[:80]}")
        self.included.add(key)
        outer, line, part = self.frame, self.line, self.part
        self._running.append(key)
        self.frame = Frame(name[:80])
        self.spend(8)
        with suppress(Return):
            self.run(script.block)
        self.frame, self.line, self.part = outer, line, part
        self._running.pop()

    def duplicate(self, identity: str, seconds: int, *, last: bool) -> bool:
        """Whether the identity was seen before this run; it is remembered for the next. RFC 7352 3."""
        known = self._duplicates.get(identity)
        if known is None:
            if len(self._duplicates) >= self.limits.duplicates:
                raise Fault(f"more than {self.limits.duplicates} duplicate tests")
            self.spend(8)
            known = self._duplicates[identity] = self.context.memory.seen(identity)
        if not known or last:
            self.remember[identity] = Remember(identity, seconds)
        return known

    # actions

    def act(self, action: Action, *, cancels_keep: bool) -> None:
        """Take an action up, unless it was already."""
        if self.context.flags is not None and isinstance(action, Reject | Vacation):  # RFC 6785 3
            raise Fault(f"{type(action).__name__.lower()} cannot be used for a message that is in a mailbox already")
        self._check_reject(action)
        if isinstance(action, Keep | FileInto | Redirect):
            action = self._filed(action)
        if cancels_keep:
            self.implicit_keep = False
        if isinstance(action, Keep | FileInto):
            for index, other in enumerate(self.actions):
                if isinstance(other, Keep | FileInto) and self._place(other) == self._place(action):
                    flags = tuple(dict.fromkeys((*other.flags, *action.flags)))
                    self.actions[index] = replace(other, flags=flags)
                    return
        elif isinstance(action, Redirect):
            if any(isinstance(other, Redirect) and other.address == action.address for other in self.actions):
                return
            self._redirects += 1
            if self._redirects > self.limits.redirects:
                raise Fault(f"more than {self.limits.redirects} redirects")
        elif isinstance(action, Discard):
            if action in self.actions:
                return
        elif isinstance(action, Vacation) and any(isinstance(other, Vacation) for other in self.actions):
            raise Fault("vacation may be used only once")  # RFC 5230 4.7
        if len(self.actions) >= self.limits.actions:
            raise Fault(f"more than {self.limits.actions} actions")
        self.actions.append(action)

    def _check_reject(self, action: Action) -> None:
        """RFC 5429 2.4: a message that is refused is not also delivered, answered or passed on."""
        if isinstance(action, Reject):
            for other in self.actions:
                if isinstance(other, Reject):
                    raise Fault("reject may be used only once")
                if not isinstance(other, Discard):
                    raise Fault(f"reject cannot be used together with {type(other).__name__.lower()}")
        elif not isinstance(action, Discard) and any(isinstance(other, Reject) for other in self.actions):
            raise Fault(f"{type(action).__name__.lower()} cannot be used together with reject")

    def result(self, *, failed: bool) -> Sequence[Action]:
        """The actions to be done. RFC 5228 2.10.6: whatever goes wrong, the message is kept."""
        if failed:
            return (Keep(implicit=True),)
        if self.implicit_keep:
            self.act(Keep(tuple(self.flags), True, self.edits or None), cancels_keep=False)
        return tuple(self.actions)

    def _place(self, action: Keep | FileInto) -> tuple[str, str, str]:
        """What makes two filings the same."""
        if isinstance(action, Keep):
            return self.context.home, "", ""
        name = "INBOX" if action.mailbox.upper() == "INBOX" else action.mailbox
        return name, action.special_use.lower(), action.mailbox_id
