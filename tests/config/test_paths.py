"""Where things lie, as a service and for oneself."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailbox_app.config.load import parse
from mailbox_app.config.paths import SERVICE_CONFIG, config_path, resolve

GOOD = '[server]\nhostname = "mail.example.org"\n'


def test_the_service_has_the_systems_folders() -> None:
    paths = resolve(parse(GOOD, SERVICE_CONFIG), SERVICE_CONFIG)
    assert (paths.data_dir, paths.run_dir) == (Path("/var/lib/mailserver"), Path("/run/mailserver"))
    assert paths.control_socket == Path("/run/mailserver/control.sock")


def test_a_file_elsewhere_has_the_users_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    paths = resolve(None, tmp_path / "config.toml")
    assert paths.data_dir == tmp_path / "mailserver"
    assert paths.run_dir == tmp_path / "mailserver" / "run"


def test_the_run_folder_may_be_elsewhere(tmp_path: Path) -> None:
    config = parse(GOOD + 'data_dir = "/d"\nrun_dir = "/r"\n', tmp_path / "c.toml")
    paths = resolve(config, tmp_path / "c.toml")
    assert (paths.data_dir, paths.run_dir) == (Path("/d"), Path("/r"))


def test_the_given_file_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILBOX_CONFIG", "/from/environment.toml")
    assert config_path("/given.toml") == Path("/given.toml")
    assert config_path() == Path("/from/environment.toml")
