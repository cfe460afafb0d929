"""What the console's account screens ask for: accounts by filter, mailboxes, and a binding plan of an undelete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.control.client import ControlClient
from mailbox_app.control.methods import user_mail
from mailbox_app.control.methods.user import UserAddress
from mailbox_app.store.interface import Account, Content, NewMessage
from mailbox_app.store.model import SystemFlag
from tests.support.control import Appliance, Background

ALICE = "alice@example.org"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        yield made


@pytest.fixture
def client(appliance: Appliance) -> Iterator[ControlClient]:
    with ControlClient(appliance.socket_path, via="test") as made:
        made.call("domain.add", {"name": "example.org"})
        for name in ("alice", "bob", "carl"):
            made.call("user.add", {"address": f"{name}@example.org", "password": "correct horse battery"})
        yield made


@pytest.fixture
def mail(appliance: Appliance, client: ControlClient) -> Account:
    assert client.call("user.show", {"address": ALICE})
    return appliance.context.store.account(appliance.context.directory.existing(ALICE).ref)


def add(appliance: Appliance, mail: Account, mailbox: str, *subjects: str, gone: bool = True) -> None:
    ref = appliance.context.directory.existing(ALICE).ref
    for subject in subjects:
        data = f"From: bob@example.net\r\nSubject: {subject}\r\n\r\nhello\r\n".encode()
        staged = appliance.context.store.stage(ref, Content(b"", data, len(data)))
        mail.append([NewMessage(staged, mailbox, int(SystemFlag.DELETED) if gone else 0)])
        if gone:
            mail.expunge(mail.mailbox(mailbox).mailbox_id, None)


def call(client: ControlClient, method: str, **params: object) -> dict[str, Any]:
    return client.call(method, {"address": ALICE, **params})


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"text": "LI"}, ["alice"]),
        ({"text": "nobody"}, []),
        ({"state": "disabled"}, ["bob"]),
        ({"state": "removed"}, ["carl"]),
        ({"state": "active", "text": "example"}, ["alice"]),
        ({"text": "@", "offset": 1, "limit": 1}, ["bob"]),
    ],
)
def test_accounts_are_filtered_by_address_and_state(
    client: ControlClient, asked: dict[str, object], found: list[str]
) -> None:
    client.call("user.disable", {"address": "bob@example.org"})
    client.call("user.remove", {"address": "carl@example.org"})
    answer = client.call("user.list", asked)
    assert [each["address"].partition("@")[0] for each in answer["users"]] == found
    assert answer["total"] == (3 if "offset" in asked else len(found))


def test_mailboxes_are_told_with_counts_inbox_first(appliance: Appliance, client: ControlClient, mail: Account) -> None:
    mail.create("Aaa")
    add(appliance, mail, "Aaa", "one", "two", gone=False)
    answer = call(client, "user.mailboxes")
    assert [each["name"] for each in answer["mailboxes"]][:2] == ["INBOX", "Aaa"]
    found = answer["mailboxes"][1]
    assert (found["messages"], found["unseen"], found["size_bytes"] > 0) == (2, 2, True)
    assert {each["special_use"] for each in answer["mailboxes"]} >= {"", "Sent", "Trash"}


def test_a_plan_counts_what_would_come_back_and_where_to(
    appliance: Appliance, client: ControlClient, mail: Account
) -> None:
    mail.create("Old")
    add(appliance, mail, "INBOX", "one", "two")
    add(appliance, mail, "Old", "three")
    mail.delete("Old")
    plan = call(client, "retained.plan")
    assert (plan["messages"], plan["left_out"], plan["fits"]) == (3, 0, True)
    assert plan["mailboxes"] == [
        {"mailbox": "INBOX", "messages": 2, "exists": True},
        {"mailbox": "Old", "messages": 1, "exists": False},
    ]
    ids = [each["id"] for each in call(client, "retained.list", text="two")["messages"]]
    plan = call(client, "retained.plan", ids=[*ids, "1-4000"])
    assert (plan["messages"], plan["left_out"]) == (1, 1)
    client.call("user.quota", {"address": ALICE, "quota_bytes": 10})
    assert call(client, "retained.plan", ids=ids)["fits"] is False
    assert call(client, "retained.plan", text="no such")["plan"] == ""


def test_what_is_expunged_after_the_plan_stays(appliance: Appliance, client: ControlClient, mail: Account) -> None:
    add(appliance, mail, "INBOX", "one", "two")
    plan = call(client, "retained.plan")
    page = call(client, "retained.list", limit=1)
    assert page["plan"] == plan["plan"]
    add(appliance, mail, "INBOX", "later")
    assert [each["subject"] for each in call(client, "retained.list", plan=page["plan"])["messages"]] == ["two", "one"]
    assert call(client, "retained.plan", plan=page["plan"])["messages"] == 2
    done = call(client, "retained.restore", plan=plan["plan"])
    assert done["restored"] == 2
    assert [each["subject"] for each in call(client, "retained.list")["messages"]] == ["later"]


async def test_the_topic_of_an_account_tells_its_numbers_and_its_end(tmp_path: Path) -> None:
    with Background(tmp_path) as appliance, ControlClient(appliance.socket_path) as client:
        client.call("domain.add", {"name": "example.org"})
        client.call("user.add", {"address": ALICE, "password": "correct horse battery"})
        client.call("app_password.add", {"address": ALICE, "label": "phone"})
        mail = appliance.context.store.account(appliance.context.directory.existing(ALICE).ref)
        add(appliance, mail, "INBOX", "one")
        state = await user_mail.numbers(appliance.context, UserAddress(ALICE))
        assert state.user is not None
        assert (state.user.address, state.app_passwords, state.kept_messages) == (ALICE, 1, 1)
        client.call("user.remove", {"address": ALICE})
        assert await user_mail.numbers(appliance.context, UserAddress(ALICE)) == user_mail.AccountNumbers(None, 0, 0, 0)
