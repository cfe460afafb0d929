"""Numbers that the documents promise and no other test asserts; `scripts/week` shows those of the queue at work.

Each is written out, so that a changed constant or default is a changed promise, and somebody has to say so.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from argon2 import extract_parameters
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailbox_app.accounts.dkim_keys import key_pair
from mailbox_app.accounts.passwords import Hasher, check_new
from mailbox_app.config.load import load
from mailbox_app.config.schema import Config
from mailbox_app.db.state_schema import open_state
from mailbox_app.errors import AccountError, ConfigError
from mailbox_app.mailqueue import delay_notices, schedule
from mailbox_app.mailqueue.destinations import breaker as machine
from mailbox_app.mailqueue.destinations.breaker import Breaker, Condition
from mailbox_app.net.resolver import DnsResolver
from mailbox_app.outbound import smtp_client
from mailbox_app.policy.settings import wide_network
from mailbox_app.policy.state.greylist import Attempt, Rule, SqliteGreylist
from mailbox_app.services.smtp.limits import SmtpLimits
from tests.support.clock import FakeClock
from tests.support.dns import FakeDnsServer

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
CONTRACT = """
[server]
hostname = "mail.example.org"
fronts = 0
user = "mailserver"
[listen]
smtp = ["*:25"]
submission = ["*:587"]
submissions = ["*:465"]
imap = []
imaps = ["*:993"]
pop3s = []
managesieve = ["*:4190"]
https = ["*:443", "*:8443"]
http = ["*:80"]
metrics = ["127.0.0.1:9254"]
console = []
[tls]
auto_tls = true
require_tls = true
[dns]
servers = []
timeout_seconds = 5
[limits]
max_message_bytes = 26214400
max_recipients = 100
[delivery]
require_tls = false
ca_file = ""
allow_private_addresses = false
smarthost = ""
[queue]
backend = "sqlite"
redis_url = ""
[greylist]
enabled = true
min_delay = "5m"
max_age = "35d"
"""
"""What is documented as the default of each key."""


def config(tmp_path: Path, text: str = "") -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text if "[server]" in text else f'[server]\nhostname = "mail.example.org"\n{text}')
    return load(file)


def test_every_documented_key_has_its_documented_default(tmp_path: Path) -> None:
    assert config(tmp_path, CONTRACT) == config(tmp_path)


@pytest.mark.parametrize(
    ("key", "promised"),
    [
        ("greylist.min_delay", 5 * MINUTE),
        ("greylist.max_age", 35 * DAY),
        ("greylist.ceiling", HOUR),
        ("greylist.network_passes", 5),
        ("queue.history_days", 30),
        ("queue.redis_body_bytes", 1 << 20),
        ("delivery.connections", 5),
        ("delivery.tls_downgrade_hold", DAY),
        ("delivery.plain_after_tls_failure", 0.0),
        ("submission.future_release_days", 30),
        ("abuse.account_recipients_per_hour", 500),
        ("abuse.account_recipients_per_day", 2_000),
        ("abuse.account_new_recipients_per_day", 300),
        ("abuse.account_burst", 150),
        ("retention.expunged_days", 14),
        ("sieve.max_script_bytes", 64 << 10),
        ("sieve.max_scripts", 32),
        ("sieve.max_redirects", 4),
    ],
)
def test_defaults(tmp_path: Path, key: str, promised: float) -> None:
    section, _, name = key.partition(".")
    value = getattr(getattr(config(tmp_path), section), name)
    assert seconds(value) == promised


def seconds(value: object) -> object:
    """A duration as the configuration writes it, in seconds."""
    if not isinstance(value, str):
        return value
    units = {"s": 1.0, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
    return float(value[:-1]) * units[value[-1]]


@pytest.mark.parametrize(
    ("setting", "is_taken"),
    [
        ("[limits]\nmax_message_bytes = 1023\n", False),
        ("[limits]\nmax_message_bytes = 1024\n", True),
        ("[limits]\nmax_message_bytes = 104857600\n", True),
        ("[queue]\nhistory_days = 0\n", False),
        ("[delivery]\nconnections = 101\n", False),
    ],
)
def test_bounds_of_settings(tmp_path: Path, setting: str, is_taken: bool) -> None:
    if is_taken:
        assert isinstance(config(tmp_path, setting), msgspec.Struct)
    else:
        with pytest.raises(ConfigError):
            config(tmp_path, setting)


# --- the queue, as pure functions; the week shows them at work


def test_the_schedule() -> None:
    assert (schedule.LIFETIME.total_seconds(), schedule.MAX_ATTEMPTS) == (7 * DAY, 15)
    hours = [delay / HOUR for delay in schedule.DELAYS_SECONDS]
    assert hours == [1 / 12, 1 / 4, 1 / 2, 1, 2, 4, 8, 16, 24]
    assert delay_notices.DELAY_SECONDS == 4 * HOUR


def test_a_breaker_opens_at_the_fifth_failure_for_five_minutes_and_closes_at_the_second_success() -> None:
    breaker, now = Breaker("mx.there.example:25"), 1_000_000.0
    for _ in range(4):
        breaker = machine.note_failure(breaker, "", now, "refused")
    assert breaker.condition is Condition.CLOSED
    breaker = machine.note_failure(breaker, "", now, "refused")
    assert breaker.condition is Condition.OPEN
    assert not machine.may_pass(breaker, now + 5 * MINUTE - 1)
    assert machine.may_pass(breaker, now + 5 * MINUTE)
    for number in (1, 2):
        now += 5 * MINUTE
        breaker = machine.start_probe(breaker, f"probe {number}", now)
        assert not machine.may_pass(breaker, now), "one message at a time"
        breaker = machine.note_success(breaker, f"probe {number}", now)
        assert (breaker.condition is Condition.CLOSED) == (number == 2)


def test_deadlines_towards_other_servers() -> None:
    assert (smtp_client.CONNECT_SECONDS, smtp_client.COMMAND_SECONDS) == (30, 5 * MINUTE)
    # RFC 5321 4.5.3.2.5, 4.5.3.2.6
    assert (smtp_client.DATA_BLOCK_SECONDS, smtp_client.DATA_END_SECONDS) == (3 * MINUTE, 10 * MINUTE)


def test_deadlines_and_bounds_towards_those_who_bring_mail() -> None:
    limits = SmtpLimits()
    # RFC 5321 4.5.3.2.7, 4.5.3.2.5
    assert (limits.command_seconds, limits.block_seconds) == (5 * MINUTE, 3 * MINUTE)
    assert (limits.messages, limits.logins, limits.hops) == (1_000, 3, 50)


# --- DNS


@pytest.mark.parametrize(("ttl", "kept"), [(0, 5.0), (300, 300.0), (7 * 86_400, DAY)])
async def test_an_answer_is_kept_for_its_ttl_within_five_seconds_and_a_day(ttl: int, kept: float) -> None:
    clock = FakeClock()
    async with FakeDnsServer({("example.org", "MX"): ["10 mx.example.org."]}, ttl=ttl) as server:
        resolver = DnsResolver([server.address], 5, clock)
        await resolver.query("example.org", "MX")
        clock.skip(kept - 1)
        await resolver.query("example.org", "MX")
        assert len(server.asked) == 1
        clock.skip(2)
        await resolver.query("example.org", "MX")
        assert len(server.asked) == 2


# --- greylisting


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
    ],
)
def test_a_network_is_a_24_or_a_48(address: str, network: str) -> None:
    assert wide_network(address) == network


def test_who_comes_back_after_five_minutes_is_known_for_35_days(tmp_path: Path) -> None:
    clock = FakeClock()
    found = config(tmp_path).greylist
    delay, age, ceiling = (float(str(seconds(each))) for each in (found.min_delay, found.max_age, found.ceiling))
    rule = Rule(delay, age, ceiling, found.attempts, found.network_passes)
    attempt = Attempt("192.0.2.0/24", "a@x.example", "x.example", "b@example.org", "192.0.2.1", "no host name")
    database = open_state(tmp_path / "state.db")
    greylist = SqliteGreylist(database, clock)
    words = []
    for pause in (0.0, 5 * MINUTE - 1, 1.0, 35 * DAY - 1, 35 * DAY + 1):
        clock.skip(pause)
        words.append(greylist.decide(attempt, rule).word)
    database.close()
    assert words == ["waits", "waits", "came_back", "known", "waits"]


# --- passwords and keys


def test_argon2id_has_19_mib_two_passes_a_salt_of_16_bytes_and_a_hash_of_32() -> None:
    found = extract_parameters(Hasher().hash("correct horse battery"))
    assert (found.type.name, found.memory_cost, found.time_cost, found.parallelism) == ("ID", 19 << 10, 2, 1)
    assert (found.salt_len, found.hash_len) == (16, 32)


@pytest.mark.parametrize(("length", "is_taken"), [(7, False), (8, True), (256, True), (257, False)])
def test_a_password_has_8_to_256_bytes_and_12_are_recommended(length: int, is_taken: bool) -> None:
    password = ("correct horse battery staple " * 10)[:length]
    if is_taken:
        assert check_new(password, "alice@example.org") == password
    else:
        with pytest.raises(AccountError) as refused:
            check_new(password, "alice@example.org")
        assert "12 characters" in str(refused.value.fields["remedy"])


def test_signing_keys_are_rsa_with_2048_bits() -> None:
    private, public = key_pair("rsa")
    key = serialization.load_pem_private_key(private, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert len(re.sub(r".*p=", "", public)) > 255, "so it is published in several strings"


def test_the_second_try_comes_after_five_minutes_and_there_is_no_sixteenth() -> None:
    arrived = datetime(2026, 3, 2, tzinfo=UTC)
    assert schedule.next_attempt_at(1, arrived, arrived + schedule.LIFETIME, 0.5) == datetime(
        2026, 3, 2, 0, 5, tzinfo=UTC
    )
    assert schedule.next_attempt_at(15, arrived, arrived + schedule.LIFETIME, 0.5) is None
