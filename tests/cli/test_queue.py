"""Dialogs with `mailbox queue` against a real server: history, rules, pauses, routes, quarantine, content."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mailbox_app.cli.main import main
from mailbox_app.ids import QueueId
from mailbox_app.journal.audit import AuditFilter
from mailbox_app.mailqueue.model import Envelope, Fate, NewRecipient, Outcome, Settlement
from tests.support.control import Appliance, Background

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        yield made


@pytest.fixture
def run(appliance: Appliance, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        code = main(["--config", str(appliance.config_path), "queue", *words])
        out, err = capsys.readouterr()
        return code, re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\dZ", "TIME", out), err

    return command


def settle(appliance: Appliance, fate: Fate, code: int, text: str, host: str = "mx.a.example") -> None:
    """One attempt for everything that is due."""
    queue, now = appliance.context.queue, appliance.context.clock.now()
    for lease in queue.claim(now, limit=100, lease_seconds=60):
        outcomes = [
            Outcome(each.address, fate, code, "", text, host, "TLSv1.3", 0.5) for each in lease.message.recipients
        ]
        queue.settle([Settlement(lease, outcomes, now + timedelta(minutes=5, seconds=30))], now)


def submit(appliance: Appliance, submitter: str, recipient: str = "x@a.example") -> QueueId:
    spooled = appliance.spool.write(b"", b"Subject: hello\r\n\r\nhi\r\n")
    envelope = Envelope(submitter, submitter=submitter)
    return appliance.context.queue.enqueue(envelope, [NewRecipient(recipient)], spooled, appliance.context.clock.now())


def state_of(appliance: Appliance, queue_id: QueueId) -> str:
    return appliance.context.queue.message(queue_id).recipients[0].state.value


def test_a_waiting_message_says_why_what_answered_and_when_it_goes(appliance: Appliance, run: Run) -> None:
    queue_id = appliance.enqueue("alice@example.org", ["x@a.example"])
    settle(appliance, Fate.DEFERRED, 451, "4.7.1 Greylisted")
    why = (
        "Tried once; mx.a.example answered 451 4.7.1 Greylisted (the other server asks every new sender to come back, which"
        " needs nothing); the next try is in 5 min."
    )
    shown = run("show", queue_id)[1]
    assert shown.splitlines()[0] == f"why           {why}"
    assert "advice        The other side asks every new sender to come back" in shown
    listed = run("list", "--why")[1].splitlines()
    assert listed[2:] == [f"{queue_id}  alice@example.org to x@a.example", f"  {why}"]
    assert json.loads(run("list", "--why", "--json")[1])["rows"][0]["why"] == why
    assert json.loads(run("list", "--json")[1])["rows"][0]["why"] == ""


def test_what_has_left_tells_its_whole_story(appliance: Appliance, run: Run) -> None:
    queue_id = appliance.enqueue("alice@example.org", ["x@a.example"])
    settle(appliance, Fate.DEFERRED, 451, "later")
    run("retry", "--all")
    settle(appliance, Fate.DELIVERED, 250, "2.0.0 taken")
    code, shown, _ = run("show", queue_id)
    assert code == 0
    assert "It has left the queue: delivered to x@a.example by mx.a.example 0 s ago (250 2.0.0 taken)." in shown
    assert [line.split()[2] for line in shown.split("\n\n")[2].splitlines()[1:]] == ["deferred", "delivered"]
    listed = run("history")[1].splitlines()
    assert listed[0].split() == ["LEFT", "AT", "ID", "FROM", "TO", "FATE", "TRIES", "HOST", "ANSWER"]
    assert listed[1].split()[1:7] == [queue_id, "alice@example.org", "x@a.example", "delivered", "2", "mx.a.example"]
    assert run("history", "--to", "y@a.example")[1] == (
        "Nothing that matches has left the queue in the last 30 days.\n"
    )
    assert json.loads(run("history", "--json", "--domain", "a.example")[1])["rows"][0]["fate"] == "delivered"
    assert run("history", "--state", "held")[0] == 2


def test_the_history_comes_in_pages(appliance: Appliance, run: Run) -> None:
    appliance.enqueue("alice@example.org", [f"x{number}@a.example" for number in range(5)])
    settle(appliance, Fate.FAILED, 550, "no such user")
    assert run("history", "--limit", "3")[1].splitlines()[-1] == "More: --offset 3"
    assert len(run("history", "--limit", "3", "--offset", "3")[1].splitlines()) == 3


def test_a_rule_holds_new_mail_and_its_reason_is_told(appliance: Appliance, run: Run) -> None:
    assert run("rule", "list")[1] == "No mail is held by a rule. mailbox queue rule add makes one.\n"
    assert run("rule", "add", "--domain", "a.example", "--reason", "looked at first")[1] == (
        "Done: new mail is held by rule 1.\n"
    )
    queue_id = appliance.enqueue("alice@example.org", ["x@a.example"])
    assert "Held: looked at first (by " in run("show", queue_id)[1]
    (rule,) = json.loads(run("rule", "list", "--json")[1])["rules"]
    assert (rule["number"], rule["to"]) == (1, "@a.example")
    assert run("rule", "remove", "1")[1] == "Done: rule 1 is gone. What it held stays held.\n"
    assert state_of(appliance, queue_id) == "held"
    assert run("rule", "remove", "1")[0] == 1


@pytest.mark.parametrize("words", [(), ("--to", "nonsense"), ("--from", "a b@c"), ("--submitter", "<>")])
def test_a_rule_without_a_right_condition_is_refused(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run("rule", "add", *words)
    assert (code, out) == (1, "")
    assert err.startswith("mailbox: ")


def test_an_account_is_held_whole_in_one_call(appliance: Appliance, run: Run) -> None:
    before = submit(appliance, "bad@example.org")
    other = submit(appliance, "good@example.org")
    assert run("hold", "--submitter", "bad@example.org", "--new", "--dry-run")[1].startswith("Would be: 1 recipient")
    assert run("hold", "--submitter", "bad@example.org", "--new", "--reason", "password stolen")[1] == (
        "Done: 1 recipient that waits is held, and new mail is held by rule 1.\n"
        "mailbox queue rule remove 1 --release ends it and lets the mail go.\n"
    )
    after = submit(appliance, "bad@example.org")
    assert [state_of(appliance, each) for each in (before, other, after)] == ["held", "deferred", "held"]
    assert run("rule", "remove", "1", "--release")[1] == "Done: rule 1 is gone. 2 held recipients are released.\n"
    assert state_of(appliance, after) == "deferred"
    assert run("hold", "--new", "--text", "x")[0] == 2


def test_delivery_is_paused_and_resumed(appliance: Appliance, run: Run) -> None:
    queue_id = appliance.enqueue("alice@example.org", ["x@a.example"])
    assert run("pause", "a.example", "--reason", "they move")[1] == (
        "Done: Delivery to a.example is paused. What is under way is finished; mailbox queue resume a.example ends it.\n"
    )
    queue, now = appliance.context.queue, appliance.context.clock.now()
    assert not queue.claim(now, limit=1, lease_seconds=60)
    assert "Delivery to a.example has been paused for 0 s: they move (by " in run("show", queue_id)[1]
    assert run("pause")[1].startswith("Done: All delivery is paused.")
    assert [row.split()[0] for row in run("pause", "--list")[1].splitlines()[1:]] == ["(the", "a.example"]
    assert run("resume")[1] == "Done: Mail is delivered again.\n"
    assert run("resume", "a.example")[1] == "Done: Mail to a.example is delivered again.\n"
    assert run("pause", "--list")[1] == "Nothing is paused.\n"
    assert run("resume")[0] == 1
    assert run("pause", "no domain")[0] == 1
    assert len(queue.claim(now, limit=1, lease_seconds=60)) == 1


def test_waiting_mail_takes_another_route(appliance: Appliance, run: Run) -> None:
    queue_id = appliance.enqueue("alice@example.org", ["x@a.example"])
    settle(appliance, Fate.DEFERRED, 451, "later")
    assert "Would be: 1 recipient of 1 message sent by the route mx" in run("route", "mx", "--all", "--dry-run")[1]
    assert run("route", "mx", queue_id)[1] == (
        "Done: 1 recipient of 1 message sent by the route mx, tried now unless held.\n"
    )
    assert appliance.context.queue.message(queue_id).recipients[0].route == "mx"
    assert "by the route mx that an operator chose" in run("show", queue_id)[1]
    assert run("route", "--clear", queue_id)[0] == 0
    assert appliance.context.queue.message(queue_id).recipients[0].route == ""
    assert run("route", "nowhere", queue_id)[2].startswith("mailbox: there is no route nowhere.")
    assert run("route")[0] == 2


def test_what_cannot_be_read_is_listed_with_why_and_let_go(appliance: Appliance, run: Run) -> None:
    assert run("quarantine")[1] == "Nothing is in quarantine: every waiting message can be read.\n"
    queue_id = appliance.enqueue("alice@example.org", ["x@a.example"])
    settle(appliance, Fate.QUARANTINED, 451, "its file ends too early", "")
    listed = run("quarantine")[1].splitlines()
    assert listed[1].startswith(queue_id)
    assert listed[1].endswith("its file ends too early")
    assert "1 unreadable" in run("list")[1]
    assert run("hold", "--all")[1] == "Nothing in the queue matches.\n"
    assert run("retry", "--all")[1] == "Nothing in the queue matches.\n"
    assert run("release", queue_id)[0] == 0
    assert state_of(appliance, queue_id) == "deferred"
    settle(appliance, Fate.QUARANTINED, 451, "its file ends too early", "")
    assert run("drop", "--state", "quarantined")[1] == "Done: 1 recipient of 1 message dropped; nobody is told.\n"


def test_a_message_is_read_whole_and_the_audit_says_by_whom(appliance: Appliance, run: Run) -> None:
    queue_id = appliance.enqueue("alice@example.org", ["x@a.example"])
    content = appliance.context.queue.content(queue_id, 0, 1000)
    assert run("message", queue_id, "--raw")[1].encode() == content
    _, (entry,) = appliance.context.audit.list(AuditFilter(), 0, 1)
    assert (entry.change.what, entry.change.object) == ("queue.content", queue_id)


def test_header_and_message_are_shown_clean(appliance: Appliance, run: Run) -> None:
    queue_id = appliance.enqueue("a@example.org", ["x@a.example"], b"Subject: \x1b[2J\r\n\r\nbody\x07\r\n")
    assert run("header", queue_id)[1] == "Subject: \ufffd[2J\n\n\n"
    assert run("message", queue_id)[1] == "Subject: \ufffd[2J\n\nbody\ufffd\n\n"
    assert run("message", "nothing")[0] == 1


def test_a_message_whose_file_is_gone_is_still_shown(appliance: Appliance, run: Run) -> None:
    queue_id = appliance.enqueue("a@example.org", ["x@a.example"])
    for file in appliance.spool.directory.iterdir():
        file.unlink()
    code, shown, _ = run("show", queue_id)
    assert code == 0
    assert "The header cannot be read" in shown


@pytest.mark.parametrize(
    "words", [("history",), ("rule", "list"), ("pause", "--list"), ("quarantine",), ("stats",), ("list",)]
)
def test_every_reading_command_speaks_json(run: Run, words: tuple[str, ...]) -> None:
    code, out, _ = run(*words, "--json")
    assert code == 0
    assert isinstance(json.loads(out), dict)
