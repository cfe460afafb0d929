"""Runs the demo: step by step with evidence, or on a terminal as a living server with the console on it.

Exit 0 when every step held, 1 at the first that failed. The throw-away folder is removed at the end, also when interrupted.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import cast

from mailbox_app.demo.appliance import Appliance, DemoError
from mailbox_app.demo.internet import Internet
from mailbox_app.demo.story import ALICE, PASSWORD, Story, letter


def run(*, once: bool) -> int:
    """The whole demo; `once` never opens the console."""
    with tempfile.TemporaryDirectory(prefix="mailbox-demo-") as name, Internet() as internet:
        folder = Path(name)
        appliance = Appliance(folder, internet.dns_address, internet.port, proxied=True)
        try:
            print(
                f"A mail server in {folder}, beside a pretend internet on loopback. Nothing here lasts.\n", flush=True
            )
            appliance.start()
            story = Story(appliance, internet)
            if once or not (sys.stdin.isatty() and sys.stdout.isatty()):
                return _tell(story)
            return _live(story)
        except DemoError as error:
            print(f"FAILED  {error}", flush=True)
            return 1
        finally:
            appliance.abandon()


def _tell(story: Story) -> int:
    for number, (title, step) in enumerate(story.steps, 1):
        started = time.monotonic()
        try:
            evidence = step()
        except (DemoError, OSError) as error:
            print(f"{number:2}. {title}\n    FAILED  {error}", flush=True)
            return 1
        print(f"{number:2}. {title}  ({time.monotonic() - started:.2f} s)", flush=True)
        for line in evidence:
            print(f"      {line}", flush=True)
    print(f"\nAll {len(story.steps)} steps held.", flush=True)
    return 0


def _live(story: Story) -> int:
    """Set-up first, then mail in the background while the console shows it."""
    print("Setting up; the console opens in a moment. q leaves it and ends the demo.", flush=True)
    story.set_up()
    finished = threading.Event()
    traffic = threading.Thread(target=_traffic, args=(story, finished), daemon=True)
    traffic.start()
    try:
        console = importlib.import_module("tui.main")
        return cast("int", console.run(str(story.appliance.folder / "run" / "control.sock")))
    finally:
        finished.set()
        traffic.join(5)


def _traffic(story: Story, finished: threading.Event) -> None:
    """A message in, one out, and now and then one that waits or bounces, until the console closes."""
    recipients = [
        "bob@friend.example",
        "carol@grey.example",
        "bob@friend.example",
        "dave@slow.example",
        "nobody@friend.example",
    ]
    number = 0
    while not finished.wait(1.0):
        to = recipients[number % len(recipients)]
        try:
            story.receive()
            story.appliance.submit(ALICE, PASSWORD, [to], letter(to, f"Letter {number}"))
        except (DemoError, OSError):
            if finished.is_set():
                return
        number += 1
