"""`trace.*` and `mailbox trace`: one message told from the door to the last attempt, and searches."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.cli.main import main
from mailbox_app.control.client import ControlClient
from mailbox_app.control.methods import trace
from mailbox_app.errors import ControlError
from mailbox_app.journal.explanations import Copy, Explanation, Said
from mailbox_app.observe.mail_log import MailEvent
from tests.support.control import Appliance, Background


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        now = int(made.context.clock.epoch_seconds() * 1000)
        decisions = made.context.decisions
        decisions.explain(
            Explanation(
                now - 5_000, "junk", "T1", "S1", "smtp", "192.0.2.1", "mx.x.example", helo="mx.x.example", sender="a@x.example",
                recipients=["alice@example.org"], message_id="<1@x.example>", subject="win", size_bytes=2048, code=250,
                text="2.0.0 T1", authentication="spf=fail dkim=none dmarc=fail", score=6.5, junk_score=5.0,
                findings=[
                    Said("ptr", "no confirmed name", 1.5), Said("bayes", "looks like junk", 5.0, account="alice@example.org"),
                    Said("url_lists", "listed", 9.0, "reject", advisory=True),
                ],
                copies=[
                    Copy("alice@example.org", "stored", "Junk", "junk: score 6.5 of 5", ["line 2: header :contains false"]),
                    Copy("bob@elsewhere.example", "redirected", "bob@elsewhere.example"),
                ],
                queue_ids=["Q1"],
            )
        )  # fmt: skip
        decisions.explain(
            Explanation(now - 4_000, "refused", "", "S2", "smtp", "192.0.2.2", sender="b@y.example",
                        recipients=["nobody@example.org"], code=550, text="5.1.1 No such mailbox here", stage="recipient")
        )  # fmt: skip
        decisions.record(
            MailEvent("delivered", "out", queue_id="Q1", recipients=("bob@elsewhere.example",), remote="mx.elsewhere.example",
                      code=250, text="2.0.0 thanks")
        )  # fmt: skip
        yield made


@pytest.fixture
def client(appliance: Appliance) -> Iterator[ControlClient]:
    with ControlClient(appliance.socket_path, via="test") as made:
        yield made


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(appliance: Appliance, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        code = main(["--config", str(appliance.config_path), *words])
        out, err = capsys.readouterr()
        return code, re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\dZ", "TIME", out), err

    return command


@pytest.mark.parametrize("identifier", ["T1", "Q1", "S1", "<1@x.example>", "1@x.example", " T1 "])
def test_any_of_its_ids_tells_the_whole_story(client: ControlClient, identifier: str) -> None:
    found = client.call("trace.show", {"id": identifier})
    (why,) = found["decisions"]
    assert (why["outcome"], why["subject"], why["helo"]) == ("junk", "win", "mx.x.example")
    assert [each["verb"] for each in found["events"]] == ["delivered"]


def test_every_field_of_checks_and_copies_is_told_empty_ones_too(client: ControlClient) -> None:
    (decision,) = client.call("trace.show", {"id": "T1"})["decisions"]
    assert {frozenset(each) for each in decision["findings"]} == {
        frozenset({"check", "reason", "score", "verdict", "account", "advisory", "inputs"})
    }
    assert {frozenset(each) for each in decision["copies"]} == {
        frozenset({"address", "action", "target", "reason", "steps"})
    }


def test_an_id_that_nobody_knows_is_told_as_such(client: ControlClient) -> None:
    with pytest.raises(ControlError) as error:
        client.call("trace.show", {"id": "T9"})
    assert error.value.code == "trace.nothing"


@pytest.mark.parametrize(
    ("params", "ids"),
    [
        ({}, ["S2", "T1"]),
        ({"words": ["@example.org"]}, ["S2", "T1"]),
        ({"words": ["192.0.2.1"]}, ["T1"]),
        ({"words": ["alice@example.org", "a@x.example"]}, ["T1"]),
        ({"outcome": "refused"}, ["S2"]),
        ({"since_seconds": 4.5}, ["S2"]),
        ({"until_seconds": 4.5}, ["T1"]),
        ({"limit": 1}, ["S2"]),
        ({"words": ["nobody@nowhere.example"]}, []),
    ],
)
def test_searches(client: ControlClient, params: dict[str, Any], ids: list[str]) -> None:
    rows = client.call("trace.search", params)["rows"]
    assert [row["trace_id"] or "S2" for row in rows] == ids


def test_the_next_page_begins_behind_the_last(client: ControlClient) -> None:
    (first,) = client.call("trace.search", {"limit": 1})["rows"]
    (second,) = client.call("trace.search", {"limit": 1, "before_no": first["no"]})["rows"]
    assert second["trace_id"] == "T1"
    assert second["reason"] == "looks like junk"


def test_a_message_explained_on_the_command_line(run: Run) -> None:
    code, out, _ = run("trace", "T1")
    assert code == 0
    assert out == (
        "outcome         junk: 250 2.0.0 T1\n"
        "at              TIME\n"
        "id              T1\n"
        "session         S1\n"
        "client          192.0.2.1 (mx.x.example)\n"
        "helo            mx.x.example\n"
        "from            a@x.example\n"
        "to              alice@example.org\n"
        "message-id      <1@x.example>\n"
        "subject         win\n"
        "size            2.0 kB\n"
        "authentication  spf=fail dkim=none dmarc=fail\n"
        "score           6.5 (junk from 5.0)\n"
        "queued as       Q1\n"
        "  ptr: no confirmed name [+1.5]\n"
        "  bayes: looks like junk [+5.0, only alice@example.org]\n"
        "  url_lists: listed [+9.0, reject, advisory]\n"
        "  -> alice@example.org: stored Junk (junk: score 6.5 of 5)\n"
        "     line 2: header :contains false\n"
        "  -> bob@elsewhere.example: redirected bob@elsewhere.example\n"
        "\n"
        "AT                 EVENT      QUEUE ID  TO                     HOST                  CODE  TEXT\n"
        "TIME  delivered  Q1        bob@elsewhere.example  mx.elsewhere.example   250  2.0.0 thanks\n"
    )


def test_searches_on_the_command_line(run: Run) -> None:
    code, out, _ = run("trace", "--outcome", "refused", "--ip", "192.0.2.2", "--since", "1h", "--json")
    assert code == 0
    assert [row["text"] for row in json.loads(out)["rows"]] == ["5.1.1 No such mailbox here"]
    assert run("trace", "--address", "c@nowhere.example")[1] == "No message fits.\n"
    assert run("trace", "T1", "--ip", "192.0.2.2")[0] == 2
    assert "nothing is known of 'T9'" in run("trace", "T9")[2]


def test_problems_and_counts(appliance: Appliance, client: ControlClient) -> None:
    now = int(appliance.context.clock.epoch_seconds() * 1000)
    for number in range(7):
        outcome = "deferred" if number % 2 else "refused"
        appliance.context.decisions.explain(
            Explanation(now - 1_000 + number, outcome, f"P{number}", sender="p@p.example")
        )
    found = client.call("trace.search", {"problems": True, "limit": 4, "count": True})
    assert [each["trace_id"] for each in found["rows"]] == ["P6", "P5", "P4", "P3"]
    assert found["total"] == 8
    more = client.call("trace.search", {"problems": True, "before_no": found["rows"][-1]["no"]})
    assert [each["trace_id"] for each in more["rows"]] == ["P2", "P1", "P0", ""]
    assert more["total"] is None
    assert client.call("trace.search", {"problems": True, "outcome": "junk"})["rows"] == []
    for params, total in (
        ({}, 9),
        ({"since_seconds": 2}, 7),
        ({"words": ["p@p.example"]}, 7),
        ({"words": ["p@p.example"], "problems": True, "outcome": "deferred"}, 3),
        ({"words": ["p@p.example"], "until_seconds": 3}, 0),
        ({"words": ["@p.example"], "since_seconds": 2}, 7),
        ({"words": ["p@p.example", "nobody@p.example"]}, 0),
    ):
        assert client.call("trace.search", {**params, "count": True})["total"] == total, params


async def test_the_topic_log_tells_what_is_newest(appliance: Appliance) -> None:
    context = appliance.context
    context.decisions.flush()
    assert await trace.log(context, trace.Conditions()) == trace.LogState(2, 2)
    assert await trace.log(context, trace.Conditions(words=["a@x.example"])) == trace.LogState(2, 1)
    assert await trace.log(context, trace.Conditions(words=["none@x.example"])) == trace.LogState(2, 0)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"code": 550, "text": "5.1.1 No such mailbox here", "findings": [Said("ptr", "no name", 2.0)]}, "No such mailbox here"),
        ({"code": 550, "text": "5.7.1 spam", "findings": [Said("ptr", "no name", 2.0)], "score": 9.0, "reject_score": 8.0},
         "no name"),
        ({"code": 451, "text": "4.7.1 wait", "findings": [Said("ptr", "no name", 2.0), Said("greylist", "new", 0.0, "defer")]},
         "new"),
        ({"code": 550, "text": "5.7.1 no lists", "copies": [Copy("a@b.example", "rejected", "", "script main: line 4")]},
         "script main: line 4"),
    ],
)  # fmt: skip
def test_the_list_names_what_decided_and_not_what_was_only_noticed(
    appliance: Appliance, client: ControlClient, record: dict[str, Any], reason: str
) -> None:
    now = int(appliance.context.clock.epoch_seconds() * 1000)
    outcome = "refused" if record["code"] >= 500 else "deferred"
    appliance.context.decisions.explain(Explanation(now, outcome, "T9", "S9", "smtp", "192.0.2.9", **record))
    assert client.call("trace.search", {"words": ["T9"]})["rows"][0]["reason"] == reason
