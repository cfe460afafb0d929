"""Starting and ending the console so that the terminal always survives it.

Checks the terminal before Textual is imported, connects once to find out whether this user may, turns signals into an orderly
end, and leaves by itself when the terminal is gone. Returns exit codes: 0, 1 internal error, 2 no usable terminal, 77 not
permitted, 128+n after signal n.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import locale
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

from tui.client import reachable

if TYPE_CHECKING:
    from tui.app import ConsoleApp
    from tui.theme import PaletteName

USAGE, NOT_PERMITTED = 2, 77
PROBE_SECONDS = 0.3
WATCH_SECONDS = 1.0
LAST_RESORT_SECONDS = 1.5


def run(socket_path: str, *, read_only: bool = False, ascii_only: bool | None = None, mouse: bool = False) -> int:
    """Open the console on this terminal and stay until it is left; returns the exit code."""
    if reason := terminal_missing():
        sys.stderr.write(f"mailbox: {reason}\n")
        return USAGE
    if refused := not_permitted(socket_path):
        sys.stderr.write(f"mailbox: {refused}\n")
        return NOT_PERMITTED
    palette = palette_name()
    plain = ascii_terminal() if ascii_only is None else ascii_only
    # Before the import: Textual reads it once. Animations repaint, and nothing here may only move to be understood.
    os.environ["TEXTUAL_ANIMATIONS"] = "none"
    # Textual turns NO_COLOR into greys; the mono palette has no colour to begin with.
    no_color = os.environ.pop("NO_COLOR", None)
    from tui.app import ConsoleApp

    app = ConsoleApp(socket_path, palette=palette, ascii_only=plain, read_only=read_only)
    try:
        asyncio.run(serve(app, mouse=mouse))
    finally:
        if no_color is not None:
            os.environ["NO_COLOR"] = no_color
    if app.complaint:
        say(app.complaint)
    code = app.return_value if app.return_code == 0 and app.return_value is not None else app.return_code
    return code or 0


async def serve(app: ConsoleApp, *, mouse: bool) -> None:
    """Run the app with signal handlers and the terminal's watchdog."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, leave, app, 128 + number)
    watch = loop.create_task(watch_terminal(app))
    try:
        await app.run_async(mouse=mouse)
    finally:
        watch.cancel()


def leave(app: ConsoleApp, code: int) -> None:
    """End the app; if the terminal does not take its last bytes, end anyway."""
    asyncio.get_running_loop().call_later(LAST_RESORT_SECONDS, os._exit, code)
    app.exit(code, return_code=code)


async def watch_terminal(app: ConsoleApp) -> None:
    """Leave when the terminal is gone although nobody told us (SIGHUP ignored, as below sudo or nohup)."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            os.tcgetpgrp(0)
        except OSError:
            # In order first, so that a program around the console ends what it started; hard when that hangs, because
            # the reading thread would spin for ever.
            leave(app, 128 + signal.SIGHUP)
            return


def say(text: str) -> None:
    """One line on stderr, when there still is one."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        return


def terminal_missing() -> str:
    """Why the console cannot be drawn here; "" when it can."""
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        return "the console needs a terminal. Over SSH use `ssh -t`; without one use `mailbox status` and `mailbox queue list`."
    if os.environ.get("TERM", "dumb") in {"dumb", ""}:
        return "this terminal (TERM=dumb) cannot show the console; use `mailbox status` and `mailbox queue list`."
    return ""


def palette_name() -> PaletteName:
    """Colours by what the terminal says about itself; NO_COLOR wins."""
    term = os.environ.get("TERM", "")
    if os.environ.get("NO_COLOR"):
        return "mono"
    if term == "linux" or term.startswith("vt"):
        return "ansi"
    if (
        os.environ.get("COLORTERM") in {"truecolor", "24bit"}
        or "256" in term
        or "direct" in term
        or "kitty" in term
        or "ghostty" in term
    ):
        return "rich"
    return "ansi"


def ascii_terminal() -> bool:
    """True when box and bar characters would not come out."""
    term = os.environ.get("TERM", "")
    if term == "linux" or term.startswith("vt"):
        return True
    named = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or ""
    charset = named.partition(".")[2].partition("@")[0] or ("" if named else locale.getencoding())
    return charset.lower().replace("-", "") != "utf8" or sys.stderr.encoding.lower().replace("-", "") != "utf8"


def not_permitted(socket_path: str) -> str:
    """Ask once before the screen is switched; "" unless the answer is a clear no."""
    remedy = "Run it as root or as a member of the group mailserver-admin."
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    descriptor = None
    try:
        probe.settimeout(PROBE_SECONDS)
        address, descriptor = reachable(socket_path)
        probe.connect(address)
        first = probe.recv(65536).partition(b"\n")[0]
        frame = json.loads(first) if first else {}
        error = frame.get("error") if isinstance(frame, dict) else None
        if isinstance(error, dict) and error.get("code") == "control.not_permitted":
            return f"this user may not use {socket_path}. {remedy}"
    except PermissionError:
        return f"this user may not open {socket_path}. {remedy}"
    except (OSError, ValueError):
        return ""  # no daemon, or a slow one: the console opens and says so
    finally:
        probe.close()
        if descriptor is not None:
            os.close(descriptor)
    return ""


def main() -> int:
    """`python -m tui`."""
    parser = argparse.ArgumentParser(prog="python -m tui", description="The console, on a control socket.")
    parser.add_argument("--socket", required=True, help="path of control.sock")
    parser.add_argument("--read-only", action="store_true", help="change nothing")
    parser.add_argument("--ascii", action="store_true", default=None, help="draw with ASCII only")
    parser.add_argument("--mouse", action="store_true", help="let the wheel move the cursor")
    chosen = parser.parse_args()
    return run(chosen.socket, read_only=chosen.read_only, ascii_only=chosen.ascii, mouse=chosen.mouse)
