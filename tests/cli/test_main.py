"""Exit codes and errors of the command line without a running server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.cli import main as main_module
from mailbox_app.cli.commands import COMMANDS
from mailbox_app.cli.main import cli, main
from mailbox_app.cli.output import Duration, Size, duration, size
from mailbox_app.clock import SystemClock
from mailbox_app.events.bus import LocalBus
from mailbox_app.runtime import data_lock
from mailbox_app.store.maildir.backend import MaildirStore


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'[server]\nhostname = "mail.example.org"\ndata_dir = "{tmp_path}/data"\n')
    (tmp_path / "data").mkdir()
    return path


def test_every_listed_command_loads_and_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name, _, _ in COMMANDS:
        assert main([name, "--help"]) == 0
        assert "Usage: mailbox" in capsys.readouterr().out


def test_alone_without_a_terminal_it_is_usage_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Usage: mailbox" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["nope"], ["domain", "nope"], ["user", "add"], ["--nope"], ["queue", "list", "--limit", "x"]]
)
def test_usage_errors_exit_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_without_a_server_it_is_one_sentence_and_exit_75(config_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(config_path), "status"]) == 75
    error = capsys.readouterr().err
    assert error == (
        f"mailbox: the server does not run: nothing listens at {config_path.parent}/data/run/control.sock."
        " Start it: mailbox serve\n"
    )


def test_the_configuration_may_be_named_by_the_environment(
    config_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAILBOX_CONFIG", str(config_path))
    assert main(["config", "get", "server.hostname"]) == 0
    assert capsys.readouterr().out == '"mail.example.org"\n'


def test_checking_the_configuration_needs_no_server(config_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(config_path), "config", "check"]) == 0
    config_path.write_text(config_path.read_text() + "[limits]\nmax_recipient = 1\n")
    assert main(["--config", str(config_path), "config", "check"]) == 1
    error = capsys.readouterr().err
    assert "config.toml:5" in error
    assert "limits.max_recipient" in error
    assert main(["--config", str(config_path), "status"]) == 75, "a mistake elsewhere does not hide the socket"


def test_settings_are_shown_without_a_server(config_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(config_path), "config", "show", "--json"]) == 0
    sections = json.loads(capsys.readouterr().out)["sections"]
    assert sections[0]["settings"][0] == {
        "key": "server.hostname", "value": "mail.example.org", "default": None,
        "doc": sections[0]["settings"][0]["doc"],
    }  # fmt: skip


def test_a_named_configuration_that_is_not_there_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(tmp_path / "nope.toml"), "status"]) == 1
    assert capsys.readouterr().err == f"mailbox: {tmp_path}/nope.toml: there is no such file.\n"


def test_indexes_are_checked_and_rebuilt_while_the_server_is_stopped(
    config_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = SqliteDirectory(tmp_path / "data" / "directory.db")
    directory.add_domain("example.org")
    account = directory.add_account("alice@example.org", "hash")
    directory.close()
    store = MaildirStore(tmp_path / "data", LocalBus(), hostname="mail.example.org", clock=SystemClock())
    store.account(account.ref).mailboxes()
    store.close()
    assert main(["--config", str(config_path), "rebuild-index", "--all"]) == 0
    assert main(["--config", str(config_path), "rebuild-index", "--search", "alice@example.org"]) == 0
    assert (tmp_path / "data" / "mail" / "example.org" / "alice" / "search.db").exists()
    assert main(["--config", str(config_path), "check-store"]) == 0
    assert "alice@example.org: 0 messages" in capsys.readouterr().out


def test_data_that_somebody_holds_is_not_touched(
    config_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SqliteDirectory(tmp_path / "data" / "directory.db").close()
    lock = data_lock.acquire(tmp_path / "data")
    assert lock is not None
    assert main(["--config", str(config_path), "check-store"]) == 75
    assert "starting or stopping" in capsys.readouterr().err


def test_a_mistake_of_ours_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "main", lambda **_: 1 / 0)
    monkeypatch.delenv("MAILBOX_DEBUG", raising=False)
    assert main(["status"]) == 1
    assert (
        capsys.readouterr().err
        == "mailbox: this is a mistake of the program (ZeroDivisionError). MAILBOX_DEBUG=1 shows where\n"
    )


def test_an_interrupted_command_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module.cli, "main", interrupted)
    assert main(["status"]) == 130


@pytest.mark.parametrize(
    ("words", "forbidden"),
    [
        (["version"], ["asyncio", "sqlite3", "textual", "cryptography", "aiosmtpd", "msgspec", "argon2", "dns"]),
        (["status"], ["asyncio", "sqlite3", "textual", "cryptography", "aiosmtpd", "structlog", "argon2", "dns"]),
        (["config", "check"], ["asyncio", "sqlite3", "textual", "cryptography", "aiosmtpd", "tomlkit"]),
    ],
)
def test_a_command_loads_only_what_it_needs(config_path: Path, words: list[str], forbidden: list[str]) -> None:
    program = (
        "import json, sys\nfrom mailbox_app.cli.main import main\n"
        f"main({['--config', str(config_path), *words]!r})\nprint(json.dumps(sorted(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(found.stdout.splitlines()[-1]))
    assert not loaded & set(forbidden)


def test_times_and_sizes_are_read_and_told() -> None:
    assert [Duration().convert(text, None, None) for text in ("90", "5m", "2h", "3d", "1w")] == [
        90,
        300,
        7200,
        259200,
        604800,
    ]
    assert [Size().convert(text, None, None) for text in ("none", "0", "10", "500M", "2G", "1.5k")] == [
        0, 0, 10, 500 * 2**20, 2 * 2**30, 1536,
    ]  # fmt: skip
    assert [size(count) for count in (None, 0, 22, 1536, 20_000, 2**31)] == [
        "-",
        "0 B",
        "22 B",
        "1.5 kB",
        "20 kB",
        "2.0 GB",
    ]
    assert [duration(seconds) for seconds in (5, 61, 7200, 200_000)] == ["5 s", "1 min", "2 h", "2 d"]
