"""What a person writes is told from what goes to many."""

from __future__ import annotations

import pytest

from mailbox_app.delivery.urgency import MANY_RECIPIENTS, RUN_MESSAGES, WINDOW_SECONDS, Urgency
from mailbox_app.ids import AccountId
from mailbox_app.mailqueue.model import Priority
from mailbox_app.proto.header import Header
from tests.support.clock import FakeClock

ANN, BEN = AccountId("ann"), AccountId("ben")
LETTER = Header.parse(b"From: a@here.example\r\nSubject: hi\r\n\r\n")


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        (b"Precedence: bulk", Priority.BULK),
        (b"Precedence: first-class", Priority.PERSON),
        (b"List-Id: <news.here.example>", Priority.BULK),
        (b"List-Unsubscribe: <mailto:x@here.example>", Priority.BULK),
        (b"Auto-Submitted: auto-generated; owner-email=a@b.c", Priority.BULK),
        (b"Auto-Submitted: no", Priority.PERSON),
        (b"X-Other: list", Priority.PERSON),
    ],
)
def test_the_header_tells(field: bytes, wanted: Priority) -> None:
    assert Urgency(FakeClock()).of(ANN, Header.parse(b"From: a@here.example\r\n" + field + b"\r\n\r\n"), 1) is wanted


def test_so_does_the_number_of_recipients() -> None:
    urgency = Urgency(FakeClock())
    assert urgency.of(ANN, LETTER, MANY_RECIPIENTS) is Priority.PERSON
    assert urgency.of(ANN, LETTER, MANY_RECIPIENTS + 1) is Priority.BULK


def test_a_long_run_of_one_account_waits_and_another_account_does_not() -> None:
    clock = FakeClock()
    urgency = Urgency(clock)
    kinds = [urgency.of(ANN, LETTER, 1) for _ in range(RUN_MESSAGES + 5)]
    assert kinds == [Priority.PERSON] * RUN_MESSAGES + [Priority.BULK] * 5
    assert urgency.of(BEN, LETTER, 1) is Priority.PERSON
    clock.skip(WINDOW_SECONDS)
    assert urgency.of(ANN, LETTER, 1) is Priority.BULK
    clock.skip(WINDOW_SECONDS * 2)
    assert urgency.of(ANN, LETTER, 1) is Priority.PERSON
