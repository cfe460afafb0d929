from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.dsn import DsnRecipient, DsnReport, compose_dsn
from mailbox_app.proto.message import scan
from mailbox_app.proto.mime import PartTable
from mailbox_app.proto.smtp.orcpt import unescape_address

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
FAILED = DsnRecipient(
    "bob@example.net",
    "rfc822;bob@example.net",
    "failed",
    "5.1.1",
    "mx.example.net",
    "550 5.1.1 No such user",
    attempted_at=NOW - timedelta(minutes=1),
)
REPORT = DsnReport(
    reporting_mta="mail.example.org",
    sender="alice@example.org",
    arrived_at=NOW,
    envid="QQ314159",
    queue_id="abc123",
    recipients=[FAILED],
    original_header=b"From: alice@example.org\r\nSubject: Hi\r\n\r\n",
    original_message=None,
    message_id="<1@mail.example.org>",
    now=NOW,
    from_address="mailer-daemon@mail.example.org",
)


def parse(report: DsnReport):
    data = compose_dsn(report)
    assert data.count(b"\n") == data.count(b"\r\n") == data.count(b"\r")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    parsed = email.message_from_bytes(data, policy=email.policy.compat32)
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "delivery-status"
    assert not parsed.defects
    assert len(parsed.get_payload()) == 3
    return parsed


def test_the_report_has_a_text_a_status_and_the_header():
    parsed = parse(REPORT)
    assert parsed["To"] == "<alice@example.org>"
    assert parsed["From"] == "Mail Delivery System <mailer-daemon@mail.example.org>"
    assert parsed["Auto-Submitted"] == "auto-replied"
    assert parsed["Subject"] == "Your message could not be delivered"
    text, status, original = parsed.get_payload()
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    assert original.get_content_type() == "text/rfc822-headers"
    assert "<bob@example.net>" in text.get_payload()
    assert "mx.example.net said: 550 5.1.1 No such user" in text.get_payload()
    assert original.get_payload().replace("\r\n", "\n") == "From: alice@example.org\nSubject: Hi\n"


def test_the_status_fields():
    _, status, _ = parse(REPORT).get_payload()
    message, recipient = status.get_payload()
    assert dict(message.items()) == {
        "Original-Envelope-Id": "QQ314159",
        "Reporting-MTA": "dns; mail.example.org",
        "Arrival-Date": "Mon, 05 Jan 2026 10:00:00 +0000",
    }
    assert dict(recipient.items()) == {
        "Original-Recipient": "rfc822; bob@example.net",
        "Final-Recipient": "rfc822; bob@example.net",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.net",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such user",
        "Last-Attempt-Date": "Mon, 05 Jan 2026 09:59:00 +0000",
    }


def test_our_words_are_for_people_and_the_servers_for_programs():
    """RFC 3461 9.2: the reply as it was."""
    told = replace(FAILED, diagnostic="451 4.7.1 later", explanation="it was given up after 15 tries")
    human, status, _ = parse(replace(REPORT, recipients=[told])).get_payload()
    assert "it was given up after 15 tries" in human.get_payload()
    assert status.get_payload()[1]["Diagnostic-Code"] == "smtp; 451 4.7.1 later"


def test_the_time_of_an_attempt_that_was_not_made_is_not_told():
    """RFC 3464 2.3.7"""
    _, status, _ = parse(replace(REPORT, recipients=[replace(FAILED, attempted_at=None)])).get_payload()
    assert status.get_payload()[1]["Last-Attempt-Date"] is None


@pytest.mark.parametrize("said", ["for;3600", "until;2026-03-01T08:00:00Z"])
def test_a_wish_for_a_later_time_is_repeated(said):
    """RFC 4865 5.1.2"""
    _, status, _ = parse(replace(REPORT, release_request=said)).get_payload()
    assert status.get_payload()[0]["Future-Release-Request"] == said


def test_trouble_of_our_own_is_no_smtp_diagnostic():
    local = replace(FAILED, remote_mta=None, diagnostic="no route to example.net", orcpt=None)
    _, status, _ = parse(replace(REPORT, recipients=[local])).get_payload()
    recipient = status.get_payload()[1]
    assert recipient["Diagnostic-Code"] == "x-local; no route to example.net"
    assert recipient["Remote-MTA"] is None


@pytest.mark.parametrize(
    ("action", "subject"),
    [
        ("failed", "could not be delivered"),
        ("delayed", "is delayed"),
        ("delivered", "was delivered"),
        ("relayed", "was passed on"),
        ("expanded", "was sent to a list"),
    ],
)
def test_every_action_has_its_words(action, subject):
    parsed = parse(replace(REPORT, recipients=[replace(FAILED, action=action)]))
    assert subject in parsed["Subject"]
    assert parsed.get_payload()[1].get_payload()[1]["Action"] == action


def test_a_delay_tells_how_long_it_will_be_tried():
    delayed = replace(FAILED, action="delayed", status="4.4.1", will_retry_until=NOW)
    parsed = parse(replace(REPORT, recipients=[delayed]))
    assert parsed.get_payload()[1].get_payload()[1]["Will-Retry-Until"] == "Mon, 05 Jan 2026 10:00:00 +0000"
    assert "It will be tried until" in parsed.get_payload()[0].get_payload()


def test_the_whole_message_is_returned_when_asked_for():
    original = b"From: a@b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n\xe4\r\n--x--\r\n"
    parsed = parse(replace(REPORT, original_header=original[:55], original_message=original))
    assert parsed.get_payload()[2].get_content_type() == "message/rfc822"
    data = compose_dsn(replace(REPORT, original_header=original[:55], original_message=original))
    table = PartTable.decode(scan(data).parts)
    part = table.find((3,))
    assert data[part.body_start : part.body_end] == original
    assert parsed["Content-Transfer-Encoding"] == "8bit"


