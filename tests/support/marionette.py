"""A Mozilla program on a screen nobody sees, driven from outside: Marionette's lines of JSON over a socket."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

SECONDS = 60.0
_WRAPPED = """
const done = arguments[arguments.length - 1];
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
(async () => { %s })().then(
  value => done({ value: value === undefined ? null : value }),
  error => done({ error: String(error) }),
);
"""


class Screen:
    """A virtual X server; `picture` writes a PNG of it."""

    def __init__(self, folder: Path) -> None:
        reading, writing = os.pipe()
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
            pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=(folder / "xvfb.log").open("wb"),
        )  # fmt: skip
        os.close(writing)
        with os.fdopen(reading) as told:
            self.display = f":{told.readline().strip()}"

    def picture(self, path: Path) -> None:
        subprocess.run(
            ["import", "-display", self.display, "-window", "root", str(path)], check=True, timeout=SECONDS
        )  # fmt: skip

    def close(self) -> None:
        self._server.terminate()
        self._server.wait(SECONDS)


class Marionette:
    """One session in the program's own (chrome) context."""

    def __init__(self, port: int) -> None:
        self._buffer = b""
        self._number = 0
        self._socket = self._connected(port)
        self._read()
        self._call("WebDriver:NewSession", capabilities={})
        self._call("Marionette:SetContext", value="chrome")
        self._call("WebDriver:SetTimeouts", script=int(SECONDS * 1000))

    def run(self, script: str, *arguments: object) -> Any:
        """The value an asynchronous function of this body returns."""
        result = self._call("WebDriver:ExecuteAsyncScript", script=_WRAPPED % script, args=list(arguments))["value"]
        if "error" in result:
            raise AssertionError(result["error"])
        return result["value"]

    def until(self, what: str, script: str) -> Any:
        """Run a script until it returns something true."""
        deadline = time.monotonic() + SECONDS
        while not (value := self.run(script)):
            if time.monotonic() > deadline:
                raise AssertionError(f"never: {what}")
            time.sleep(0.1)
        return value

    def close(self) -> None:
        self._socket.close()

    @staticmethod
    def _connected(port: int) -> socket.socket:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _call(self, command: str, **parameters: object) -> Any:
        self._number += 1
        data = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(data), data))
        _, _, error, result = self._read()
        if error:
            raise AssertionError(error["message"])
        return result

    def _read(self) -> Any:
        while b":" not in self._buffer:
            self._more()
        size, _, rest = self._buffer.partition(b":")
        while len(rest) < int(size):
            self._more()
            rest = self._buffer.partition(b":")[2]
        self._buffer = rest[int(size) :]
        return json.loads(rest[: int(size)])

    def _more(self) -> None:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError("the program hung up")
        self._buffer += data
