"""Connections are counted per client: an address, or a /64 of IPv6."""

from __future__ import annotations

import pytest

from mailbox_app.net.limits import ConnectionCounter


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::ffff"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::2"),
    ],
)
def test_one_client_has_a_limit(first: str, second: str) -> None:
    counter = ConnectionCounter(1)
    assert counter.enter(first)
    assert not counter.enter(second)
    counter.leave(first)
    assert counter.count(second) == 0
    assert counter.enter(second)


def test_other_clients_are_not_counted() -> None:
    counter = ConnectionCounter(1)
    assert counter.enter("2001:db8::1")
    assert counter.enter("2001:db8:0:1::1")
