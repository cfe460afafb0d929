"""The synchronous client: one connection, one request at a time. For the command line; imports no server and no asyncio.

Failures are `ControlError`s: what the server refused with its own code, `control.unreachable` when there is no server,
`control.not_permitted` when the kernel or the server says no.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from mailbox_app.control.wire import MAX_FRAME_BYTES, PROTOCOL, Answer, Hello, decode_answer, encode
from mailbox_app.errors import ControlError
from mailbox_app.net import unix_socket

Progress = Callable[[int, int, str], None]
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 600.0
"""Long work reports progress; a server that says nothing for ten minutes is stuck."""


class ControlClient:
    """Connected from construction on; use as a context manager."""

    def __init__(self, path: Path, *, via: str = "cli", answer_seconds: float = _ANSWER_SECONDS) -> None:
        self._path = path
        self._via = via
        self._rest = bytearray()
        self._last_id = 0
        self._socket = _connect(path)
        try:
            self.hello = self._greeting()
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(answer_seconds)

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def call(
        self, method: str, params: Mapping[str, object] | None = None, progress: Progress | None = None
    ) -> dict[str, Any]:
        """One request and its answer as plain data."""
        self._last_id += 1
        request_id = self._last_id
        frame = encode({"id": request_id, "method": method, "params": params or {}, "via": self._via})
        try:
            self._socket.sendall(frame)
        except OSError as error:
            raise _lost() from error
        while True:
            answer = self._receive()
            if answer.error is not None and answer.id in {request_id, None}:
                raise ControlError(
                    answer.error.code,
                    answer.error.text,
                    temporary=answer.error.temporary,
                    fields={"remedy": answer.error.remedy},
                )
            if answer.id != request_id:
                continue
            if answer.progress is not None and progress is not None:
                step = answer.progress
                progress(int(str(step.get("done", 0))), int(str(step.get("total", 0))), str(step.get("text", "")))
            if answer.result:
                result: dict[str, Any] = msgspec.json.decode(answer.result)
                return result

    def _greeting(self) -> Hello:
        answer = self._receive()
        if answer.error is not None:
            raise ControlError(answer.error.code, answer.error.text, fields={"remedy": answer.error.remedy})
        if answer.hello is None or answer.hello.protocol != PROTOCOL:
            raise ControlError(
                "control.other_version",
                "the running server speaks another version of the control protocol",
                fields={"remedy": "Use the program the server was started with, or restart the server."},
            )
        return answer.hello

    def _receive(self) -> Answer:
        while (end := self._rest.find(b"\n")) < 0:
            try:
                data = self._socket.recv(65_536)
            except TimeoutError as error:
                raise ControlError("control.busy", "the server does not answer", temporary=True) from error
            except OSError as error:
                raise _lost() from error
            if not data:
                raise _lost()
            self._rest += data
            if len(self._rest) > 2 * MAX_FRAME_BYTES:
                raise ControlError("control.bad_frame", "the server's answer is too long")
        line = bytes(self._rest[: end + 1])
        del self._rest[: end + 1]
        return decode_answer(line)


def _connect(path: Path) -> socket.socket:
    try:
        return unix_socket.connect(path, timeout_seconds=_CONNECT_SECONDS)
    except PermissionError as error:
        raise ControlError(
            "control.not_permitted",
            f"you may not use {path}",
            fields={"remedy": "Use root, or a user of the group mailserver-admin."},
        ) from error
    except OSError as error:
        raise ControlError(
            "control.unreachable",
            f"the server does not run: nothing listens at {path}",
            temporary=True,
            fields={"remedy": "Start it: mailbox serve"},
        ) from error


def _lost() -> ControlError:
    return ControlError("control.unreachable", "the server hung up before it answered", temporary=True)
