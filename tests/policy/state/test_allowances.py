"""Exemptions from greylisting."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailbox_app.db import state_schema
from mailbox_app.db.sqlite import Database
from mailbox_app.db.state_schema import open_state
from mailbox_app.errors import MailboxError
from mailbox_app.policy.state.allowances import Allowances, SqliteAllowances
from mailbox_app.policy.state.shared.allowances import RedisAllowances
from tests.support.clock import FakeClock
from tests.support.state_place import StatePlace


def opened(place: StatePlace, clock: FakeClock) -> Allowances:
    return place.make(SqliteAllowances, RedisAllowances, clock)


@pytest.fixture
def allowances(place: StatePlace) -> Allowances:
    return opened(place, FakeClock())


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
    allowances: Allowances, kind: str, value: str, remote_ip: str, sender: str, recipient: str, exempt: bool
) -> None:
    assert allowances.why(remote_ip, sender, recipient) == ""
    allowances.add(kind, value)
    assert bool(allowances.why(remote_ip, sender, recipient)) is exempt


@pytest.mark.parametrize(
    ("recipient", "exempt"),
    [("Alice@example.org", ["alice"]), ("example.org", ["alice", "bob"]), ("other.example", [])],
)
def test_an_exemption_may_hold_for_one_recipient_or_domain(
    allowances: Allowances, recipient: str, exempt: list[str]
) -> None:
    for kind, value in (("sender", "x@sender.example"), ("domain", "sender.example"), ("network", "192.0.2.0/24")):
        allowances.add(kind, value, recipient=recipient)
        found = [
            name for name in ("alice", "bob") if allowances.why("192.0.2.9", "x@sender.example", f"{name}@example.org")
        ]
        assert found == exempt
        assert allowances.remove(kind, value) is None, "that one would be for all"
        assert allowances.remove(kind, value, recipient) is not None


def test_an_older_list_holds_for_all(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    at = next(number for number, text in enumerate(state_schema.MIGRATIONS) if "greylist_allowed_for_all" in text)
    old = Database(path, state_schema.MIGRATIONS[:at])
    with old.transaction() as connection:
        connection.execute("INSERT INTO greylist_allowed VALUES ('domain', 'x.example', NULL, NULL, 'ours', 7.0)")
    old.close()
    database = open_state(path)
    opened = SqliteAllowances(database, FakeClock())
    assert [(each.value, each.note, each.recipient) for each in opened.all()] == [("x.example", "ours", "")]
    assert opened.why("192.0.2.9", "a@x.example", "b@c.d")
    database.close()


@pytest.mark.parametrize(
    ("kind", "value"),
    [("network", "example.org"), ("domain", "x"), ("sender", "example.org"), ("recipient", "a b@c.d"), ("host", "x.y")],
)
def test_a_value_that_is_none_of_its_kind_is_refused(allowances: Allowances, kind: str, value: str) -> None:
    with pytest.raises(MailboxError) as caught:
        allowances.add(kind, value)
    assert caught.value.code == "greylist.bad_value"
    assert allowances.all() == []


def test_exemptions_are_listed_and_end(allowances: Allowances) -> None:
    allowances.add("domain", "x.example", "a customer")
    allowances.add("domain", "X.example", "a good customer")
    assert [(each.value, each.note) for each in allowances.all()] == [("x.example", "a good customer")]
    removed = allowances.remove("domain", "x.EXAMPLE")
    assert removed is not None
    assert removed.note == "a good customer"
    assert allowances.remove("domain", "x.example") is None


def test_an_unreadable_list_exempts(allowances: Allowances, place: StatePlace) -> None:
    place.fail()
    assert allowances.why("192.0.2.1", "a@b.c", "d@e.f")


def test_another_node_sees_a_change_within_a_second(allowances: Allowances, place: StatePlace) -> None:
    clock = FakeClock()
    other = opened(place, clock)
    assert not other.why("192.0.2.9", "a@x.example", "d@e.f")
    allowances.add("domain", "x.example")
    clock.skip(1)
    assert other.why("192.0.2.9", "a@x.example", "d@e.f")
    allowances.remove("domain", "x.example")
    clock.skip(1)
    assert not other.why("192.0.2.9", "a@x.example", "d@e.f")
