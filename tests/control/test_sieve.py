"""Filter scripts from the command line: kept, checked, tried out, run over a mailbox; and what the audit says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailbox_app.cli.main import main
from mailbox_app.control.client import ControlClient
from mailbox_app.ids import AccountRef
from mailbox_app.journal.audit import AuditFilter
from mailbox_app.store.interface import Content, NewMessage
from tests.support.control import Appliance, Background

ALICE = "alice@example.org"
Run = Callable[..., tuple[int, str, str]]
LISTS = (
    'require ["fileinto", "mailbox", "imap4flags"];\n'
    'if header :contains "list-id" "dev" { fileinto :create :flags "\\\\Seen" "Lists/dev"; }\n'
    'elsif header :is "subject" "offer" { discard; }\n'
    'elsif header :is "subject" "star" { keep :flags "\\\\Flagged"; }\n'
)
MESSAGE = b"From: c@remote.example\r\nTo: alice@example.org\r\nSubject: offer\r\n\r\nx\r\n"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        made.context.directory.add_domain("example.org")
        made.context.directory.add_account(ALICE, "", 0)
        yield made


@pytest.fixture
def run(appliance: Appliance, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: str) -> tuple[int, str, str]:
        code = main(["--config", str(appliance.config_path), "sieve", *words])
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "lists.sieve"
    path.write_text(LISTS)
    return str(path)


def ref(appliance: Appliance) -> AccountRef:
    return appliance.context.directory.existing(ALICE).ref


def fill(appliance: Appliance, *heads: bytes) -> None:
    store = appliance.context.store
    contents = [Content(b"Return-Path: <c@remote.example>\r\n", head + b"\r\n\r\nbody\r\n", 0) for head in heads]
    staged = [store.stage(ref(appliance), content) for content in contents]
    store.account(ref(appliance)).append([NewMessage(each, "INBOX") for each in staged], atomic=True)


def counts(appliance: Appliance) -> dict[str, int]:
    mailboxes = appliance.context.store.account(ref(appliance)).mailboxes()
    return {each.name: each.message_count for each in mailboxes if each.message_count}


def test_a_script_is_put_shown_renamed_and_deleted(run: Run, script: str, appliance: Appliance) -> None:
    assert run("list", ALICE)[1] == f"{ALICE} has no script: mailbox sieve put {ALICE} NAME FILE --activate\n"
    assert run("put", ALICE, "main", script, "--activate") == (0, "Put main, which runs from now on.\n", "")
    assert run("list", ALICE)[1].splitlines() == ["SCRIPT  SIZE   STATE", f"main    {len(LISTS)} B  active"]
    assert run("show", ALICE, "main")[1] == LISTS
    assert run("delete", ALICE, "main")[:2] == (1, "")
    assert run("rename", ALICE, "main", "lists") == (0, "main is now lists.\n", "")
    assert run("deactivate", ALICE)[0] == 0
    assert run("activate", ALICE, "main") == (1, "", "mailbox: there is no script of that name.\n")
    assert run("activate", ALICE, "lists")[0] == 0
    assert json.loads(run("list", ALICE, "--json")[1]) == {
        "scripts": [{"name": "lists", "size_bytes": len(LISTS), "active": True}],
        "failure": "",
    }
    run("deactivate", ALICE)
    assert run("delete", ALICE, "lists") == (0, "Deleted lists.\n", "")
    _, entries = appliance.context.audit.list(AuditFilter(what="sieve"), 0, 20)
    found = {(entry.change.what, entry.change.object, entry.change.result.partition(":")[0]) for entry in entries}
    assert ("sieve.put", ALICE, "ok") in found
    assert ("sieve.delete", ALICE, "script.active") in found
    assert {what for what, _, _ in found} == {"sieve.put", "sieve.activate", "sieve.rename", "sieve.delete"}


def test_mistakes_are_told_with_their_places(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.sieve"
    bad.write_text('if header "a" "b" {\n  fileinto "x";\n}\n')
    code, out, _ = run("check", str(bad))
    assert code == 1
    assert out.startswith(f"{bad}:2:3: ")
    code, _, err = run("put", ALICE, "bad", str(bad))
    assert code == 1
    assert err.startswith("mailbox: line 2, column 3: ")
    assert run("list", ALICE, "--json")[1].count("bad") == 0
    bad.write_text("keep;")
    assert run("check", str(bad)) == (0, "The script is valid.\n", "")


def test_a_script_is_tried_without_and_with_the_server(
    run: Run, script: str, tmp_path: Path, appliance: Appliance
) -> None:
    message = tmp_path / "offer.eml"
    message.write_bytes(MESSAGE.replace(b"\r\n", b"\n"))
    code, out, _ = run("test", script, str(message))
    assert code == 0
    assert out.splitlines()[-1] == "=> discard"
    assert '3: header :is "offer" in "offer" = true' in out
    message.write_bytes(b"List-Id: dev.x\r\n" + MESSAGE)
    assert run("test", script, str(message))[1].endswith("=> store in Lists/dev, made when it is missing with \\Seen\n")
    found = json.loads(run("test", script, str(message), "--for", ALICE, "--json")[1])
    assert found["actions"] == ["store in Lists/dev with \\Seen"]
    assert any("fileinto" in step for step in found["steps"])
    assert "Lists/dev" not in {each.name for each in appliance.context.store.account(ref(appliance)).mailboxes()}
    run("put", ALICE, "main", script)
    assert run("test", "main", str(message), "--for", ALICE, "--stored")[1].endswith(
        "=> store in Lists/dev with \\Seen\n"
    )
    assert run("test", "other", str(message), "--for", ALICE, "--stored")[0] == 1


def test_a_trial_shows_answers_and_redirects_and_sends_nothing(run: Run, tmp_path: Path, appliance: Appliance) -> None:
    script, message = tmp_path / "s.sieve", tmp_path / "m.eml"
    script.write_text('require ["vacation", "copy"]; vacation "Away"; redirect :copy "x@far.example";')
    message.write_bytes(MESSAGE)
    for _ in range(2):
        out = run("test", str(script), str(message), "--for", ALICE, "--from", "c@remote.example")[1]
        assert "=> pass on to x@far.example\n=> answer c@remote.example\n" in out
    assert "=> store in INBOX\n" in out
    assert appliance.context.queue.stats(appliance.context.clock.now()).messages == 0
    out = run("test", str(script), str(message), "--for", ALICE, "--from", "c@remote.example", "--junk")[1]
    assert "=> store in Junk\n" in out
    assert "note: no answer sent: the message is junk\n" in out


def test_a_script_runs_over_a_mailbox(run: Run, script: str, appliance: Appliance) -> None:
    fill(appliance, b"List-Id: <dev.x>\r\nSubject: one", b"Subject: offer", b"Subject: star", b"Subject: plain")
    run("put", ALICE, "main", script)
    dry = run("run", ALICE, "INBOX", "main", "--dry-run")[1]
    assert dry.splitlines() == [
        "UID  SUBJECT  WHAT       WHERE",
        "  1  one      moved      Lists/dev",
        "  2  offer    discarded  -",
        "  3  star     marked     -",
        "Would be: 4 messages: 1 discarded, 1 kept, 1 marked, 1 moved.",
    ]
    assert counts(appliance) == {"INBOX": 4}
    assert run("run", ALICE, "INBOX", "main")[1].endswith("\n4 messages: 1 discarded, 1 kept, 1 marked, 1 moved.\n")
    assert counts(appliance) == {"INBOX": 2, "Lists/dev": 1}
    account = appliance.context.store.account(ref(appliance))
    info = account.mailbox("INBOX")
    assert [row.flags for row in account.messages(info.mailbox_id, [3, 4])] == [4, 0]  # type: ignore[list-item]
    assert len(account.retained().messages) == 1, "what was discarded can come back"


def test_a_run_sends_nothing(run: Run, tmp_path: Path, appliance: Appliance) -> None:
    fill(appliance, b"Subject: one\r\nTo: alice@example.org")
    script = tmp_path / "s.sieve"
    script.write_text('require ["vacation", "reject"]; vacation "x"; redirect "y@far.example";')
    run("put", ALICE, "main", str(script))
    found = json.loads(run("run", ALICE, "INBOX", "main", "--json")[1])
    assert appliance.context.queue.stats(appliance.context.clock.now()).messages == 0
    assert counts(appliance) == {"INBOX": 1}
    assert found["messages"] == 1


def test_the_failure_of_a_script_is_shown(run: Run, script: str, appliance: Appliance) -> None:
    run("put", ALICE, "main", script, "--activate")
    appliance.context.filters.scripts.note_failure(ref(appliance), "2026-01-05 script main: line 3: too deep")
    assert run("list", ALICE)[1].endswith("\nThe last failure: 2026-01-05 script main: line 3: too deep\n")


def test_nothing_of_another_account_is_reached(appliance: Appliance) -> None:
    with ControlClient(appliance.socket_path, via="test") as client:
        found = client.call("sieve.put", {"address": ALICE, "name": "../../bob/sieve/x", "source": "keep;"})
    assert [each["name"] for each in found["scripts"]] == ["../../bob/sieve/x"]
    assert not (appliance.context.data_dir / "mail" / "example.org" / "bob").exists()


def test_an_out_of_office_answer_by_days(run: Run, appliance: Appliance) -> None:
    assert run("vacation", ALICE)[1] == f"{ALICE} has no out-of-office answer.\n"
    assert run("away")[1] == "Nobody has an out-of-office answer.\n"
    words = ["--text", "Back soon", "--subject", "Away", "--first-day", "2020-01-01", "--last-day", "2020-01-09"]
    assert run("vacation", ALICE, *words)[1] == (
        f"{ALICE} from 2020-01-01 until 2020-01-09, again after 7 days:\nBack soon\n"
    )
    assert run("away")[1].splitlines()[1].split() == [ALICE, "from", "2020-01-01", "until", "2020-01-09", "off", "Away"]
    assert json.loads(run("vacation", ALICE, "--text", "Now", "--json")[1])["is_on"] is True
    assert run("vacation", ALICE, "--text", "x", "--first-day", "tomorrow")[0] == 1
    assert run("vacation", ALICE, "--first-day", "2020-01-01") == (2, *run("vacation", ALICE, "--subject", "x")[1:])
    assert run("vacation", ALICE, "--clear", "--text", "x")[0] == 2
    assert run("vacation", "nobody@example.org") == (1, "", "mailbox: there is no account nobody@example.org.\n")
    assert run("vacation", ALICE, "--clear")[0] == 0
    assert run("away")[1] == "Nobody has an out-of-office answer.\n"
    _, entries = appliance.context.audit.list(AuditFilter(what="sieve"), 0, 20)
    assert {entry.change.what for entry in entries} == {"sieve.set_away", "sieve.clear_away"}
