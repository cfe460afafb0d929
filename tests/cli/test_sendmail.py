"""What programs write to `sendmail` and how it is understood."""

from __future__ import annotations

import contextlib
import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.cli.sendmail_message import Author, prepare
from mailbox_app.cli.sendmail_options import Options, parse
from mailbox_app.errors import MailboxError

AUTHOR = Author("www-data", "shop@example.org", "The Shop", {"box.example.net", "box"})


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["-t", "-i"], Options(from_header=True, dot_ends=False)),
        (["-ti"], Options(from_header=True, dot_ends=False)),
        (["-oi", "a@b.example"], Options(dot_ends=False, recipients=["a@b.example"])),
        (["-oem", "-oi", "-f", "x@b.example", "--", "-odd@b.example"],
         Options(dot_ends=False, sender="x@b.example", recipients=["-odd@b.example"])),
        (["-tif<x@b.example>"], Options(from_header=True, dot_ends=False, sender="x@b.example")),
        (["-f", "<>", "a"], Options(sender="", recipients=["a"])),
        (["-r", "x@b.example", "a"], Options(sender="x@b.example", recipients=["a"])),
        (["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"],
         Options(dot_ends=False, full_name="CronDaemon", recipients=["root"])),
        (["-Nsuccess,delay", "-Rhdrs", "-V", "id=1", "a"],
         Options(notify="SUCCESS,DELAY", ret="HDRS", envid="id=1", recipients=["a"])),
        (["-bs"], Options(mode="s")), (["-bp"], Options(mode="p")), (["-bi"], Options(mode="i")),
        (["-bm", "a"], Options(recipients=["a"])),
        (["-q30m", "-v", "-U", "-G", "-n", "-d8.1", "-h", "5", "-X", "/dev/null", "-C", "/x", "a"],
         Options(recipients=["a"])),
    ],
)  # fmt: skip
def test_arguments(arguments: list[str], wanted: Options) -> None:
    assert parse(arguments) == wanted


@pytest.mark.parametrize("arguments", [["-f"], ["-t", "-F"], ["-N", "often"], ["-N", "never,delay"], ["-R", "all"]])
def test_arguments_that_make_no_sense(arguments: list[str]) -> None:
    with pytest.raises(MailboxError):
        parse(arguments)


def test_the_name_it_was_called_by() -> None:
    assert (parse([], "mailq").mode, parse([], "newaliases").mode) == ("p", "i")


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_arguments_are_understood_or_refused(arguments: list[str]) -> None:
    with contextlib.suppress(MailboxError):
        assert parse(arguments).mode in "mspi"


@pytest.mark.parametrize(
    ("given_from", "wanted"),
    [
        (b"", b'From: "The Shop" <shop@example.org>\r\n'),
        (b"From: root\n", b"From: <shop@example.org>\r\n"),
        (b"From: root (Cron Daemon)\n", b'From: "Cron Daemon" <shop@example.org>\r\n'),
        (b'From: "A \\"B\\"" <www-data@box.example.net>\n', b'From: "A B" <shop@example.org>\r\n'),
        (b"From: x@localhost\n", b"From: <shop@example.org>\r\n"),
        (b"From: Ann <ann@example.org>\n", b"From: Ann <ann@example.org>\r\n"),
        (b"From: other@box.example.net\n", b"From: other@box.example.net\r\n"),
    ],
)
def test_the_author_is_somebody_whom_strangers_can_answer(given_from: bytes, wanted: bytes) -> None:
    made = prepare(b"Subject: x\n" + given_from + b"\nhi\n", Options(recipients=["a@b.example"]), AUTHOR)
    assert made.content == b"Subject: x\r\n" + wanted + b"\r\nhi\r\n"
    assert made.sender == "shop@example.org"


def test_a_sender_field_that_nobody_can_answer_is_left_out() -> None:
    made = prepare(b"From: ann@example.org\nSender: www-data\n\n", Options(recipients=["a@b.example"]), AUTHOR)
    assert b"Sender" not in made.content


@pytest.mark.parametrize(
    ("sender", "wanted"),
    [
        ("", ""), ("www-data", "shop@example.org"), ("www-data@box", "shop@example.org"), ("x@localhost", "shop@example.org"),
        ("ann@example.org", "ann@example.org"),
    ],
)  # fmt: skip
def test_the_envelope_sender(sender: str, wanted: str) -> None:
    assert prepare(b"\nhi\n", Options(sender=sender, recipients=["a@b.example"]), AUTHOR).sender == wanted


def test_recipients_of_the_header_are_qualified_and_named_once() -> None:
    text = b'To: root, Ann <ann@example.org>,\n\t"A, B" <b@far.example>\nCc: ann@example.org\nBcc: c@far.example\n\n'
    made = prepare(text, Options(from_header=True, recipients=["d@far.example"]), AUTHOR)
    assert made.recipients == [
        "d@far.example", "root@example.org", "ann@example.org", "b@far.example", "c@far.example"
    ]  # fmt: skip


def test_a_message_that_is_sent_again_goes_to_the_new_recipients() -> None:
    text = b"Resent-To: new@b.example\nTo: old@b.example\n\n"
    assert prepare(text, Options(from_header=True), AUTHOR).recipients == ["new@b.example"]


def test_nobody_is_an_error() -> None:
    with pytest.raises(MailboxError, match="no recipient"):
        prepare(b"Subject: x\n\n", Options(from_header=True), AUTHOR)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"just text\nmore\n", b"\r\njust text\r\nmore\r\n"),
        (b"From joe Mon Jan  5 10:00:00 2026\nSubject: x\n\nhi", b"Subject: x\r\n|\r\nhi\r\n"),
        (b"Subject: x\nnot a field\n", b"Subject: x\r\n|\r\nnot a field\r\n"),
        (b"Subject: x\r\n y\r\n\r\nhi\r\n", b"Subject: x\r\n y\r\n|\r\nhi\r\n"),
        (b"", b"\r\n"),
    ],
)
def test_header_and_body(text: bytes, wanted: bytes) -> None:
    author = b'From: "The Shop" <shop@example.org>\r\n'
    made = prepare(text, Options(recipients=["a@b.example"]), AUTHOR).content
    assert made == (wanted.replace(b"|", author) if b"|" in wanted else author + wanted)


@given(st.binary(max_size=300))
def test_any_input_becomes_one_message_by_one_author(content: bytes) -> None:
    made = prepare(content, Options(recipients=["a@b.example"]), AUTHOR).content
    assert b"\n" not in made.replace(b"\r\n", b"")
    parsed = email.message_from_bytes(made, policy=email.policy.compat32)
    assert parsed["From"]
