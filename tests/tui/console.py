"""The console in a test: the real app against the fixture daemon, with a fixed clock, and the screen as text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

from tests.tui.daemon import NOW, Data, FixtureDaemon
from tui.app import ConsoleApp

SHOTS = Path(__file__).parent / "shots"


@dataclass
class Console:
    """App, pilot and daemon of one test."""

    app: ConsoleApp
    pilot: Pilot[int]
    daemon: FixtureDaemon

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        for character in text:
            self.app.press(character if character != " " else "space", character)
        await self.pilot.pause()

    async def until(self, condition: Callable[[], object]) -> None:
        for _ in range(400):
            if condition():
                return
            await self.pilot.pause(0.01)
        raise AssertionError("never became true; the screen:\n" + self.text())

    async def shows(self, text: str) -> None:
        await self.until(lambda: text in self.text())

    async def shows_not(self, text: str) -> None:
        await self.until(lambda: text not in self.text())

    def text(self) -> str:
        return "\n".join(self.lines()) + "\n"

    def lines(self) -> list[str]:
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips]

    def methods(self) -> list[str]:
        return [call["method"] for call in self.daemon.calls]


@asynccontextmanager
async def console(
    folder: Path,
    data: Data | None = None,
    *,
    size: tuple[int, int] = (80, 24),
    ascii_only: bool = False,
    read_only: bool = False,
    started: bool = True,
    protocol: int = 1,
) -> AsyncIterator[Console]:
    """A running console; with `started` the daemon listens already and Home is complete."""
    path = str(folder / "control.sock")
    daemon = FixtureDaemon(path, data, protocol=protocol)
    if started:
        await daemon.start()
    app = ConsoleApp(path, ascii_only=ascii_only, read_only=read_only, now=lambda: NOW)
    try:
        async with app.run_test(size=size) as pilot:
            running = Console(app, pilot, daemon)
            if started:
                await running.shows("TRAFFIC")
            yield running
    finally:
        if daemon.listening:
            await daemon.stop()