def test_other_letters_use_the_international_types():
    recipient = replace(FAILED, address="jürgen@bücher.example", orcpt="utf-8;jürgen@bücher.example")
    parsed = parse(replace(REPORT, recipients=[recipient], original_header="Subject: Grüße\r\n\r\n".encode()))
    _, status, original = parsed.get_payload()
    assert status.get_content_type() == "message/global-delivery-status"
    assert original.get_content_type() == "message/global-headers"
    assert "Final-Recipient: utf-8; jürgen@bücher.example".encode() in compose_dsn(
        replace(REPORT, recipients=[recipient])
    )


def test_many_recipients_are_each_named():
    recipients = [replace(FAILED, address=f"u{n}@example.net") for n in range(200)]
    text, status, _ = parse(replace(REPORT, recipients=recipients)).get_payload()
    assert len(status.get_payload()) == 201
    assert all(f"<u{n}@example.net>" in text.get_payload() for n in range(200))


hostile = st.lists(
    st.sampled_from(["\r", "\n", "\0", "a", " ", "ä", "\u2028", "\ud800", "--", ":", "x" * 1_100, "."]), max_size=8
).map("".join)


@given(texts=st.lists(hostile, min_size=6, max_size=6), header=st.binary(max_size=200))
def test_text_of_strangers_adds_no_line_and_no_part(texts, header):
    address, orcpt, status, remote, diagnostic, envid = texts
    recipient = DsnRecipient(address, orcpt, "failed", status, remote, diagnostic, explanation=diagnostic or "")
    report = replace(REPORT, recipients=[recipient], envid=envid, original_header=header)
    data = compose_dsn(report)
    assert data.count(b"\n") == data.count(b"\r\n") == data.count(b"\r")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    table = PartTable.decode(scan(data).parts)
    assert table.find(()).children == 3
    part = table.find((2,))
    fields = data[part.body_start : part.body_end]
    assert fields.count(b"\r\nFinal-Recipient:") == 1
    assert fields.count(b"\r\n\r\n") == 1


def test_a_very_long_header_is_cut():
    header = b"X-Long: " + b"y" * 200_000 + b"\r\n" + b"A: b\r\n" * 50_000
    assert len(compose_dsn(replace(REPORT, original_header=header))) < 100_000


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
    | st.from_regex(r"<[a-z@.\r\n<> ]{0,40}>", fullmatch=True)
)
def test_no_message_id_of_a_stranger_becomes_another_field(message_id):
    data = compose_dsn(replace(REPORT, original_message_id=message_id))
    parsed = email.message_from_bytes(data, policy=email.policy.compat32)
    assert set(parsed.keys()) <= {
        "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "MIME-Version",
        "Content-Type", "Content-Transfer-Encoding",
    }  # fmt: skip
    assert parsed["In-Reply-To"] in (None, message_id)
    assert not parsed.defects


ADDRESS = st.from_regex(r"[a-zé日]{1,12}(\+[a-z]{1,5})?@[a-zä]{1,8}\.example", fullmatch=True)


@given(ADDRESS, ADDRESS, st.booleans(), st.sampled_from(["failed", "delayed", "delivered", "relayed", "expanded"]))
def test_international_forms_only_where_the_way_back_takes_them(address, original, smtputf8, action):
    """RFC 6533 3 and 4: else everything is ASCII, and the address comes back from its code points."""
    recipient = DsnRecipient(address, f"utf-8;{original}", action, "4.4.7", "mx.example", "451 später", "q1", NOW)
    report = replace(REPORT, recipients=[recipient], smtputf8=smtputf8, original_header="Subject: für\r\n\r\n".encode())
    parsed = email.message_from_bytes(compose_dsn(report), policy=email.policy.compat32)
    _, status, header = parsed.get_payload()
    fields = compose_dsn(report).partition(b"Final-Recipient: ")[2].partition(b"\r\n")[0].decode()
    is_global = smtputf8 and not (address.isascii() and original.isascii())
    assert status.get_content_type() == ("message/global-delivery-status" if is_global else "message/delivery-status")
    assert header.get_content_type() == ("message/global-headers" if smtputf8 else "text/rfc822-headers")
    kind, _, text = fields.partition("; ")
    assert kind == ("rfc822" if address.isascii() else "utf-8")
    assert text.isascii() or is_global
    assert (text if is_global or address.isascii() else unescape_address(text)) == address


@given(
    st.lists(
        st.builds(
            DsnRecipient,
            st.text(max_size=30),
            st.none() | st.text(max_size=30),
            st.sampled_from(["failed", "delayed", "delivered", "relayed", "expanded"]),
            st.text(max_size=8),
            st.none() | st.text(max_size=20),
            st.none() | st.text(max_size=80),
            st.none() | st.text(max_size=20),
            st.none() | st.just(NOW),
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_every_report_has_one_block_for_each_recipient(recipients, smtputf8):
    data = compose_dsn(replace(REPORT, recipients=recipients, smtputf8=smtputf8))
    parsed = email.message_from_bytes(data, policy=email.policy.compat32)
    assert len(parsed.get_payload()) == 3
    table = PartTable.decode(scan(data).parts)
    part = table.find((2,))
    blocks = data[part.body_start : part.body_end].strip(b"\r\n").split(b"\r\n\r\n")
    assert len(blocks) == len(recipients) + 1
    for block, recipient in zip(blocks[1:], recipients, strict=True):
        assert block.count(b"\r\nAction: " + recipient.action.encode()) == 1
        names = [line.partition(b":")[0] for line in block.split(b"\r\n") if not line.startswith(b" ")]
        assert len(set(names)) == len(names)
