from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.config.load import load
from mailbox_app.control import machine, trash
from mailbox_app.control.machine import Disk
from mailbox_app.control.views import HealthView, TrafficHistory
from mailbox_app.mailqueue.destinations.breaker import Breaker, Condition
from mailbox_app.mailqueue.model import HoldRule
from mailbox_app.observe.mail_log import MailEvent
from mailbox_app.store.interface import Content, NewMessage
from tests.support.clock import FakeClock
from tests.support.control import Appliance, build, close


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def appliance(tmp_path: Path, clock: FakeClock) -> Iterator[Appliance]:
    made = build(tmp_path, clock)
    yield made
    close(made)


def send(appliance: Appliance, verb: str, direction: str, recipients: int = 1) -> None:
    addresses = tuple(f"u{number}@example.org" for number in range(recipients))
    appliance.context.decisions.record(MailEvent(verb, direction, sender="a@b.net\x1b", recipients=addresses))
    appliance.context.decisions.flush()


def test_traffic_is_counted_by_the_minute(appliance: Appliance, clock: FakeClock) -> None:
    history = TrafficHistory(appliance.context.decisions)
    send(appliance, "accepted", "in", 2)
    clock.skip(60)
    send(appliance, "accepted", "in")
    send(appliance, "attempt", "out")
    send(appliance, "accepted", "submission")
    history.look(clock.now())
    clock.skip(60)
    rows = {row.name: row for row in history.look(clock.now()).rows}
    assert rows["in accepted"].history[-3:] == [2, 1, 0]
    assert rows["in accepted"].now_per_hour == 36
    assert (rows["out deferred"].day, rows["submitted"].day, rows["in rejected"].day) == (1, 1, 0)
    assert all(len(row.history) == 60 for row in rows.values())


def test_a_restarted_daemon_knows_the_last_day_and_no_more(appliance: Appliance, clock: FakeClock) -> None:
    send(appliance, "accepted", "in")
    clock.skip(23 * 3600)
    send(appliance, "accepted", "in")
    row = TrafficHistory(appliance.context.decisions).look(clock.now()).rows[0]
    assert (row.day, sum(row.history)) == (2, 1)
    clock.skip(2 * 3600)
    assert TrafficHistory(appliance.context.decisions).look(clock.now()).rows[0].day == 1


def test_the_last_messages_are_clean_and_newest_first(appliance: Appliance, clock: FakeClock) -> None:
    for number in range(15):
        send(appliance, "delivered" if number % 2 else "rejected", "out", 3)
    last = TrafficHistory(appliance.context.decisions).look(clock.now()).last
    assert len(last) == 12
    assert (last[0].result, last[0].sender, last[0].recipient) == ("rejected", "a@b.net\ufffd", "u0@example.org +2")


def test_health_says_what_needs_the_operator(
    appliance: Appliance, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "disk", lambda _: Disk(10, 100, 90))
    view = HealthView(appliance.context)
    health = view.look(2)
    assert (health.state, health.consoles, health.certificate_days) == ("WARN", 2, 61)
    assert health.answer.startswith("Mail flows. 1 thing needs you: There is no domain yet")
    appliance.context.directory.add_domain("example.org")
    assert (view.look(1).state, view.look(1).answer) == ("ok", "Mail flows. Nothing needs you.")
    assert [(each.service, each.connections) for each in view.look(0).services] == [("imaps", 3)]


def test_a_thing_to_do_keeps_the_time_it_was_first_seen(
    appliance: Appliance, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "disk", lambda _: Disk(99, 100, 1))
    view = HealthView(appliance.context)
    since = view.look(0).todo[0].since
    clock.skip(600)
    health = view.look(0)
    assert (health.state, health.todo[0].state, health.todo[0].since) == ("BAD!", "BAD!", since)
    assert health.answer.startswith("Mail is in danger. 2 things need you")


def test_mail_is_counted_again_after_a_few_seconds(appliance: Appliance, clock: FakeClock) -> None:
    context = appliance.context
    view = HealthView(context)
    assert view.look(0).storage.mail_bytes == 0
    context.directory.add_domain("example.org")
    ref = context.directory.add_account("alice@example.org", "hash").ref
    text = b"Subject: hello\r\n\r\nhello\r\n"
    staged = context.store.stage(ref, Content(b"", text, len(text)))
    context.store.account(ref).append([NewMessage(staged, "INBOX")])
    clock.skip(4)
    assert view.look(0).storage.mail_bytes == 0
    clock.skip(2)
    assert view.look(0).storage.mail_bytes == len(text)


