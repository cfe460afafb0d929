"""The structured log: one event, one line on standard error; key=value text on a terminal, JSON elsewhere.

Control characters, bidi marks and line separators in values are escaped, so outside text can neither forge a line nor drive a
terminal. Writing never raises. A line costs about 12 us as JSON, 19 us as text. The standard library's logging is
led here too, from warnings up.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Literal

import msgspec
import structlog

EventDict = MutableMapping[str, object]
Render = Callable[[EventDict], bytes]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_BARE = re.compile(r"[^\s\"=\\]+\Z")


def configure(
    *,
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["auto", "text", "json"] = "auto",
    role: str = "",
    descriptor: int = 2,
) -> None:
    """Set the process's log up; again after a fork (new role) or a reload. auto: text on a terminal, else JSON."""
    text = form == "text" or (form == "auto" and os.isatty(descriptor))
    writer = _Writer(descriptor, _render_text if text else _render_json, role)
    threshold = _LEVELS[level]
    structlog.configure(
        processors=[writer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_Named,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_FromStandard()]
    root.setLevel(max(threshold, logging.WARNING))


class _Named:
    """What a bound logger ends in: it only carries the log's name, the processor has written already."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def msg(self, *_: object) -> None:
        """Nothing is left to do."""

    debug = info = warning = error = critical = exception = msg


class _Writer:
    """The only processor: completes the event, renders it, writes it in one call."""

    def __init__(self, descriptor: int, render: Render, role: str) -> None:
        self._descriptor = descriptor
        self._render = render
        self._role = role
        self._pid = os.getpid()

    def __call__(self, logger: object, level: str, event: EventDict) -> EventDict:
        name = getattr(logger, "name", "")
        line: dict[str, object] = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level,
        }
        if self._role:
            line["role"] = self._role
        line["pid"] = self._pid
        line["event"] = f"{name}.{event.pop('event', '')}" if name else event.pop("event", "")
        exc_info = event.pop("exc_info", None)
        line.update(event)
        try:
            if exc_info:
                line["traceback"] = _traceback(exc_info)
            os.write(self._descriptor, self._render(line))
        except (OSError, ValueError, TypeError, RecursionError):
            # Nobody reads (a closed pipe, a full disk) or a value that cannot be shown: the mail goes on.
            raise structlog.DropEvent from None
        raise structlog.DropEvent


class _FromStandard(logging.Handler):
    """Leads records of the standard library's logging to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record, one event."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        log = structlog.get_logger(record.name)
        write = log.error if record.levelno >= logging.ERROR else log.warning
        if record.exc_info and record.exc_info[0] is not None:
            write(text, exc_info=record.exc_info)
        else:
            write(text)


def _traceback(exc_info: object) -> str:
    if isinstance(exc_info, BaseException):
        return "".join(traceback.format_exception(exc_info))
    if isinstance(exc_info, tuple):
        return "".join(traceback.format_exception(*exc_info))
    return "".join(traceback.format_exception(*sys.exc_info())) if sys.exc_info()[0] else ""


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _plain(value: object) -> object:
    return value.decode("ascii", "backslashreplace") if isinstance(value, bytes) else str(value)


def _clean(value: object) -> object:
    """Bytes as text and lone surrogates escaped: the encoder takes neither."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value if isinstance(value, (int, float, bool, type(None))) else _clean(_plain(value))


def _render_json(line: EventDict) -> bytes:
    for key, value in line.items():
        if type(value) is bytes:
            line[key] = _plain(value)
    try:
        text = msgspec.json.encode(line, enc_hook=_plain).decode()
    except UnicodeEncodeError:
        text = msgspec.json.encode(_clean(line)).decode()
    if _UNSAFE.search(text):
        text = _UNSAFE.sub(_escape, text)
    return text.encode() + b"\n"


def _render_text(line: EventDict) -> bytes:
    head = " ".join(str(line.pop(key)) for key in ("at", "level", "role", "pid", "event") if key in line)
    parts = [_UNSAFE.sub(_escape, head)]
    for key, value in line.items():
        if key == "traceback":
            continue
        shown = _UNSAFE.sub(_escape, _flat(value))
        parts.append(f"{key}={shown if _BARE.match(shown) else _quoted(shown)}")
    lines = [" ".join(parts)]
    if "traceback" in line:
        lines.extend("    " + _UNSAFE.sub(_escape, each) for each in str(line["traceback"]).splitlines())
    return ("\n".join(lines) + "\n").encode()


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(_flat(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return ", ".join(_flat(each) for each in value)
    return str(_plain(value))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
