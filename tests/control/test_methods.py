"""The contract of all methods: each is printable, each change is audited once, and no secret is written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.cli import connection
from mailbox_app.control.client import ControlClient
from mailbox_app.control.methods import METHODS
from mailbox_app.control.methods.domain import records_for
from mailbox_app.errors import ControlError, MailboxError, QueueError, StoreError
from mailbox_app.mailqueue.model import Envelope, Fate, HoldRule, Outcome, QueueFilter, RecipientState, Settlement
from mailbox_app.observe.mail_log import MailEvent
from tests.support.control import Appliance, Background
from tests.support.queue import put

PASSWORD = "correct horse battery"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        yield made


@pytest.fixture
def client(appliance: Appliance) -> Iterator[ControlClient]:
    with ControlClient(appliance.socket_path, via="test") as made:
        made.call("domain.add", {"name": "example.org"})
        made.call("user.add", {"address": "alice@example.org", "password": PASSWORD})
        yield made


def refused(client: ControlClient, method: str, **params: object) -> str:
    with pytest.raises(ControlError) as error:
        client.call(method, params)
    return error.value.code


def newest(client: ControlClient) -> dict[str, Any]:
    entry: dict[str, Any] = client.call("audit.list")["entries"][0]
    return entry


def test_the_schema_prints_every_method(client: ControlClient) -> None:
    methods = client.call("schema")["methods"]
    assert {each["name"] for each in methods} == {method.name for method in METHODS} | {"schema"}
    for each in methods:
        assert each["doc"]
        assert "$ref" in each["params"] or each["params"]["type"] == "object"


def test_the_schema_has_every_method_of_the_documentation(client: ControlClient) -> None:
    page = (Path(__file__).parents[2] / "docs" / "control-protocol.md").read_text()
    missing = [
        method.name
        for method in METHODS
        if f"`{method.name}`" not in page and f"`.{method.name.split('.')[-1]}`" not in page
    ]
    assert not missing


@pytest.mark.parametrize("method", [method.name for method in METHODS if method.changes])
def test_every_change_writes_exactly_one_entry_also_when_it_is_refused(client: ControlClient, method: str) -> None:
    before = client.call("audit.verify")["count"]
    assert refused(client, method, nonsense=True) == "control.bad_params"
    assert client.call("audit.verify") == {"ok": True, "count": before + 1, "broken_at": None}
    assert newest(client)["what"] == method


@pytest.mark.parametrize("method", [method.name for method in METHODS if not method.changes])
def test_looking_writes_no_entry(client: ControlClient, method: str) -> None:
    before = client.call("audit.verify")["count"]
    try:
        client.call(method, {})
    except ControlError as error:
        assert error.code == "control.bad_params"  # noqa: PT017
    assert client.call("audit.verify")["count"] == before


def test_no_password_and_no_private_key_is_ever_written_down(appliance: Appliance, client: ControlClient) -> None:
    client.call("user.password", {"address": "alice@example.org", "password": "another good one"})
    client.call("dkim.generate", {"domain": "example.org", "algorithm": "ed25519"})
    refused(client, "user.add", address="alice@example.org", password=PASSWORD)
    text = json.dumps(client.call("audit.list")) + json.dumps(client.call("dkim.list", {"domain": "example.org"}))
    for secret in (PASSWORD, "another good one", "PRIVATE", "argon2"):
        assert secret not in text
    journal = b"".join(path.read_bytes() for path in appliance.context.data_dir.glob("journal.db*"))
    assert PASSWORD.encode() not in journal


def test_an_account_walks_through_its_life(appliance: Appliance, client: ControlClient) -> None:
    user = client.call("user.quota", {"address": "Alice@example.org", "quota_bytes": 1000})
    assert (user["quota_bytes"], user["state"], user["messages"]) == (1000, "active", 0)
    assert json.loads(newest(client)["before"]) == {"quota_bytes": 0, "quota_messages": 0}
    assert client.call("user.disable", {"address": "alice@example.org"})["state"] == "disabled"
    assert client.call("user.enable", {"address": "alice@example.org"})["state"] == "active"
    mail = appliance.context.data_dir / "mail" / "example.org" / "alice"
    assert mail.is_dir()
    assert client.call("user.remove", {"address": "alice@example.org"})["state"] == "removed"
    assert not mail.exists(), "D22: the mail leaves with its account"
    assert len(list((appliance.context.data_dir / "trash").iterdir())) == 1
    assert [each["state"] for each in client.call("user.list")["users"]] == ["removed"]
    assert client.call("user.restore", {"address": "alice@example.org"})["state"] == "active"
    assert mail.is_dir()
    assert refused(client, "user.restore", address="alice@example.org") == "account.not_removed"
    assert refused(client, "user.show", address="ghost@example.org") == "account.no_such_address"


def test_long_listings_come_in_pages(appliance: Appliance, client: ControlClient) -> None:
    for number in range(6):
        appliance.context.directory.add_account(f"u{number}@example.org", "hash")
    for number in (0, 4, 5):
        client.call("user.remove", {"address": f"u{number}@example.org"})
    whole = client.call("user.list")
    pages = [client.call("user.list", {"offset": offset, "limit": 3})["users"] for offset in range(0, 9, 3)]
    assert [user for page in pages for user in page] == whole["users"]
    assert (whole["total"], [user["state"] for user in whole["users"]]) == (7, ["active"] * 4 + ["removed"] * 3)
    with ControlClient(appliance.socket_path) as other:
        assert connection.every(other, "user.list", "users", limit=2) == whole


def test_an_account_whose_mail_cannot_be_moved_is_not_removed(
    appliance: Appliance, client: ControlClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> str:
        raise StoreError("store.full", "storage is not writable now", temporary=True)

    monkeypatch.setattr(appliance.context.store, "remove_account", full)
    assert refused(client, "user.remove", address="alice@example.org") == "store.full"
    assert client.call("user.show", {"address": "alice@example.org"})["state"] == "active"


def test_mail_in_the_trash_stays_there_when_the_address_was_given_away(
    appliance: Appliance, client: ControlClient
) -> None:
    client.call("user.remove", {"address": "alice@example.org"})
    client.call("user.add", {"address": "alice@example.org", "password": PASSWORD})
    assert refused(client, "user.restore", address="alice@example.org") == "store.exists"
    assert len(list((appliance.context.data_dir / "trash").iterdir())) == 1
    assert client.call("user.show", {"address": "alice@example.org"})["state"] == "active"


def test_an_alias_shows_what_it_was_before(client: ControlClient) -> None:
    client.call("alias.add", {"address": "info@example.org", "targets": ["alice@example.org"]})
    client.call("alias.add", {"address": "info@example.org", "targets": ["x@elsewhere.net"]})
    assert json.loads(newest(client)["before"])["targets"] == ["alice@example.org"]
    assert json.loads(newest(client)["after"])["targets"] == ["x@elsewhere.net"]
    client.call("alias.remove", {"address": "info@example.org"})
    assert client.call("alias.list", {"domain": "example.org"}) == {"aliases": [], "total": 0}


def test_dns_records_hold_the_keys_whose_records_are_needed(client: ControlClient) -> None:
    key = client.call("dkim.generate", {"domain": "example.org", "selector": "one"})
    records = client.call("domain.dns", {"name": "example.org"})["records"]
    assert {"type": "TXT", "name": "one._domainkey.example.org.", "value": key["record_value"],
            "purpose": "DKIM public key (rsa)"} in records  # fmt: skip
    client.call("dkim.retire", {"domain": "example.org", "selector": "one"})
    [record] = client.call("dkim.dns", {"domain": "example.org"})["records"]
    assert "keep" in record["purpose"]
    assert refused(client, "dkim.generate", domain="example.org", selector="one") == "account.selector_exists"


def test_pop3_is_published_where_it_is_offered() -> None:
    names = [
        [record.name for record in records_for("example.org", "mx.example.org", [], pop3=on)] for on in (True, False)
    ]
    assert set(names[0]) - set(names[1]) == {"_pop3s._tcp.example.org."}


def test_a_plan_is_refused_when_the_queue_changed_and_nothing_is_touched(
    appliance: Appliance, client: ControlClient
) -> None:
    appliance.enqueue("a@example.org", ["x@one.example"])
    where = {"filter": {"domain": "one.example"}, "action": "drop"}
    plan = client.call("queue.plan", where)
    assert (plan["count"], plan["messages"]) == (1, 1)
    appliance.enqueue("a@example.org", ["y@one.example"])
    assert refused(client, "queue.apply", **where, plan=plan["plan"]) == "queue.changed"
    assert client.call("queue.stats")["recipients"] == 2
    plan = client.call("queue.plan", where)
    assert client.call("queue.apply", {**where, "plan": plan["plan"]})["done"] == 2
    assert client.call("queue.stats")["recipients"] == 0


def test_a_plan_is_good_for_its_own_action_only(appliance: Appliance, client: ControlClient) -> None:
    appliance.enqueue("a@example.org", ["x@one.example"])
    plan = client.call("queue.plan", {"action": "hold", "filter": {}})["plan"]
    assert refused(client, "queue.apply", action="drop", filter={}, plan=plan) == "queue.changed"


def apply(client: ControlClient, action: str, **which: object) -> dict[str, Any]:
    plan = client.call("queue.plan", {"action": action, **which})["plan"]
    return client.call("queue.apply", {"action": action, **which, "plan": plan})


def test_hold_release_and_retry_change_the_state(appliance: Appliance, client: ControlClient) -> None:
    queue_id = appliance.enqueue("a@example.org", ["x@one.example", "y@two.example"])
    assert apply(client, "hold", recipients=[[queue_id, "x@one.example"]])["done"] == 1
    states = {row["to"]: row["state"] for row in client.call("queue.list")["rows"]}
    assert states == {"x@one.example": "held", "y@two.example": "deferred"}
    assert apply(client, "hold", filter={"ids": [queue_id]})["done"] == 1
    assert client.call("queue.show", {"id": queue_id})["why"].startswith("Held: by ")
    assert apply(client, "release", filter={"state": "held"})["done"] == 2
    assert apply(client, "retry", filter={"from": "@example.org"})["done"] == 2


def test_bounce_tells_the_sender_and_drop_tells_nobody(appliance: Appliance, client: ControlClient) -> None:
    queue_id = appliance.enqueue("alice@example.org", ["x@one.example", "y@one.example"])
    assert apply(client, "drop", recipients=[[queue_id, "x@one.example"]])["done"] == 1
    assert client.call("queue.stats")["messages"] == 1
    assert apply(client, "bounce", filter={"ids": [queue_id]})["done"] == 1
    (row,) = client.call("queue.list")["rows"]
    assert (row["from"], row["to"]) == ("", "alice@example.org")
    header = client.call("queue.show", {"id": row["id"]})["header"]
    assert "Auto-Submitted" in header
    assert newest(client)["detail"].startswith("1 recipient of 1 message returned")
    appliance.context.decisions.flush()
    told = {
        (each.event.verb, each.event.recipients, each.event.reason)
        for each in appliance.context.decisions.search(queue_id)
    }
    assert told == {("failed", ("x@one.example",), "dropped"), ("failed", ("y@one.example",), "returned")}


def test_a_message_that_left_the_queue_says_how(appliance: Appliance, client: ControlClient) -> None:
    queue_id = appliance.enqueue("alice@example.org", ["x@one.example", "y@one.example"])
    context = appliance.context
    apply(client, "drop", recipients=[[queue_id, "x@one.example"]])
    (lease,) = context.queue.claim(context.clock.now(), limit=1, lease_seconds=60)
    outcome = Outcome("y@one.example", Fate.DELIVERED, 250, "2.0.0", "taken\x1b[2J", "mx.one.example")
    context.queue.settle([Settlement(lease, [outcome], context.clock.now())], context.clock.now())
    context.mail_log.write(
        MailEvent("delivered", "out", queue_id=queue_id, recipients=("y@one.example",), code=250, text="taken\x1b[2J")
    )
    shown = client.call("queue.show", {"id": queue_id})
    assert shown["why"] == (
        "It has left the queue: delivered to y@one.example by mx.one.example 0 s ago (250 taken\ufffd[2J);"
        " dropped for x@one.example 0 s ago."
    )
    assert (shown["recipients"], shown["expires_at"]) == ([], None)
    assert [(each["to"], each["fate"]) for each in shown["finished"]] == [
        ("y@one.example", "delivered"),
        ("x@one.example", "failed"),
    ]
    context.queue.forget(context.clock.now() + timedelta(days=1), 100)
    with pytest.raises(MailboxError, match=r"delivered to y@one\.example 0 s ago") as told:
        client.call("queue.show", {"id": queue_id})
    assert told.value.code == "queue.no_such_id"
    with pytest.raises(MailboxError, match="the queue holds no message"):
        client.call("queue.show", {"id": "0000000000000"})


def test_what_could_not_be_returned_waits_as_before(
    appliance: Appliance, client: ControlClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance.enqueue("alice@example.org", ["x@one.example", "y@two.example"])

    def full(*_: object, **__: object) -> None:
        raise QueueError("queue.full", "the queue cannot store a message now", temporary=True)

    monkeypatch.setattr(appliance.context.bounces, "report", full)
    plan = client.call("queue.plan", {"action": "bounce", "filter": {}})["plan"]
    assert refused(client, "queue.apply", action="bounce", filter={}, plan=plan) == "queue.full"
    assert {row["state"] for row in client.call("queue.list")["rows"]} == {"deferred"}


def test_the_audit_names_an_action_on_the_queue_after_what_it_does(appliance: Appliance, client: ControlClient) -> None:
    appliance.enqueue("a@example.org", ["x@one.example"])
    for action in ("hold", "release", "retry", "drop"):
        apply(client, action, filter={})
        assert (newest(client)["what"], newest(client)["result"]) == (f"queue.{action}", "ok")
    assert refused(client, "queue.apply", action="drop", filter={}, plan="old") == "queue.changed"
    assert newest(client)["what"] == "queue.drop"


def test_what_is_being_delivered_is_neither_returned_nor_dropped(appliance: Appliance, client: ControlClient) -> None:
    appliance.enqueue("a@example.org", ["x@one.example"])
    context = appliance.context
    (lease,) = context.queue.claim(context.clock.now(), limit=1, lease_seconds=60)
    assert client.call("queue.plan", {"action": "drop", "filter": {}})["count"] == 0
    outcome = Outcome("x@one.example", Fate.DEFERRED, 451, "4.0.0", "come back\x1b[2J later", "mx.one.example")
    context.queue.settle([Settlement(lease, [outcome], context.clock.now())], context.clock.now())
    message = client.call("queue.show", {"id": lease.message.queue_id})
    assert message["attempts"][0]["text"] == "come back\ufffd[2J later"
    assert "mx.one.example answered 451" in message["why"]
    assert context.queue.stats(context.clock.now()).recipients == 1
    assert QueueFilter().ids == ()


def test_an_action_without_a_filter_is_refused(client: ControlClient) -> None:
    assert refused(client, "queue.plan", action="drop") == "queue.no_filter"


def test_settings_are_changed_in_the_file_and_applied(appliance: Appliance, client: ControlClient) -> None:
    done = client.call("config.set", {"key": "limits.max_recipients", "value": "7"})
    assert (done["old"], done["new"], done["applied"]) == (100, 7, "now")
    assert client.call("config.get", {"key": "limits.max_recipients"})["value"] == 7
    for key, value in (("listen.smtp", '["*:2525"]'), ("delivery.connections", "6"), ("dns.timeout_seconds", "3")):
        assert client.call("config.set", {"key": key, "value": value})["applied"] == "restart"
    assert refused(client, "config.set", key="limits.max_recipients", value="-1") == "config.invalid"
    both = {"key": "limits.max_recipients", "value": "8", "more": {"greylist.enabled": "false"}}
    assert client.call("config.set", both)["more"] == [{"key": "greylist.enabled", "old": True, "new": False}]
    last = client.call("audit.list", {"what": "config.set", "limit": 1})["entries"][0]
    assert last["object"] == "limits.max_recipients greylist.enabled"
    assert client.call("config.check") == {"ok": True, "error": ""}
    appliance.config_path.write_text(appliance.config_path.read_text() + "nonsense = 1\n")
    assert "nonsense" in client.call("config.check")["error"]
    assert refused(client, "config.reload") == "config.invalid"


def test_numbers_no_database_takes_are_refused_as_such(client: ControlClient) -> None:
    huge = 1 << 64
    for method in ("queue.list", "user.list", "alias.list", "audit.list"):
        assert refused(client, method, offset=huge) == "control.bad_params"
    assert refused(client, "audit.show", no=huge) == "control.bad_params"
    assert refused(client, "user.quota", address="alice@example.org", quota_bytes=huge) == "control.bad_params"


def test_status_names_every_open_port(client: ControlClient) -> None:
    status = client.call("status")
    assert status["listeners"] == [{"service": "imaps", "address": "127.0.0.1", "port": 40123}]
    assert (status["accounts"], status["domains"], status["ready"]) == (1, 1, True)


def test_status_tells_bans_and_who_waits_and_lists_that_are_off(client: ControlClient) -> None:
    status = client.call("status")
    assert (status["bans"], status["greylisted"], status["dns_lists_off"]) == (0, 0, [])
    client.call("ban.add", {"network": "203.0.113.9", "reason": "tries names"})
    assert client.call("status")["bans"] == 1


def test_the_store_is_checked_and_rebuilt_with_progress(client: ControlClient) -> None:
    steps: list[tuple[int, int, str]] = []
    found = client.call("store.check", {}, lambda *step: steps.append(step))
    assert found == {"accounts": 1, "problems": []}
    assert steps == [(0, 1, "alice@example.org")]
    assert client.call("store.rebuild_index", {"address": "alice@example.org"}) == {"messages": 0}


def test_a_client_without_a_server_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ControlError) as error:
        ControlClient(tmp_path / "nothing.sock")
    assert (error.value.code, error.value.temporary) == ("control.unreachable", True)


def test_a_new_owner_of_an_address_gets_none_of_the_mailboxes_shared_with_the_old_one(
    appliance: Appliance, client: ControlClient
) -> None:
    directory, store = appliance.context.directory, appliance.context.store
    owner = directory.existing("alice@example.org")
    client.call("user.add", {"address": "bob@example.org", "password": PASSWORD})
    notes, inbox = store.notes(owner.ref), store.account(owner.ref).mailbox("INBOX").mailbox_id
    for identifier in ("bob@example.org", "anyone"):
        notes.change_acl(inbox, identifier, lambda _: "lr")
    client.call("user.remove", {"address": "bob@example.org"})
    client.call("user.restore", {"address": "bob@example.org"})
    assert notes.acls() == {inbox: {"anyone": "lr", "bob@example.org": "lr"}}
    client.call("user.remove", {"address": "bob@example.org"})
    client.call("user.add", {"address": "bob@example.org", "password": PASSWORD})
    assert notes.acls() == {inbox: {"anyone": "lr"}}


def test_a_limit_of_messages_stays_unless_it_is_given(client: ControlClient) -> None:
    user = client.call("user.quota", {"address": "alice@example.org", "quota_bytes": 1000, "quota_messages": 5})
    assert (user["quota_bytes"], user["quota_messages"]) == (1000, 5)
    assert client.call("user.quota", {"address": "alice@example.org", "quota_bytes": 0})["quota_messages"] == 5
    assert client.call("user.show", {"address": "alice@example.org"})["quota_messages"] == 5


def test_an_account_is_suspended_and_resumed_in_one_step_each(client: ControlClient, appliance: Appliance) -> None:
    queue, address = appliance.context.queue, "alice@example.org"
    put(queue, appliance.spool, appliance.context.clock.now(), envelope=Envelope(address, submitter=address))
    assert client.call("user.suspend", {"address": address, "reason": "password stolen"})["recipients"] == 1
    shown = client.call("user.show", {"address": address})
    assert (shown["state"], shown["sending"]) == ("disabled", "held")
    assert "password stolen" in shown["held_because"]
    client.call("user.suspend", {"address": address, "reason": "again"})
    assert len(queue.rules()) == 1
    [row] = queue.window(QueueFilter(), "recipient", False, 0, 10)[1]
    assert (row.state, "password stolen" in row.hold_reason) == (RecipientState.HELD, True)
    put(queue, appliance.spool, appliance.context.clock.now(), envelope=Envelope(address, submitter=address))
    assert queue.stats(appliance.context.clock.now()).held == 2
    assert client.call("user.resume", {"address": address, "release": True})["recipients"] == 2
    assert (queue.rules(), queue.stats(appliance.context.clock.now()).held) == ([], 0)
    shown = client.call("user.show", {"address": address})
    assert (shown["state"], shown["sending"], shown["held_because"]) == ("active", "free", "")


def test_a_braked_account_is_seen_in_the_list_and_in_the_status(client: ControlClient, appliance: Appliance) -> None:
    appliance.context.queue.add_rule(HoldRule(0, submitter="alice@example.org", reason="brake: too much at once"))
    [alice, *rest] = client.call("user.list", {})["users"]
    assert (alice["state"], alice["sending"], alice["held_because"]) == ("active", "braked", "brake: too much at once")
    assert {each["sending"] for each in rest} <= {"free"}
    told = [each["text"] for each in client.call("status")["problems"] if each["weight"] == "WARN"]
    assert (
        "All mail of alice@example.org is held, brake: too much at once: mailbox user resume alice@example.org" in told
    )


def test_suppressions_are_added_listed_and_removed(client: ControlClient) -> None:
    client.call("suppression.add", {"address": "Gone@far.example", "reason": "asked us"})
    [entry] = client.call("suppression.list")["suppressions"]
    assert (entry["address"], entry["days"], entry["text"]) == ("gone@far.example", 0, "asked us")
    client.call("suppression.remove", {"address": "gone@far.example"})
    assert client.call("suppression.list") == {"suppressions": []}
    assert refused(client, "suppression.remove", address="gone@far.example") == "account.no_such_address"
    assert refused(client, "suppression.add", address="nobody") == "account.bad_address"


class RefusingQueue:
    """A queue whose Redis answers each question with an error."""

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: object) -> None:
            raise QueueError("queue.refused", "the queue does not work now", temporary=True)

        return refuse


def test_status_answers_while_the_shared_redis_refuses(appliance: Appliance, client: ControlClient) -> None:
    context, queue = appliance.context, appliance.context.queue
    context.queue, context.redis_up = RefusingQueue(), lambda: True  # type: ignore[assignment]
    try:
        status = client.call("status")
    finally:
        context.queue, context.redis_up = queue, lambda: None
    assert status["queue"]["recipients"] == 0
    assert "answers and refuses" in status["problems"][0]["text"]