def test_the_trash_is_emptied_after_thirty_days(appliance: Appliance, clock: FakeClock) -> None:
    context = appliance.context
    context.directory.add_domain("example.org")
    account = context.directory.add_account("alice@example.org", "hash")
    context.store.account(account.ref).mailboxes()
    context.directory.remove_account("alice@example.org")
    place = context.store.remove_account(account.ref)
    context.directory.set_removed_place(account.account_id, place)
    assert trash.empty(context) == 0
    clock.skip(30 * 86_400)
    assert trash.empty(context) == 1
    assert not Path(place).exists()
    assert not context.directory.removed_accounts()


def test_only_the_trash_is_ever_emptied(appliance: Appliance, clock: FakeClock, tmp_path: Path) -> None:
    context = appliance.context
    context.directory.add_domain("example.org")
    account = context.directory.add_account("alice@example.org", "hash")
    context.directory.remove_account("alice@example.org")
    for place in (str(tmp_path), "trash", "trash/../mail", "/"):
        context.directory.set_removed_place(account.account_id, place)
        clock.skip(31 * 86_400)
        assert trash.empty(context) == 0
    assert tmp_path.exists()


def test_this_process_uses_memory() -> None:
    assert machine.memory_bytes([]) > 1_000_000
    assert machine.memory_bytes([2**22 + 1]) == 0


def test_a_dns_list_that_is_switched_off_is_a_thing_to_do(appliance: Appliance) -> None:
    wanted = '[dnsbl.lists."bl.example".answers]\n"127.0.0.2" = { meaning = "spam", score = 2.0 }\n'
    appliance.config_path.write_text(appliance.config_path.read_text() + wanted)
    appliance.context.config = load(appliance.config_path)
    off = appliance.context.metrics.dns_list_off.labels("bl.example")
    off.set(1)
    texts = [each.text for each in HealthView(appliance.context).look(0).todo]
    assert "The DNS list bl.example answers wrong and is switched off for now" in texts
    off.set(0)
    assert not any("DNS list" in each.text for each in HealthView(appliance.context).look(0).todo)


def test_what_keeps_mail_from_leaving_is_a_thing_to_do(
    appliance: Appliance, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = appliance.context
    monkeypatch.setattr(machine, "disk", lambda _: Disk(10, 100, 90))
    context.directory.add_domain("example.org")
    began = clock.epoch_seconds()
    dead = [
        Breaker(f"mx{number}.dead.example:25", Condition.OPEN, failures=9, opened_seconds=began) for number in range(4)
    ]
    monkeypatch.setattr(context.breakers, "not_closed", lambda limit: dead[:limit])
    monkeypatch.setattr(context.routes, "trouble", lambda: "port 25 seems to be blocked by this network")
    context.key_problems = lambda: [
        "mail of example.org is signed with r1, but its record is not published: mailbox dkim check"
    ]
    context.queue.add_rule(HoldRule(0, submitter="anna@example.org", reason="brake: too much"))
    clock.skip(3599)
    view = HealthView(context)
    assert [(each.state, each.text, each.screen) for each in view.look(0).todo] == [
        (
            "WARN",
            "All mail of anna@example.org is held, brake: too much: mailbox user resume anna@example.org",
            "Accounts",
        ),
        ("WARN", "Port 25 seems to be blocked by this network", "Queue"),
        (
            "WARN",
            "Mail of example.org is signed with r1, but its record is not published: mailbox dkim check",
            "Queue",
        ),
    ]
    clock.skip(1)
    assert [each.text for each in view.look(0).todo if each.state == "info"] == [
        "mx0.dead.example has not been reached for 1 h, so its mail waits: mailbox breaker show mx0.dead.example",
        "mx1.dead.example has not been reached for 1 h, so its mail waits: mailbox breaker show mx1.dead.example",
        "mx2.dead.example has not been reached for 1 h, so its mail waits: mailbox breaker show mx2.dead.example",
        "1 more host of others is passed over: mailbox breaker list",
    ]
