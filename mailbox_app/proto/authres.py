"""Authentication-Results fields (RFC 8601): ours composed, forged ones found.

Values come from strangers; whatever is put in is made to fit the grammar, so nothing can add a result or a field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.proto.header import Field, Header, unfold
from mailbox_app.proto.parameters import strip_comments

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+^_`{|}~.-]+")
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+^_`{|}~.=/-]*@[A-Za-z0-9._-]+")
_UNPRINTABLE = re.compile(r"[^ -~]")
_NOT_IN_COMMENT = re.compile(r"[^ !#-'*-\[\]-~]")
_SERVICE = re.compile(rb"[ \t]*(?:\"([^\"]*)\"|([^\s;\"]+))")
_MAX_FIELD = 32_768
_MAX_METHODS = 100
# Up to a semicolon outside quotes.
_PIECES = re.compile(rb'(?:[^;"]++|"(?:[^"\\]++|\\.)*+"?)++', re.DOTALL)
# method [/ version] = result, or ptype.property = value: a token, a quoted string, an address, or a local part in quotes
_PAIR = re.compile(
    rb"[ \t\r\n]*+([A-Za-z][A-Za-z0-9-]*+(?:[ \t]*+[./][ \t]*+[A-Za-z0-9_-]++)?+)[ \t]*+=[ \t]*+"
    rb'(?:"((?:[^"\\]++|\\.)*+)"(?![^\s])|((?:[^\s;"]++|"(?:[^"\\]++|\\.)*+")++)(?![^\s]))',
    re.DOTALL,
)
_WORD = re.compile(rb'[ \t\r\n]*+(?:[^\s"]++|"(?:[^"\\]++|\\.)*+"?+)*+[^\S]?', re.DOTALL)
_BLANKS = re.compile(rb"[ \t]+")
_UNQUOTE = re.compile(rb"\\(.)", re.DOTALL)
_MAX_VALUE = 320  # the longest address there is


@dataclass(frozen=True, slots=True)
class Method:
    """The result of one check."""

    name: str
    """spf, dkim, dmarc, arc, auth."""
    result: str
    """pass, fail, softfail, neutral, none, policy, temperror, permerror."""
    properties: Sequence[tuple[str, str]] = ()
    """Pairs such as ("smtp.mailfrom", "a@example.net")."""
    comment: str = ""
    """For people, shown in parentheses after the result."""
    reason: str = ""


def _value(text: str) -> str:
    text = _UNPRINTABLE.sub("?", text[:_MAX_VALUE])
    if _TOKEN.fullmatch(text) or _ADDRESS.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _method(method: Method) -> list[str]:
    words = [f"{method.name}={method.result}"]
    if method.comment:
        words.append("(" + _NOT_IN_COMMENT.sub("?", method.comment[:200]) + ")")
    if method.reason:
        words.append("reason=" + _value(method.reason))
    words.extend(f"{name}={_value(value)}" for name, value in method.properties)
    return words


def compose_authres(service_id: str, methods: Sequence[Method]) -> bytes:
    """The whole field with its CRLF, each method on its own line; `none` when nothing was checked. RFC 8601 2.2."""
    if not methods:
        return f"Authentication-Results: {_value(service_id)}; none\r\n".encode("ascii")
    lines = [f"Authentication-Results: {_value(service_id)}"]
    for method in methods:
        lines[-1] += ";"
        line = "\t"
        for word in _method(method):
            if len(line) > 1 and len(line) + 1 + len(word) > 76:
                lines.append(line)
                line = "\t"
            line += word if line == "\t" else " " + word
        lines.append(line)
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


def parse_authres(value: bytes) -> tuple[str, Sequence[Method]]:
    """The service's name in lower case and the methods of a field; what is no result is passed over. RFC 8601 2.2.

    Comments and quotes are honoured: what a service quotes of a stranger's words (an envelope sender) is no result.
    """
    text = strip_comments(unfold(value[:_MAX_FIELD]))
    pieces = _PIECES.findall(text)[: _MAX_METHODS + 1]
    service = _SERVICE.match(pieces[0]) if pieces else None
    name = b"" if service is None else service[1] if service[1] is not None else service[2]
    methods = []
    for piece in pieces[1:]:
        found = _pairs(piece)
        if not found or "." in found[0][0]:
            continue
        (method, result), *rest = found
        properties = tuple(pair for pair in rest if pair[0] != "reason")
        reason = next((text for key, text in rest if key == "reason"), "")
        methods.append(Method(method.partition("/")[0], result.lower(), properties, reason=reason))
    # Folded as bytes, as `forged_authres` does: other letters and blanks that Unicode takes for ours make another name.
    return name.lower().strip().rstrip(b".").decode("utf-8", "replace"), methods


def _pairs(piece: bytes) -> Sequence[tuple[str, str]]:
    """The names with their values from left to right; names without blanks and in lower case."""
    found = []
    position = 0
    while position < len(piece):
        match = _PAIR.match(piece, position)
        if match is not None:
            key, quoted, bare = match.groups()
            value = bare if quoted is None else _UNQUOTE.sub(rb"\1", quoted)
            found.append((_BLANKS.sub(b"", key).decode("ascii").lower(), value.decode("utf-8", "replace")))
        else:
            match = _WORD.match(piece, position)
            assert match is not None
        position = match.end()
    return found


def forged_authres(header: Header, service_id: str) -> Sequence[Field]:
    """The received fields that claim to be ours and must be taken out of a message from outside. RFC 8601 5."""
    own = service_id.lower().encode("utf-8", "replace").rstrip(b".")
    found = []
    for field in header.fields:
        if field.key == b"authentication-results":
            match = _SERVICE.match(strip_comments(unfold(field.value)))
            claimed = b"" if match is None else (match[1] if match[1] is not None else match[2])
            if claimed.lower().strip().rstrip(b".") == own:
                found.append(field)
    return found
