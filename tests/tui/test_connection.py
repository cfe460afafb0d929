"""Daemon not there, lost, back, another version."""

from pathlib import Path

import pytest

from tests.tui.console import console
from tests.tui.daemon import Data
from tui.screens.queued_mail import QueueScreen


async def test_console_opens_without_a_daemon_and_says_what_it_tried(tmp_path: Path) -> None:
    async with console(tmp_path, started=False) as screen:
        await screen.shows("The daemon does not answer")
        await screen.shows("control.sock")
        await screen.shows("systemctl start mailserver")
        await screen.shows("no daemon")
        await screen.daemon.start()
        await screen.press("R")
        await screen.shows("SERVICES")


async def test_lost_data_stays_marked_stale_and_changes_are_refused(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("2")
        await screen.shows("joe@example.net")
        await screen.press("j", "j")
        await screen.daemon.stop()
        await screen.shows("STALE 00:0")
        await screen.shows("joe@example.net")
        await screen.press("D")
        await screen.shows("Not connected: what you see is old")
        await screen.press("j")
        await screen.daemon.start()
        await screen.press("R")
        await screen.shows_not("STALE")
        view = screen.app.view
        assert isinstance(view, QueueScreen)
        assert view.rows.cursor == 3
        await screen.until(lambda: screen.daemon.topics() == ["health", "queue.window", "queue.window"])
        screen.daemon.data.size = 20
        screen.daemon.push()
        await screen.shows("+6 new")


async def test_the_filter_survives_a_restart_of_the_daemon(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("2", "/")
        await screen.type("gmail")
        await screen.press("enter")
        await screen.shows("3 of 14 waiting match")
        await screen.daemon.stop()
        await screen.shows("STALE")
        await screen.daemon.start()
        await screen.press("R")
        await screen.shows_not("STALE")
        await screen.shows("3 of 14 waiting match")


async def test_another_protocol_version_may_look_but_not_change(tmp_path: Path) -> None:
    async with console(tmp_path, Data(), protocol=2) as screen:
        await screen.press("2")
        await screen.shows("joe@example.net")
        await screen.press("x")
        await screen.shows("another protocol version")
        assert "queue.plan" not in screen.methods()


async def test_losing_the_right_ends_with_77(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.daemon.stop()
        await screen.shows("STALE")
        screen.daemon.refuse = "control.not_permitted"
        await screen.daemon.start()
        await screen.press("R")
        await screen.until(lambda: screen.app.return_value == 77)
        assert "mailserver-admin" in screen.app.complaint


SYSTEMCTL = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$1" in
list-unit-files) echo "mailserver.service enabled enabled" ;;
is-active) echo inactive; exit 3 ;;
start) echo "Job for mailserver.service failed, see the log." >&2; exit 1 ;;
esac
"""


async def test_the_service_can_be_started_where_systemd_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "systemctl"
    tool.write_text(SYSTEMCTL.format(folder=tmp_path))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    async with console(tmp_path, started=False) as screen:
        await screen.shows("mailserver: inactive")
        await screen.shows("b begin")
        await screen.press("b")
        await screen.shows("Job for mailserver.service failed, see the log.")
        assert "start --no-ask-password mailserver.service" in (tmp_path / "asked").read_text()


async def test_starting_is_not_offered_without_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with console(tmp_path, started=False) as screen:
        await screen.shows("The daemon does not answer")
        await screen.press("b")
        await screen.shows("Not possible: systemd has no unit mailserver here")
        await screen.shows_not("b begin")
