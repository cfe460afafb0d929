"""`mailbox junk train`: lessons from a file, an mbox, a Maildir and standard input, each message once."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailbox_app.cli.main import main
from mailbox_app.control.client import ControlClient
from tests.support.control import Appliance, Background

Run = Callable[..., tuple[int, str, str]]
ONE = "From: a@spam.example\nSubject: win {0}\n\nbuy pills {0} now\n"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        with ControlClient(made.socket_path, via="test") as client:
            client.call("domain.add", {"name": "example.org"})
            client.call("user.add", {"address": "alice@example.org", "password": "correct horse battery"})
        yield made


@pytest.fixture
def run(appliance: Appliance, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*words: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = main(["--config", str(appliance.config_path), "junk", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return command


def counts(run: Run) -> list[tuple[str, int, int]]:
    found = json.loads(run("status", "--json")[1])["accounts"]
    return [(each["account"], each["spam"], each["ham"]) for each in found]


def test_each_message_is_learnt_once_whatever_holds_it(run: Run, tmp_path: Path) -> None:
    mbox, folder = tmp_path / "old.mbox", tmp_path / "Maildir"
    mbox.write_text("".join(f"From x Mon Jan  5 10:00:00 2026\n{ONE.format(word)}\n" for word in ("one", "two")))
    for name in ("cur", "new", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "cur" / "1.a:2,S").write_text(ONE.format("three"))
    single = tmp_path / "single.eml"
    single.write_text(ONE.format("four"))
    assert run("train", "spam", str(mbox), str(folder), str(single)) == (0, "4 learnt, 0 known already\n", "")
    assert run("train", "spam", "-", stdin=ONE.format("five")) == (0, "1 learnt, 0 known already\n", "")
    assert json.loads(run("train", "spam", str(single), "--json")[1]) == {"learnt": 0, "passed_over": 1}
    assert counts(run)[0] == ("", 5, 0)
    assert run("train", "ham", str(single))[0] == 0, "the first lesson is taken back"
    assert counts(run)[0] == ("", 4, 1)
    assert run("train", "spam", str(single), "--account", "alice@example.org")[0] == 0
    assert ("alice@example.org", 1, 0) in counts(run)


def test_what_cannot_be_learnt_is_told(run: Run, tmp_path: Path) -> None:
    empty = tmp_path / "nothing"
    empty.mkdir()
    assert run("train", "spam", str(empty)) == (1, "", f"mailbox: no message was found in {empty}.\n")
    assert run("train", "spam", str(tmp_path / "missing"))[0] == 1
    assert run("train", "spam", "-", "--account", "nobody@example.org", stdin=ONE)[0] == 1
    for words in (("train",), ("train", "spam"), ("train", "spam", "--mailbox", "Junk"), ("train", "eggs", "-")):
        assert run(*words)[0] == 2, words
