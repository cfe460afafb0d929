"""Where the tests of header fields look: the message's header, the header of a MIME part, one field of several, one parameter.

`:index` and `:last` are RFC 5260 6, `:mime` and what goes with it RFC 5703 4; address parts RFC 5228 2.7.4 and RFC 5233.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mailbox_app.proto.address_list import parse_address_items
from mailbox_app.proto.header import Header, decode_text, decode_words
from mailbox_app.proto.sieve.parts import header_of, mime_value, sections_below
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.values import tidy

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler
    from mailbox_app.proto.sieve.machine import Machine

AddressPart = Callable[["Machine", str, str], str | None]
Pick = Callable[[Sequence[bytes]], Sequence[bytes]]


def _all(machine: Machine, local: str, domain: str) -> str | None:
    return f"{local}@{domain}" if domain else local


def _localpart(machine: Machine, local: str, domain: str) -> str | None:
    return local


def _domain(machine: Machine, local: str, domain: str) -> str | None:
    return domain or None


def _user(machine: Machine, local: str, domain: str) -> str | None:
    return local.partition(machine.context.separator)[0]


def _detail(machine: Machine, local: str, domain: str) -> str | None:
    _, separator, detail = local.partition(machine.context.separator)
    return detail if separator else None


_PARTS: dict[str, AddressPart] = {
    "all": _all,
    "localpart": _localpart,
    "domain": _domain,
    "user": _user,
    "detail": _detail,
}


def address_parts_of(use: Use) -> AddressPart:
    """The part of addresses that a test looks at."""
    return _PARTS[use.groups.get("part", "all")]


def address_values(machine: Machine, raw: bytes, part: AddressPart) -> Sequence[str]:
    """That part of every address in a header value; what is no whole address is seen by `:all` only. RFC 5228 2.7.4."""
    found = []
    machine.spend(len(raw) >> 9)
    items = parse_address_items(raw, machine.limits.header_values)
    for item in items:
        if item.localpart is None or item.domain is None:
            continue
        local, domain = decode_text(item.localpart), decode_text(item.domain)
        value = part(machine, local, domain) if (local and domain) or part is _all else None
        if value is not None:
            found.append(value)
    return found if items or part is not _all else [decode_words(raw)]


def picker(use: Use, compiler: Compiler) -> Pick | None:
    """RFC 5260 6: only the field with that number, counted from the top or, with `:last`, from the bottom."""
    index = use.tags.get("index")
    if index is None:
        if "last" in use.tags:
            raise compiler.error(use.call.position, "`:last` needs `:index`")
        return None
    number = index.number
    if number < 1:
        raise compiler.error(index.position, "fields are counted from 1")
    if "last" in use.tags:
        return lambda values: values[-number : len(values) - number + 1] if number <= len(values) else ()
    return lambda values: values[number - 1 : number]


class FieldSource:
    """The fields that one test looks at."""

    def __init__(self, use: Use, compiler: Compiler) -> None:
        self._pick = picker(use, compiler)
        self._mime = "mime" in use.tags
        self._any_child = "anychild" in use.tags
        self._what = use.groups.get("mime_value", "")
        parameters = use.tags.get("param")
        self._parameters = compiler.texts(parameters) if parameters is not None else None
        if not self._mime and (self._any_child or self._what):
            raise compiler.error(
                use.call.position, "`:anychild`, `:type`, `:subtype`, `:contenttype`, `:param` need `:mime`"
            )

    def raw(self, machine: Machine, name: str) -> Sequence[bytes]:
        """The unfolded values as received (or as edited)."""
        key = name.lower()
        if not self._mime:
            values = machine.raw_values(key)
            return values if self._pick is None else self._pick(values)
        found: list[bytes] = []
        for header in self._headers(machine):
            values = header.all(key.encode("utf-8", "surrogateescape"))
            found += values if self._pick is None else self._pick(values)
        return found

    def values(self, machine: Machine, name: str) -> Sequence[str]:
        """The decoded values, or what the tags want of them."""
        if not self._mime and self._pick is None:
            return machine.values(name)
        values = self.raw(machine, name)[: machine.limits.header_values]
        machine.spend(sum(map(len, values)) >> 9)
        if not self._what:
            return [tidy(decode_words(value)) for value in values]
        wanted = self._parameters.values(machine) if self._parameters is not None else ()
        return [tidy(text) for value in values for text in mime_value(name, value, self._what, wanted)]

    def _headers(self, machine: Machine) -> Sequence[Header]:
        """RFC 5703 4: of the current part (of the message outside a loop), with `:anychild` of all below it too."""
        if machine.part is None and not self._any_child:
            return (machine.context.message.header,)
        return [header_of(machine, index) for index in sections_below(machine, machine.part or 0, deep=self._any_child)]


def field_source(use: Use, compiler: Compiler) -> FieldSource:
    """What a test of header fields looks at, by its tags."""
    return FieldSource(use, compiler)
