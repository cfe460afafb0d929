"""A mistake in the configuration is answered with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.config.load import load, parse
from mailbox_app.errors import ConfigError
from mailbox_app.proto.sasl.negotiation import NAMES

GOOD = '[server]\nhostname = "mail.example.org"\n'


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, Path("/etc/config.toml"))
    return caught.value.public_text


def test_only_the_hostname_is_required() -> None:
    assert parse(GOOD, Path("/etc/config.toml")).listen.smtp == ["*:25"]
    assert refusal("[server]\n") == "/etc/config.toml:1: server.hostname: is required and has no default"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "[listen]\nsmpt = []\n", "/etc/config.toml:4: listen.smpt: unknown key; did you mean smtp?"),
        (GOOD + "\n[listn]\n", "/etc/config.toml:4: listn: unknown key; did you mean listen?"),
        (GOOD + "fronts = 'two'\n", "/etc/config.toml:3: server.fronts: expected int, got str"),
        (GOOD + "fronts = 65\n", "/etc/config.toml:3: server.fronts: expected int <= 64"),
        (
            GOOD + '[listen]\nsmtp = [\n  "*:25",\n  "nowhere",\n]\n',
            "/etc/config.toml:4: listen.smtp[1]: want \"address:port\", \"*:port\" or \"[v6]:port\", not 'nowhere'",
        ),
        (
            GOOD + '[greylist]\nmin_delay = "soon"\n',
            "/etc/config.toml:4: greylist.min_delay: want a whole number and one of s, m, h, d, w, like 5m, not 'soon'",
        ),
        (GOOD + '[listen]\nsmtp = ["*:70000"]', "/etc/config.toml:4: listen.smtp[0]: 70000 is not a port; the highest is 65535"),
        (GOOD + '[listen]\nimap = ["*:25"]', "/etc/config.toml:4: listen.imap[0]: *:25 is already used by listen.smtp"),
        (GOOD + '[listen]\nconsole = ["*:8080"]',
         "/etc/config.toml:4: listen.console[0]: the web console listens on loopback only, like 127.0.0.1:8080"),
        (GOOD + '[tls]\ncert_file = "a"\n', "/etc/config.toml:4: tls.cert_file: needs tls.key_file too"),
        (GOOD + '[delivery]\nsmarthost = "relay"\n', "/etc/config.toml:4: delivery.smarthost: want \"host:port\", not 'relay'"),
        (
            GOOD + '[queue]\nbackend = "redis"\n',
            "/etc/config.toml:3: queue.redis_url: must name the Redis server, since queue.backend is redis",
        ),
        (
            GOOD + '[login]\nmechanisms = ["PLAIN", "NTLM"]\n',
            f"/etc/config.toml:4: login.mechanisms[1]: want some of {', '.join(NAMES)}, not 'NTLM'",
        ),
        (
            GOOD + '[oauth]\nintrospection_url = "http://id.example/"\n',
            "/etc/config.toml:4: oauth.introspection_url: want https://, or http:// to this machine",
        ),
        (GOOD + 'data_dir = \n', "/etc/config.toml:3: not TOML: Invalid value"),
        ('[server]\nhostname = "two words"\n', "/etc/config.toml:2: server.hostname: 'two words' is not a host name"),
        ('server.hostname = "x"\nlimits.max_recipients = 0\n', "/etc/config.toml:2: limits.max_recipients: expected int >= 1"),
    ],
)  # fmt: skip
def test_a_mistake_names_file_line_and_key(text: str, expected: str) -> None:
    assert refusal(text) == expected


@pytest.mark.parametrize("value", ["[" * 3_000, "{a=" * 3_000, "1" * 5_000])
def test_a_value_no_reader_can_hold_is_no_toml(value: str) -> None:
    assert refusal(f"{GOOD}fronts = {value}\n").startswith("/etc/config.toml:1: not TOML: ")


def test_port_zero_may_be_used_twice() -> None:
    config = parse(GOOD + '[listen]\nsmtp = ["127.0.0.1:0"]\nimap = ["127.0.0.1:0"]\n', Path("/c.toml"))
    assert config.listen.imap == ["127.0.0.1:0"]


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(GOOD + 'data_dir = "data"\n[tls]\ncert_file = "../a.pem"\nkey_file = "/k.pem"\n')
    config = load(file)
    assert config.server.data_dir == str(tmp_path / "data")
    assert config.server.run_dir == ""
    assert config.tls.cert_file == str(tmp_path.parent / "a.pem")
    assert config.tls.key_file == "/k.pem"


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "bytes.toml")


@given(st.text(alphabet="[]{}=\"'.,\n abc:1#\\server-hostname", max_size=80))
def test_any_text_loads_or_is_refused(text: str) -> None:
    try:
        parse(text, Path("/c.toml"))
    except ConfigError as error:
        text_given = error.public_text
    else:
        return
    assert text_given.startswith("/c.toml:")


@pytest.mark.parametrize(
    "url", ["redis://:geheim@192.0.2.1/0", "rediss://u:geheim@r.example", "unix:///r?password=geheim"]
)
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    told = refusal(GOOD + f'[queue]\nbackend = "redis"\nredis_url = "{url}"\n')
    assert "redis_password_file" in told
    assert "geheim" not in told
