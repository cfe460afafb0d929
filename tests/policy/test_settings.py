"""Who is trusted and allowed, in every way an address can be written."""

from __future__ import annotations

import pytest

from mailbox_app.config.schema import Policy
from mailbox_app.policy.settings import Settings, narrow_network, wide_network

SETTINGS = Settings(
    Policy(
        trusted_networks=["198.51.100.0/24", "2001:db8:5::/48"],
        allow=["203.0.113.7", "2001:db8:9::/64", "Example.ORG", "@sub.other.example", "boss@third.example"],
    ),
    ["192.0.2.10"],
)


@pytest.mark.parametrize(
    ("remote_ip", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("", True),
        ("198.51.100.3", True),
        ("::ffff:198.51.100.3", True),
        ("2001:db8:5:1::9", True),
        ("fe80::1%eth0", False),
        ("198.51.101.3", False),
        ("2001:db8:6::9", False),
        ("192.0.2.10", True),
        ("192.0.2.11", False),
    ],
)
def test_clients_are_trusted_by_network(remote_ip: str, trusted: bool) -> None:
    assert SETTINGS.trusts(remote_ip) is trusted


@pytest.mark.parametrize(
    ("sender", "entry"),
    [
        ("a@example.org", "Example.ORG"),
        ("A@News.Example.Org", "Example.ORG"),
        ("a@badexample.org", ""),
        ("a@org", ""),
        ("a@sub.other.example", "@sub.other.example"),
        ("a@other.example", ""),
        ("boss@third.example", "boss@third.example"),
        ("clerk@third.example", ""),
        ("", ""),
        ("example.org@evil.example", ""),
    ],
)
def test_senders_are_allowed_by_address_and_domain(sender: str, entry: str) -> None:
    assert SETTINGS.allows_sender(sender) == entry


def test_networks_of_clients() -> None:
    assert SETTINGS.allows_client("::ffff:203.0.113.7") == "203.0.113.7"
    assert SETTINGS.allows_client("203.0.113.8") == ""
    assert (narrow_network("192.0.2.77"), wide_network("192.0.2.77")) == ("192.0.2.77", "192.0.2.0/24")
    assert (narrow_network("2001:db8:1:2:3::4"), wide_network("2001:db8:1:2:3::4")) == (
        "2001:db8:1:2::/64",
        "2001:db8:1::/48",
    )
