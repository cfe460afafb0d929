"""Plain text outside the full screen: on the terminal's own page, where it can be selected, scrolled and kept."""

from __future__ import annotations

import asyncio
import os
import sys

from textual.app import App

STDIN = 0
NOTE = "-- enter returns to the console --"


async def show_outside(app: App[int], text: str) -> None:
    """Leave the full screen, print the text, wait for enter. The console stays connected and draws nothing meanwhile."""
    with app.batch_update(), app.suspend():
        await asyncio.to_thread(_print, f"\n{text.rstrip()}\n\n{NOTE}\n")
        await _enter()
    app.refresh(layout=True)


def _print(text: str) -> None:
    stream = sys.__stderr__
    if stream is not None:
        stream.write(text)
        stream.flush()


async def _enter() -> None:
    """One line from the terminal, or its end."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(STDIN, came.set)
    try:
        await came.wait()
        os.read(STDIN, 1024)
    finally:
        loop.remove_reader(STDIN)
