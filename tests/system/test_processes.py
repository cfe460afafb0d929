"""The daemon as a whole: it gets ready, keeps going when parts of it are killed, reloads, and stops in time."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import BACK_SECONDS, START, Daemon, eventually, mail

pytestmark = pytest.mark.system
ALICE = "alice@example.org"


@pytest.fixture(params=[False, True], ids=["processes", "single"])
def any_daemon(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    made = Daemon(tmp_path, single=request.param)
    yield made
    made.destroy()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    yield made
    made.destroy()


def test_mail_comes_in_and_is_read(any_daemon: Daemon) -> None:
    any_daemon.start()
    any_daemon.add_account(ALICE)
    with any_daemon.smtp() as client:
        client.sendmail("bob@example.net", [ALICE], mail("<1@example.net>"))
    assert any_daemon.message_ids(ALICE) == ["<1@example.net>"]
    status = any_daemon.call("status")
    assert status["ready"]
    assert {each["service"]: each["port"] for each in status["listeners"]} == any_daemon.ports
    with urllib.request.urlopen(f"http://127.0.0.1:{any_daemon.ports['metrics']}/metrics") as answer:
        assert b"mailserver_messages_received_total 1.0" in answer.read()
    with urllib.request.urlopen(f"http://127.0.0.1:{any_daemon.ports['metrics']}/health") as answer:
        assert answer.status == 200
    assert any_daemon.stop() == 0


def test_the_metrics_of_all_processes_move(daemon: Daemon) -> None:
    daemon.start()
    daemon.add_account(ALICE)
    for _ in range(6):  # spread over both fronts
        with daemon.smtp() as client:
            client.sendmail("bob@example.net", [ALICE], mail("<5@example.net>"))
            assert client.docmd("MAIL", "FROM:<bob@example.net>")[0] == 250
            assert client.docmd("RCPT", "TO:<carol@example.com>")[0] == 550
    with daemon.imap(ALICE) as client:
        client.select("INBOX")
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.ports['metrics']}/metrics") as answer:
            lines = dict(
                line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[:1] not in {"", "#"}
            )
    values = {name.removeprefix("mailserver_"): float(value) for name, value in lines.items()}
    assert values["messages_received_total"] == 6
    assert values['messages_rejected_total{reason="relay_denied"}'] == 6
    assert values['connections_total{protocol="smtp"}'] == 6
    assert values['active_connections{protocol="imap"}'] == 1
    assert values['auth_attempts_total{protocol="imap",result="success"}'] == 1
    assert values['imap_commands_total{command="SELECT"}'] == 1
    assert values["uptime_seconds"] > 0


def test_an_empty_folder_is_initialised_for_us_only(daemon: Daemon) -> None:
    daemon.start()
    data = daemon.folder / "data"
    assert data.stat().st_mode & 0o777 == 0o750
    assert all(path.stat().st_mode & 0o077 == 0 for path in data.glob("*.db"))
    assert all(path.stat().st_mode & 0o077 == 0 for path in data.glob("certs/*.key"))


def test_a_second_daemon_on_the_same_data_is_refused(daemon: Daemon) -> None:
    daemon.start()
    done = subprocess.run(
        [sys.executable, "-c", START, str(daemon.config)], capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 75
    assert b"another daemon uses" in done.stderr


def test_a_bad_file_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[server]\nhostname = "mail.example.org"\n[listen]\nsmpt = []\n')
    done = subprocess.run(
        [sys.executable, "-c", START, str(tmp_path / "config.toml")], capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert done.stderr.decode() == f"mailbox: {tmp_path}/config.toml:4: listen.smpt: unknown key; did you mean smtp?\n"


def test_a_bad_reload_changes_nothing_and_a_good_one_is_applied(daemon: Daemon) -> None:
    daemon.start()
    good = daemon.config.read_text()
    daemon.config.write_text(good + "[limits]\nmax_recipients = 0\n")
    daemon.signal(signal.SIGHUP)
    (refused,) = eventually("refusal", lambda: daemon.events("supervisor.reload refused, nothing changed"))
    assert refused["reason"].endswith("limits.max_recipients: expected int >= 1")
    with daemon.smtp() as client:
        client.ehlo()
        assert "SIZE 26214400" in client.ehlo_resp.decode()  # type: ignore[union-attr]
    daemon.config.write_text(good + "[limits]\nmax_message_bytes = 5000\n")
    daemon.signal(signal.SIGHUP)
    eventually("all reloaded", lambda: len(daemon.events("runtime.reloaded")) == 3)
    with daemon.smtp() as client:
        client.ehlo()
        assert "SIZE 5000" in client.ehlo_resp.decode()  # type: ignore[union-attr]


def test_a_process_started_anew_has_what_was_reloaded_since(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, fronts=1).start()
    try:
        daemon.config.write_text(daemon.config.read_text() + "[limits]\nmax_message_bytes = 5000\n")
        daemon.signal(signal.SIGHUP)
        eventually("all reloaded", lambda: len(daemon.events("runtime.reloaded")) == 2)
        daemon.config.write_text("nothing = 1\n")  # nor does a later mistake in the file keep it from starting
        before = daemon.process("front-1")["pid"]
        os.kill(before, signal.SIGKILL)
        eventually("front is back", lambda: daemon.process("front-1")["pid"] != before)
        with daemon.smtp() as client:
            client.ehlo()
            assert "SIZE 5000" in client.ehlo_resp.decode()  # type: ignore[union-attr]
    finally:
        daemon.destroy()


def test_a_reload_asked_for_by_an_operator_is_applied(any_daemon: Daemon) -> None:
    any_daemon.start()
    any_daemon.config.write_text(any_daemon.config.read_text() + "[limits]\nmax_message_bytes = 5000\n")
    any_daemon.call("config.reload")
    assert any_daemon.call("config.get", key="limits.max_message_bytes")["value"] == 5000
    any_daemon.config.write_text("nothing = 1\n")
    with pytest.raises(AssertionError, match="nothing: unknown key"):
        any_daemon.call("config.reload")
    assert any_daemon.call("status")["ready"]


@pytest.mark.parametrize("single", [False, True], ids=["processes", "single"])
def test_the_service_manager_hears_of_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, single: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        daemon = Daemon(tmp_path, single=single)
        try:
            daemon.start()
            heard = [manager.recv(500).split(b"\n")[0]]
            daemon.signal(signal.SIGHUP)
            heard += [manager.recv(500).split(b"\n")[0] for _ in range(2)]
            daemon.signal(signal.SIGTERM)
            heard.append(manager.recv(500).split(b"\n")[0])
            assert heard == [b"READY=1", b"RELOADING=1", b"READY=1", b"STOPPING=1"]
            assert daemon.wait() == 0
        finally:
            daemon.destroy()


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("a-folder-with-a-very-long-name-" * 4)
    folder.mkdir()
    daemon = Daemon(folder)
    try:
        assert daemon.start().call("status")["ready"]
    finally:
        daemon.destroy()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_started_as_root_everything_runs_as_the_user() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        daemon = Daemon(folder)
        daemon.config.write_text(daemon.config.read_text().replace("fronts = 2", 'fronts = 1\nuser = "nobody"'))
        try:
            daemon.start()
            daemon.add_account(ALICE)
            with daemon.smtp() as client:
                client.sendmail("bob@example.net", [ALICE], mail("<4@example.net>"))
            assert daemon.message_ids(ALICE) == ["<4@example.net>"]
            nobody = pwd.getpwnam("nobody").pw_uid
            for row in daemon.call("status")["processes"]:
                assert Path(f"/proc/{row['pid']}").stat().st_uid == nobody
            assert {path.stat().st_uid for path in (folder / "data").rglob("*")} == {nobody}
            assert daemon.stop() == 0
        finally:
            daemon.destroy()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_data_of_another_user_is_refused_with_what_to_do() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        daemon = Daemon(folder)
        daemon.config.write_text(daemon.config.read_text().replace("fronts = 2", 'fronts = 1\nuser = "nobody"'))
        (folder / "data").mkdir()
        (folder / "data" / "directory.db").touch()
        process = daemon.spawn()
        assert process.wait(20) == 77
        assert f"user nobody may not write in {folder}/data; give it away with: chown -R" in daemon.log_path.read_text()


def test_a_killed_front_is_back_and_what_waited_is_served(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, fronts=1).start()
    try:
        row = daemon.process("front-1")
        os.kill(row["pid"], signal.SIGSTOP)
        with socket.create_connection(("127.0.0.1", daemon.ports["smtp"]), 10) as waiting:
            # The kernel has completed the handshake; the frozen front has not accepted yet.
            os.kill(row["pid"], signal.SIGKILL)
            killed = time.monotonic()
            waiting.settimeout(10)
            assert waiting.recv(100).startswith(b"220 mail.example.org")
            assert time.monotonic() - killed < BACK_SECONDS
        again = daemon.process("front-1")
        assert again["pid"] != row["pid"]
        assert again["restarts"] == 1
    finally:
        daemon.destroy()


def test_a_killed_core_is_back_and_fronts_went_on(daemon: Daemon) -> None:
    daemon.start()
    daemon.add_account(ALICE)
    row = daemon.process("core")
    os.kill(row["pid"], signal.SIGKILL)
    killed = time.monotonic()
    with daemon.smtp() as client:
        client.sendmail("bob@example.net", [ALICE], mail("<2@example.net>"))
    assert daemon.process("core")["pid"] != row["pid"]
    assert time.monotonic() - killed < BACK_SECONDS
    assert daemon.message_ids(ALICE) == ["<2@example.net>"]


def test_everything_ends_with_a_killed_supervisor_and_starts_again_at_once(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, ports=True).start()
    try:
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        time.sleep(0.05)  # the kernel kills the children after it has told us
        daemon.start()
    finally:
        daemon.destroy()


def test_a_stop_says_goodbye_to_open_sessions_in_time(any_daemon: Daemon) -> None:
    any_daemon.start()
    any_daemon.add_account(ALICE)
    with any_daemon.smtp() as smtp, any_daemon.imap(ALICE) as imap:
        smtp.ehlo()
        imap.select("INBOX")
        any_daemon.signal(signal.SIGTERM)
        began = time.monotonic()
        assert smtp.getreply()[0] == 421
        assert imap.readline().startswith(b"* BYE")
        assert any_daemon.wait(10) == 0
        assert time.monotonic() - began < 10
    assert not (any_daemon.folder / "run" / "control.sock").exists()


def test_a_hint_crosses_from_one_front_to_another(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, fronts=2).start()
    try:
        daemon.add_account(ALICE)
        with daemon.imap(ALICE) as first, daemon.imap(ALICE) as second, daemon.imap(ALICE) as third:
            for idle in (first, second, third):
                idle.select("INBOX")
                idle.send(b"x IDLE\r\n")
                assert idle.readline().startswith(b"+")
            with daemon.smtp() as client:
                client.sendmail("bob@example.net", [ALICE], mail("<3@example.net>"))
            for idle in (first, second, third):
                idle.sock.settimeout(5)
                assert b"1 EXISTS" in idle.readline()
    finally:
        daemon.destroy()
