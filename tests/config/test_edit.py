"""One key changes, everything else of the file stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailbox_app.config.edit import describe, set_key, set_keys, setting
from mailbox_app.config.load import load
from mailbox_app.errors import ConfigError

TEXT = """# ours
[server]
hostname = "mail.example.org"  # the name

[limits]
max_recipients = 50
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def test_comments_order_and_mode_stay(file: Path) -> None:
    change = set_key(file, "limits.max_recipients", "70")
    assert (change.old, change.new, change.config.limits.max_recipients) == (50, 70, 70)
    assert file.read_text() == TEXT.replace("50", "70")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in file.parent.iterdir()] == ["config.toml"]


def test_an_absent_section_is_made(file: Path) -> None:
    set_key(file, "listen.smtp", '["127.0.0.1:2525", "[::1]:2525"]')
    assert load(file).listen.smtp == ["127.0.0.1:2525", "[::1]:2525"]
    assert file.read_text().startswith(TEXT)


def test_a_bare_word_is_text(file: Path) -> None:
    assert set_key(file, "server.hostname", "mx.example.org").new == "mx.example.org"
    assert set_key(file, "server.user", "1000").new == "1000"


@pytest.mark.parametrize(
    ("key", "value"), [("limits.max_recipients", "0"), ("limits.nothing", "1"), ("tls.cert_file", '"a"')]
)
def test_a_refused_change_changes_nothing(file: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigError):
        set_key(file, key, value)
    assert file.read_text() == TEXT


def test_keys_that_need_each_other_are_set_together(file: Path) -> None:
    changes = set_keys(file, {"tls.cert_file": "/etc/cert.pem", "tls.key_file": "/etc/key.pem"})
    assert [(each.key, each.old, each.new) for each in changes] == [
        ("tls.cert_file", "", "/etc/cert.pem"),
        ("tls.key_file", "", "/etc/key.pem"),
    ]
    before = file.read_text()
    with pytest.raises(ConfigError):
        set_keys(file, {"tls.cert_file": "/etc/other.pem", "tls.key_file": ""})
    assert file.read_text() == before


def test_describe_shows_value_default_and_manual(file: Path) -> None:
    config = load(file)
    each = setting(config, "limits.max_recipients")
    assert (each.value, each.default, each.doc) == (50, 100, "Recipients of one message.")
    assert setting(config, "server.hostname").default is None
    assert [name for name, _, _ in describe(config)] == list(config.__struct_fields__)


@pytest.mark.parametrize(
    "before",
    ["", "[policy]\njunk_score = 6.0 # mine\n", '[policy.checks] # how\nhelo = "off"\n', "[policy]\nchecks = { }\n"],
)
def test_an_entry_of_a_table_is_set_by_its_own_key(tmp_path: Path, before: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[server]\nhostname = "mail.example.org"\n' + before, "utf-8")
    change = set_key(path, "policy.checks.ptr", "advisory")
    assert (change.old, change.new) == ("", "advisory")
    assert set_key(path, "policy.checks.ptr", "off").old == "advisory"
    config = load(path)
    assert config.policy.checks["ptr"] == "off"
    assert config.policy.checks.get("helo") == ("off" if "helo" in before else None)
    assert ("# mine" in before) == ("# mine" in path.read_text("utf-8"))
    with pytest.raises(ConfigError):
        set_key(path, "policy.checks.ptr", "sometimes")
    with pytest.raises(ConfigError):
        setting(config, "policy.checks.ptr.more")
