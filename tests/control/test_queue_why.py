"""The sentence on a waiting recipient: one row of the table for each reason there is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mailbox_app.control.methods.queue_why import advice, situation, why, why_message
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import Envelope, Pause, QueuedMessage, QueuedRecipient, RecipientState
from mailbox_app.mailqueue.under_way import Delivery

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
ID = QueueId("4XK000001")
NEW = QueuedRecipient(
    ID, "bob@there.example", "smtp", "there.example", RecipientState.DEFERRED, 0, NOW, 0, "", "", "", ""
)
TRIED = replace(
    NEW, attempts=3, next_at=NOW + timedelta(minutes=5), last_code=451, last_text="4.3.0 disk full",
    last_host="mx1.there.example [192.0.2.1]", last_enhanced="4.3.0",
)  # fmt: skip
UNREACHED = replace(TRIED, last_host="", last_text="no route to mx1.there.example")
ACTIVE = replace(TRIED, state=RecipientState.ACTIVE)
HELD = replace(TRIED, state=RecipientState.HELD)
ANSWERED = "mx1.there.example [192.0.2.1] answered 451 4.3.0 disk full"
PAUSED = Pause("there.example", "their server is moved (by root)", NOW - timedelta(hours=3))
DELIVERY = Delivery(ID, "there.example", NOW - timedelta(seconds=12))


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (NEW, "Not tried yet; the first try is due now and waits for a free worker."),
        (
            replace(NEW, next_at=NOW - timedelta(minutes=7)),
            ("Not tried yet; the first try has been due for 7 min and waits for a free worker or for other deliveries to"
            " there.example."),
        ),
        (
            replace(NEW, next_at=NOW + timedelta(hours=26)),
            "To be sent later, as its sender asked or an operator said: not before 2026-01-06 12:00 UTC, which is in 1 d.",
        ),
        (
            replace(NEW, last_text="the mailbox is over its quota", next_at=NOW + timedelta(minutes=5)),
            "Not tried yet: the mailbox is over its quota; the first try is in 5 min.",
        ),
        (TRIED, f"Tried 3 times; {ANSWERED}; the next try is in 5 min."),
        (
            replace(TRIED, last_text="the server closed the connection", last_enhanced="4.4.2"),
            "Tried 3 times, at mx1.there.example [192.0.2.1]: the server closed the connection; the next try is in 5 min.",
        ),
        (
            replace(TRIED, last_text="mx1.there.example refused the connection: 450 busy", last_enhanced="4.0.0"),
            ("Tried 3 times, at mx1.there.example [192.0.2.1]: mx1.there.example refused the connection: 450 busy; the next try"
            " is in 5 min."),
        ),
        (
            replace(TRIED, last_text="come back", last_enhanced="4.0.0"),
            "Tried 3 times; mx1.there.example [192.0.2.1] answered 451 come back; the next try is in 5 min.",
        ),
        (replace(TRIED, attempts=1), f"Tried once; {ANSWERED}; the next try is in 5 min."),
        (replace(TRIED, next_at=NOW), f"Tried 3 times; {ANSWERED}; the next try is due now and waits for a free worker."),
        (
            replace(TRIED, last_text="4.7.1 Greylisted, come back"),
            ("Tried 3 times; mx1.there.example [192.0.2.1] answered 451 4.7.1 Greylisted, come back (the other server asks"
            " every new sender to come back, which needs nothing); the next try is in 5 min."),
        ),
        (UNREACHED, "Tried 3 times; no server was reached: no route to mx1.there.example; the next try is in 5 min."),
        (
            replace(UNREACHED, transport="local", last_text="the mailbox is full"),
            "Tried 3 times; it could not be delivered here: the mailbox is full; the next try is in 5 min.",
        ),
        (
            replace(UNREACHED, last_text="the DNS did not answer in time for there.example"),
            "Tried 3 times; no server was reached: the DNS did not answer in time for there.example; the next try is in 5 min.",
        ),
        (replace(TRIED, route="backup"), (f"Tried 3 times; {ANSWERED}; the next try is in 5 min, by the route backup that an"
            " operator chose.")),
        (
            replace(NEW, hold_reason="mx1.there.example failed 5 times in a row", next_at=NOW + timedelta(minutes=4)),
            "Not tried for now: mx1.there.example failed 5 times in a row; it is looked at again in 4 min.",
        ),
        (
            replace(TRIED, hold_reason="mx1.there.example failed 5 times in a row", next_at=NOW),
            (f"Not tried for now: mx1.there.example failed 5 times in a row; tried 3 times before, {ANSWERED}; it is looked at"
            " again now."),
        ),
        (HELD, f"Held; tried 3 times before, {ANSWERED}; it waits until somebody releases it."),
        (
            replace(NEW, state=RecipientState.HELD, hold_reason="too many new recipients today"),
            "Held: too many new recipients today; it waits until somebody releases it.",
        ),
        (
            replace(NEW, state=RecipientState.QUARANTINED, hold_reason="the file ends too early."),
            ("In quarantine, since the message cannot be read (the file ends too early); it waits until somebody releases, returns"
            " or drops it."),
        ),
        (
            replace(NEW, state=RecipientState.QUARANTINED),
            ("In quarantine, since the message cannot be read (its file is damaged); it waits until somebody releases, returns or"
            " drops it."),
        ),
        (ACTIVE, f"Being delivered right now; tried 3 times before, {ANSWERED}."),
        (replace(NEW, last_text="a\x1b[2J"), "Not tried yet: a\ufffd[2J; the first try is due now and waits for a free worker."),
    ],
)  # fmt: skip
def test_every_reason_has_its_sentence(row: QueuedRecipient, sentence: str) -> None:
    assert why(row, NOW, situation()) == sentence


@pytest.mark.parametrize(
    ("row", "pauses", "under_way", "sentence"),
    [
        (
            NEW,
            [PAUSED],
            [],
            (
                "Delivery to there.example has been paused for 3 h: their server is moved (by root); it goes when somebody"
                " resumes it."
            ),
        ),
        (
            TRIED,
            [Pause("", "", NOW - timedelta(minutes=1))],
            [],
            (
                f"Delivery of all mail has been paused for 1 min; tried 3 times before, {ANSWERED}; it goes when somebody resumes"
                " it."
            ),
        ),
        (HELD, [PAUSED], [], f"Held; tried 3 times before, {ANSWERED}; it waits until somebody releases it."),
        (
            replace(ACTIVE, attempts=0),
            [],
            [DELIVERY],
            "Being delivered right now, for 12 s; the way to its domain is looked up.",
        ),
        (
            replace(ACTIVE, attempts=0),
            [PAUSED],
            [replace(DELIVERY, host="mx2.there.example")],
            "Being delivered right now, for 12 s to mx2.there.example.",
        ),
        (
            replace(ACTIVE, attempts=0),
            [],
            [replace(DELIVERY, destination="elsewhere.example")],
            "Being delivered right now.",
        ),
    ],
)
def test_what_is_true_beside_the_row_counts(
    row: QueuedRecipient, pauses: list[Pause], under_way: list[Delivery], sentence: str
) -> None:
    assert why(row, NOW, situation(pauses, under_way)) == sentence


def message(*rows: QueuedRecipient) -> QueuedMessage:
    return QueuedMessage(ID, Envelope("alice@here.example"), 100, NOW, NOW + timedelta(days=5), rows)


def test_a_message_says_what_all_its_recipients_wait_for() -> None:
    assert why_message(message(), NOW, situation()) == "Nothing of it waits any more."
    same = message(TRIED, replace(TRIED, address="carl@there.example"))
    assert why_message(same, NOW, situation()) == why(TRIED, NOW, situation())


def test_a_message_names_the_recipient_whose_turn_is_next_and_counts_the_others() -> None:
    late = replace(TRIED, address="carl@there.example", next_at=NOW + timedelta(hours=1))
    assert why_message(message(HELD, late, NEW), NOW, situation()) == (
        "bob@there.example: Not tried yet; the first try is due now and waits for a free worker."
        " 2 other recipients wait for another reason."
    )
    assert "1 other recipient waits for another reason" in why_message(message(HELD, ACTIVE), NOW, situation())


def test_advice_is_given_on_answers_only() -> None:
    listed = replace(TRIED, last_code=550, last_text="5.7.1 listed at Spamhaus")
    assert (found := advice(listed)) is not None
    assert found.code == "list.spamhaus"
    assert advice(replace(listed, attempts=0)) is None
    assert advice(TRIED) is None
