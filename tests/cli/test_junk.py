"""`mailbox junk status`: what it tells people."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from mailbox_app.cli import connection
from mailbox_app.cli.commands.junk import command

FOUND = {
    "needed": 20,
    "accounts": [
        {"account": "", "spam": 25, "ham": 90, "kept": 70, "has_a_say": True},
        {"account": "alice@example.org", "spam": 3, "ham": 18, "kept": 18, "has_a_say": False},
        {"account": "bob@example.org", "spam": 3, "ham": 44, "kept": 40, "has_a_say": False},
    ],
}


def test_status_tells_what_a_classifier_still_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(config_file: str | None, method: str, **params: Any) -> Any:
        assert (method, params) == ("junk.status", {"account": ""})
        return FOUND

    monkeypatch.setattr(connection, "call", call)
    result = CliRunner().invoke(command, ["status"])
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.output.splitlines()]
    assert rows[0] == ["ACCOUNT", "SPAM", "HAM", "KEPT", "HAS", "A", "SAY"]
    assert rows[1][-4:] == ["25", "90", "70", "yes"]
    assert " ".join(rows[2]) == "alice@example.org 3 18 18 after 17 spam and 2 ham more"
    assert " ".join(rows[3]) == "bob@example.org 3 44 40 after 17 spam more"
