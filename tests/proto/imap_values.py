"""A reader of IMAP values that accepts nothing but the grammar, and checks of ENVELOPE and BODYSTRUCTURE."""

from __future__ import annotations

import re

_ATOM = re.compile(rb"NIL|[0-9]+")
_QUOTED = re.compile(rb'"((?:[\x01-\x09\x0b\x0c\x0e-\x21\x23-\x5b\x5d-\x7f]|\\["\\])*+)"')
_LITERAL = re.compile(rb"\{([0-9]+)\}\r\n")


def read_value(data: bytes) -> object:
    stack: list[list[object]] = [[]]
    position = 0
    while position < len(data):
        if data.startswith(b"(", position):
            stack.append([])
            position += 1
        elif data.startswith(b")", position):
            done = stack.pop()
            stack[-1].append(done)
            position += 1
        elif match := _QUOTED.match(data, position):
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", match[1]))
            position = match.end()
        elif match := _LITERAL.match(data, position):
            end = match.end() + int(match[1])
            text = data[match.end() : end]
            assert len(text) == int(match[1])
            assert b"\0" not in text
            stack[-1].append(text)
            position = end
        elif match := _ATOM.match(data, position):
            stack[-1].append(None if match[0] == b"NIL" else int(match[0]))
            position = match.end()
        else:
            raise AssertionError(f"not IMAP at {position}: {data[position : position + 40]!r}")
        if data.startswith(b" ", position) and data[position + 1 : position + 2] not in (b"", b")", b" "):
            position += 1
    (values,) = stack
    (value,) = values
    return value


def is_string(value: object) -> bool:
    return isinstance(value, bytes)


def is_nstring(value: object) -> bool:
    return value is None or isinstance(value, bytes)


def check_parameters(value: object) -> None:
    if value is not None:
        assert value
        assert len(value) % 2 == 0
        assert all(map(is_string, value))


def check_envelope(value: object) -> None:
    assert len(value) == 10
    for index in (0, 1, 8, 9):
        assert is_nstring(value[index])
    for index in range(2, 8):
        if value[index] is not None:
            assert value[index]
            for address in value[index]:
                assert len(address) == 4
                assert all(map(is_nstring, address))


def check_extension(value: list[object]) -> None:
    disposition, languages, location = value
    if disposition is not None:
        kind, parameters = disposition
        assert is_string(kind)
        check_parameters(parameters)
    assert languages is None or (languages and all(map(is_string, languages)))
    assert is_nstring(location)


def check_structure(value: object, *, extended: bool) -> None:
    """RFC 9051 9: body, with body-ext-1part or body-ext-mpart."""
    waiting = [value]
    while waiting:
        body = waiting.pop()
        if isinstance(body[0], list):
            children = [item for item in body if isinstance(item, list)]
            count = next(index for index, item in enumerate(body) if not isinstance(item, list))
            waiting.extend(children[:count])
            assert is_string(body[count])
            rest = body[count + 1 :]
            if extended:
                check_parameters(rest[0])
                check_extension(rest[1:])
            else:
                assert rest == []
            continue
        major, minor, parameters, content_id, description, encoding, size = body[:7]
        assert is_string(major)
        assert is_string(minor)
        check_parameters(parameters)
        assert is_nstring(content_id)
        assert is_nstring(description)
        assert is_string(encoding)
        assert isinstance(size, int)
        assert major != b"multipart"
        rest = body[7:]
        if major == b"message" and minor in (b"rfc822", b"global"):
            envelope, inner, lines, *rest = rest
            check_envelope(envelope)
            waiting.append(inner)
            assert isinstance(lines, int)
        elif major == b"text":
            lines, *rest = rest
            assert isinstance(lines, int)
        if extended:
            assert rest[0] is None
            check_extension(rest[1:])
        else:
            assert rest == []
