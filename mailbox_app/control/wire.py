"""The frames of the control protocol: one JSON object per line, UTF-8, at most 1 MiB.

Pure: bytes in, values out. A line that is no frame is a `control.bad_frame`; a frame that would be too large to send is
`control.too_large` (ask for fewer rows).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct, field

from mailbox_app.errors import ControlError, MailboxError

PROTOCOL = 1
MAX_FRAME_BYTES = 1 << 20

_ENCODER = msgspec.json.Encoder(uuid_format="hex")


class Request(Struct, forbid_unknown_fields=True):
    """A client's frame."""

    id: int
    method: str
    params: Raw = field(default_factory=lambda: Raw(b"{}"))
    via: str = ""


class Hello(Struct):
    """The server's first frame."""

    protocol: int
    version: str
    hostname: str
    uid: int
    user: str


class ErrorObject(Struct):
    """A refusal."""

    code: str
    text: str
    remedy: str = ""
    temporary: bool = False


class Answer(Struct):
    """Any frame of the server, as the client reads it."""

    id: int | None = None
    result: Raw = field(default_factory=Raw)
    error: ErrorObject | None = None
    progress: dict[str, object] | None = None
    hello: Hello | None = None
    sub: int | None = None


BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises; bytes that are no UTF-8 and deep nesting are not among its own errors."""

_REQUEST = msgspec.json.Decoder(Request)
_ANSWER = msgspec.json.Decoder(Answer)


def encode(frame: Mapping[str, object]) -> bytes:
    """One line."""
    line = _ENCODER.encode(frame) + b"\n"
    if len(line) > MAX_FRAME_BYTES:
        raise ControlError("control.too_large", "the answer does not fit into one frame; ask for less at once")
    return line


def decode_request(line: bytes) -> Request:
    """A client's line."""
    try:
        return _REQUEST.decode(line)
    except BAD_JSON as error:
        raise ControlError("control.bad_frame", f"this is no request: {error}") from error


def decode_answer(line: bytes) -> Answer:
    """A server's line."""
    try:
        return _ANSWER.decode(line)
    except BAD_JSON as error:
        raise ControlError("control.bad_frame", "the server's answer cannot be read; versions may differ") from error


def error_object(error: MailboxError) -> ErrorObject:
    """What a client is told of an error; the way out comes from its `remedy` field."""
    return ErrorObject(error.code, error.public_text, str(error.fields.get("remedy", "")), error.temporary)


def error_frame(request_id: int | None, error: MailboxError) -> bytes:
    """The answer to a request that failed."""
    return encode({"id": request_id, "error": error_object(error)})
