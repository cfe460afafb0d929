"""Exemptions from greylisting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.errors import MailboxError
from mailbox_app.policy.state.allowances import SqliteAllowances
from tests.support.clock import FakeClock


@pytest.fixture
def allowances(tmp_path: Path) -> Iterator[SqliteAllowances]:
    opened = SqliteAllowances(tmp_path / "state.db", FakeClock())
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("kind", "value", "remote_ip", "sender", "recipient", "exempt"),
    [
        ("network", "192.0.2.0/24", "192.0.2.200", "a@b.c", "d@e.f", True),
        ("network", "192.0.2.0/24", "192.0.3.1", "a@b.c", "d@e.f", False),
        ("network", "192.0.2.9", "192.0.2.9", "a@b.c", "d@e.f", True),
        ("network", "2001:db8::/32", "2001:db8:1::5", "a@b.c", "d@e.f", True),
        ("network", "2001:db8::/32", "192.0.2.9", "a@b.c", "d@e.f", False),
        ("network", "192.0.2.0/24", "::ffff:192.0.2.3", "a@b.c", "d@e.f", True),
        ("domain", "Sender.example", "192.0.2.9", "x@sender.EXAMPLE", "d@e.f", True),
        ("domain", "sender.example", "192.0.2.9", "x@deep.below.sender.example", "d@e.f", True),
        ("domain", "sender.example", "192.0.2.9", "x@notsender.example", "d@e.f", False),
        ("sender", "X@sender.example", "192.0.2.9", "x@sender.example", "d@e.f", True),
        ("sender", "x@sender.example", "192.0.2.9", "y@sender.example", "d@e.f", False),
        ("recipient", "alice@example.org", "192.0.2.9", "y@sender.example", "Alice@example.org", True),
        ("recipient", "@example.org", "192.0.2.9", "", "bob@example.org", True),
        ("recipient", "alice@example.org", "192.0.2.9", "alice@example.org", "bob@example.org", False),
    ],
)
def test_who_is_exempt(
    allowances: SqliteAllowances, kind: str, value: str, remote_ip: str, sender: str, recipient: str, exempt: bool
) -> None:
    assert allowances.why(remote_ip, sender, recipient) == ""
    allowances.add(kind, value)
    assert bool(allowances.why(remote_ip, sender, recipient)) is exempt


@pytest.mark.parametrize(
    ("kind", "value"),
    [("network", "example.org"), ("domain", "x"), ("sender", "example.org"), ("recipient", "a b@c.d"), ("host", "x.y")],
)
def test_a_value_that_is_none_of_its_kind_is_refused(allowances: SqliteAllowances, kind: str, value: str) -> None:
    with pytest.raises(MailboxError) as caught:
        allowances.add(kind, value)
    assert caught.value.code == "greylist.bad_value"
    assert allowances.all() == []


def test_exemptions_are_listed_and_end(allowances: SqliteAllowances) -> None:
    allowances.add("domain", "x.example", "a customer")
    allowances.add("domain", "X.example", "a good customer")
    assert [(each.value, each.note) for each in allowances.all()] == [("x.example", "a good customer")]
    removed = allowances.remove("domain", "x.EXAMPLE")
    assert removed is not None
    assert removed.note == "a good customer"
    assert allowances.remove("domain", "x.example") is None


def test_an_unreadable_list_exempts(allowances: SqliteAllowances) -> None:
    allowances.close()
    assert allowances.why("192.0.2.1", "a@b.c", "d@e.f")
