"""`replace` and `enclose`: what the message becomes, for which actions. RFC 5703 5, 6."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from mailbox_app.proto.sieve.actions import FileInto, Keep, Redirect
from mailbox_app.proto.sieve.context import Context
from mailbox_app.proto.sieve.faults import SieveError
from mailbox_app.proto.sieve.message import Message
from mailbox_app.proto.sieve.script import Outcome, compile_script, run

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
MIXED = (
    b"Received: from x by y; Mon, 5 Jan 2026 09:59:00 +0000\r\nFrom: Carol <carol@remote.example>\r\nSubject: two files\r\n"
    b"Date: Mon, 5 Jan 2026 09:58:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"preamble\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
    b'--b\r\nContent-Type: application/exe; name="run.com"\r\n\r\nMZ\xff\x00\r\n--b--\r\nepilogue\r\n'
)


def played(source: str, data: bytes = MIXED) -> Outcome:
    outcome = run(compile_script(source), Context(Message.of_bytes(data), NOW, recipient="alice@example.org"))
    assert outcome.error == ""
    return outcome


def final(action: object, data: bytes = MIXED) -> bytes:
    assert isinstance(action, Keep | FileInto | Redirect)
    whole = data if action.content is None else action.content.read(0, 1 << 24)
    if action.content is not None:
        assert len(whole) == action.content.size_bytes
        assert whole[: action.content.header_bytes].endswith(b"\r\n\r\n")
        pieces = [action.content.read(at, 7) for at in range(0, len(whole), 7)]
        assert b"".join(pieces) == whole
    return action.edits.apply(whole) if action.edits else whole


def parsed(data: bytes) -> EmailMessage:
    made = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(made, EmailMessage)
    assert not made.defects
    return made


def test_an_executable_part_is_replaced_by_a_text() -> None:
    """The example of RFC 5703 5."""
    (kept,) = played(
        """require [ "foreverypart", "mime", "replace" ];
        foreverypart
        {
          if anyof (
                 header :mime :contenttype :is "Content-Type" "application/exe",
                 header :mime :param "filename" :matches ["Content-Type", "Content-Disposition"] "*.com" )
          {
            replace "Executable attachment removed by user filter";
          }
        }"""
    ).actions
    assert final(kept) == MIXED.replace(
        b'Content-Type: application/exe; name="run.com"\r\n\r\nMZ\xff\x00',
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
        b"Executable attachment removed by user filter",
    )


def test_the_text_can_name_what_was_there_and_may_have_any_letters() -> None:
    """The second example of RFC 5703 5, with variables."""
    (kept,) = played(
        """require [ "foreverypart", "mime", "variables", "replace" ];
        foreverypart {
          if header :mime :param ["filename", "name"] :matches ["Content-Type", "Content-Disposition"] ["*.com", "*.exe"]
          { set "fname" "${1}"; replace "Anhang \\"${fname}\\" gelöscht"; }
        }"""
    ).actions
    _, second = parsed(final(kept)).iter_parts()
    assert second.get_content().splitlines() == ['Anhang "run" gelöscht']


def test_the_whole_message_is_replaced_and_keeps_its_header() -> None:
    (kept,) = played('require "replace"; replace "gone";').actions
    made = parsed(final(kept))
    assert made.keys() == [
        "Received", "From", "Subject", "Date", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"
    ]  # fmt: skip
    assert (made["Subject"], made.get_content().split("\r\n")[0]) == ("two files", "gone")


def test_subject_and_from_of_a_whole_new_message() -> None:
    (kept,) = played('require "replace"; replace :subject "Grüße" :from "Me <me@example.org>" "gone";').actions
    made = parsed(final(kept))
    assert (made["Subject"], made["From"]) == ("Grüße", "Me <me@example.org>")
    with pytest.raises(SieveError, match="is not an address"):
        compile_script('require "replace"; replace :from "nobody" "gone";')


def test_a_mime_entity_brings_its_own_content_fields_only() -> None:
    (kept,) = played(
        'require "replace"; replace :mime "Content-Type: text/html\r\nBcc: x@y.example\r\n\r\n<p>gone</p>";'
    ).actions
    made = parsed(final(kept))
    assert (made.get_content_type(), made["Bcc"], made.get_content().split("\r\n")[0]) == (
        "text/html",
        None,
        "<p>gone</p>",
    )


def test_tests_after_it_see_the_new_message() -> None:
    outcome = played(
        'require ["replace", "body", "fileinto", "editheader"]; addheader "X-Before" "1"; replace "now this";'
        ' addheader "X-After" "1";'
        ' if allof (body :contains "now this", not body :contains "hello", exists "X-Before") { fileinto "Right"; }'
    )
    (filed,) = outcome.actions
    made = parsed(final(filed))
    assert (made["X-Before"], made["X-After"], made.get_content().split("\r\n")[0]) == ("1", "1", "now this")


def test_actions_before_it_have_the_message_as_it_was() -> None:
    before, after = played(
        'require ["replace", "fileinto"]; fileinto "Before"; replace "gone"; fileinto "After";'
    ).actions
    assert final(before) == MIXED
    assert parsed(final(after)).get_content().splitlines() == ["gone"]


def test_an_action_within_the_loop_has_the_parts_replaced_so_far() -> None:
    filed, kept = played(
        'require ["foreverypart", "mime", "replace", "fileinto", "copy"];'
        'foreverypart { if header :mime :subtype "Content-Type" "plain" { replace "A"; fileinto :copy "X"; }'
        ' elsif header :mime :subtype "Content-Type" "exe" { replace "B"; } }'
    ).actions
    assert (b"\r\nA\r\n" in final(filed), b"\r\nB\r\n" in final(filed)) == (True, False)
    assert (b"\r\nA\r\n" in final(kept), b"\r\nB\r\n" in final(kept), b"MZ" in final(kept)) == (True, True, False)


def test_a_part_whose_surrounding_part_is_replaced_too_is_gone() -> None:
    inner = MIXED.partition(b"MIME-Version: 1.0\r\n")[2]
    nested = b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n" + inner + b"--o--\r\n"
    (kept,) = played(
        'require ["foreverypart", "mime", "replace"];'
        'foreverypart { if header :mime :param "boundary" "Content-Type" "b" { replace "outer"; }'
        ' elsif header :mime :subtype "Content-Type" "exe" { replace "inner"; } }',
        nested,
    ).actions
    made = parsed(final(kept, nested))
    assert [part.get_content().splitlines() for part in made.iter_parts()] == [["outer"]]


def test_a_message_with_executables_is_enclosed() -> None:
    """The example of RFC 5703 6."""
    (kept,) = played(
        """require [ "foreverypart", "mime", "enclose" ];
        foreverypart
        {
          if header :mime :param ["filename", "name"] :matches ["Content-Type", "Content-Disposition"]
               ["*.com", "*.exe", "*.vbs", "*.scr", "*.pif", "*.hta", "*.bat", "*.zip" ]
          {
            enclose :subject "Warning" :headers ["Date"] text:
WARNING! The enclosed message contains executable attachments.
.
;
            break;
          }
        }"""
    ).actions
    data = final(kept)
    made = parsed(data)
    assert made.keys() == ["Date", "From", "Subject", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]
    assert (made["Subject"], made["From"]) == ("Warning", "alice@example.org")
    assert made["Date"] == "Mon, 05 Jan 2026 09:58:00 +0000"
    text, old = made.iter_parts()
    assert text.get_content().splitlines() == ["WARNING! The enclosed message contains executable attachments."]
    assert old.get_content_type() == "message/rfc822"
    assert MIXED in data


def test_an_enclosed_message_has_its_subject_and_the_date_of_now() -> None:
    (kept,) = played('require "enclose"; enclose "look";').actions
    made = parsed(final(kept))
    assert (made["Subject"], made["Date"]) == ("two files", "Mon, 05 Jan 2026 10:00:00 +0000")


def test_redirects_take_the_message_that_is_not_enclosed_with_what_was_replaced() -> None:
    first, second, kept = played(
        'require ["enclose", "replace", "editheader", "copy"]; redirect :copy "a@b.example"; replace "new";'
        ' addheader "X" "1"; enclose "around"; redirect :copy "c@d.example";'
    ).actions
    assert final(first) == MIXED
    made = parsed(final(second))
    assert (made["X"], made.get_content().split("\r\n")[0]) == ("1", "new")
    assert parsed(final(kept)).get_content_type() == "multipart/mixed"


def test_changes_have_a_limit() -> None:
    script = compile_script('require "replace";' + 'replace "x";' * 33)
    outcome = run(script, Context(Message.of_bytes(MIXED), NOW))
    assert "changed more than 32 times" in outcome.error
    assert outcome.actions == (Keep(implicit=True),)


def test_a_message_without_a_body_or_a_header_can_be_changed() -> None:
    for data in (b"", b"\r\nbody", b"Subject: x", b"Subject: x\r\n", b"Subject: x\r\n\r\n"):
        for source in ('require "enclose"; enclose "a";', 'require "replace"; replace "a";'):
            (kept,) = played(source, data).actions
            assert final(kept, data)
