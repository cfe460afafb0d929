"""The `body` test. RFC 5173."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mailbox_app.proto.mime import Part
from mailbox_app.proto.sieve.machine import Machine, Test
from mailbox_app.proto.sieve.parts import is_text, part_text, raw_text
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Extension, Question, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


Bodies = Callable[[Machine], Sequence[str]]


def _raw(machine: Machine) -> Sequence[str]:
    message = machine.context.message
    if not len(message.parts):
        return ()
    root = message.parts.part(0)
    return (raw_text(machine, root.body_start, root.body_end),) if _has_body(machine, root) else ()


def _has_body(machine: Machine, part: Part) -> bool:
    """RFC 5173 4: a message that ends with its header, without an empty line, has no body, not even an empty one."""
    if part.index or part.body_end > part.body_start:
        return True
    ending = machine.context.message.read(max(part.body_start - 3, 0), min(part.body_start, 3))
    return ending.endswith((b"\n\r\n", b"\n\n")) or (part.body_start <= 2 and ending.endswith(b"\n"))


def _wanted(content_type: str, wanted: Sequence[str]) -> bool:
    """RFC 5173 5.2: a type, a type with its subtype, or "" for all; anything else matches nothing."""
    for each in wanted:
        if each.count("/") > 1 or each.startswith("/") or each.endswith("/"):
            continue
        if each == "" or content_type == each or ("/" not in each and content_type.partition("/")[0] == each):
            return True
    return False


def _content(machine: Machine, wanted: Sequence[str]) -> Sequence[str]:
    message = machine.context.message
    table = message.parts
    found: list[str] = []
    for index in range(min(len(table), machine.limits.parts)):
        part = table.part(index)
        machine.spend(1)
        if not _has_body(machine, part) or not _wanted(part.content_type.decode("latin-1"), wanted):
            continue
        if part.is_multipart:
            found += _around(machine, part)
        elif part.is_message:
            inner = table.embedded(part)
            header = raw_text(machine, part.body_start, inner.body_start if inner else part.body_end)
            found.append(header.removesuffix("\r\n") if header.endswith("\r\n\r\n") else header)
        else:
            found.append(part_text(machine, part, html_as_text=False))
    return found


def _around(machine: Machine, part: Part) -> Sequence[str]:
    """What stands before and after the parts of a multipart, without the delimiters. RFC 5173 5.2."""
    table = machine.context.message.parts
    first, last = table.child(part, 1), table.child(part, part.children)
    if first is None or last is None:
        return ()
    before = raw_text(machine, part.body_start, first.header_start)
    after = "\n" + raw_text(machine, last.body_end, part.body_end)
    delimiter = after.find("\n--")
    line_end = after.find("\n", delimiter + 1) if delimiter >= 0 else -1
    return before[: max(before.rfind("\n--"), 0)], after[line_end + 1 :] if line_end >= 0 else ""


def _text(machine: Machine) -> Sequence[str]:
    table = machine.context.message.parts
    found = []
    for index in range(min(len(table), machine.limits.parts)):
        part = table.part(index)
        machine.spend(1)
        if is_text(part) and _has_body(machine, part):
            found.append(part_text(machine, part, html_as_text=True))
    return found


def _source(use: Use, compiler: Compiler) -> Bodies:
    form = use.groups.get("transform", "text")
    if form == "raw":
        return lambda machine: _once(machine, ("raw",), lambda: _raw(machine))
    given = use.tags.get("content")
    if given is None:
        return lambda machine: _once(machine, ("text",), lambda: _text(machine))
    types = compiler.texts(given)

    def content(machine: Machine) -> Sequence[str]:
        wanted = [each.lower() for each in types.values(machine)]
        return _once(machine, ("content", *wanted), lambda: _content(machine, wanted))

    return content


def _once(machine: Machine, key: tuple[str, ...], read: Callable[[], Sequence[str]]) -> Sequence[str]:
    """Several tests of one script look at the same bodies."""
    found = machine.bodies.get(key)
    if found is None:
        if len(machine.bodies) >= _KEPT:
            machine.bodies.clear()
        found = machine.bodies[key] = read()
    return found


def _body(use: Use, compiler: Compiler) -> Test:
    keys = compiler.texts(use[0])
    source = _source(use, compiler)
    match = compiler.match(use, keys, capture=False)  # RFC 5173 6: `:matches` sets no variables here

    def body(machine: Machine) -> bool:
        return match.test(machine, source(machine), keys)

    return body


_KEPT = 8

EXTENSION = Extension(
    capabilities=("body",),
    rfc="RFC 5173",
    questions=(
        Question(
            "body",
            _body,
            (Shape.STRINGS,),
            (
                Tag("raw", None, "", "transform"),
                Tag("content", Shape.STRINGS, "", "transform"),
                Tag("text", None, "", "transform"),
            ),
            matching=True,
            capability="body",
        ),
    ),
)
