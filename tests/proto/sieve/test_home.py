"""Messages that are in a mailbox already: what `keep` means there, and what cannot be done with them. RFC 6785."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailbox_app.proto.sieve.actions import FileInto, Keep
from mailbox_app.proto.sieve.context import Context
from mailbox_app.proto.sieve.message import Message
from mailbox_app.proto.sieve.script import Outcome, compile_script, run

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def played(source: str, home: str = "Work", flags: tuple[str, ...] | None = ("\\Seen",)) -> Outcome:
    message = Message.of_bytes(b"Subject: x\r\n\r\nhello\r\n")
    return run(compile_script(source), Context(message, NOW, home=home, flags=flags))


def test_filing_into_the_inbox_is_not_keeping_elsewhere() -> None:
    outcome = played('require ["fileinto", "copy"]; fileinto :copy "INBOX";', flags=None)
    assert [type(action) for action in outcome.actions] == [FileInto, Keep]


def test_filing_into_the_mailbox_it_is_in_is_keeping() -> None:
    outcome = played('require ["fileinto"]; keep; fileinto "Work";')
    assert outcome.actions == (Keep(("\\Seen",)),)


def test_flags_begin_with_those_it_has() -> None:
    outcome = played('require "imap4flags"; if hasflag "\\\\Seen" { addflag "$Work"; }')
    assert tuple(outcome.flags) == ("\\Seen", "$Work")
    assert outcome.actions == (Keep(("\\Seen", "$Work"), implicit=True),)


@pytest.mark.parametrize(
    "source",
    [
        'require "reject"; reject "no";',
        'require "ereject"; ereject "no";',
        'require "vacation"; vacation "away";',
        'require "envelope"; if envelope "from" "x" { discard; }',
    ],
)
def test_what_belongs_to_deliveries_is_an_error(source: str) -> None:
    assert played(source).error.startswith("line 1: ")
    assert played(source, flags=None).error == ""
