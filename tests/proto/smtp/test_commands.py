from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.smtp.commands import (
    MailCommand,
    RcptCommand,
    decode_xtext,
    encode_xtext,
    parse_mail,
    parse_parameters,
    parse_rcpt,
    split_command,
)
from mailbox_app.proto.smtp.replies import Refusal


@pytest.mark.parametrize(
    ("argument", "command"),
    [
        (b"FROM:<a@b.example>", MailCommand("a@b.example")),
        (b"from: <a@b.example> size=100 body=8bitmime", MailCommand("a@b.example", 100, "8BITMIME")),
        (b"FROM:<>", MailCommand("")),
        (b"FROM:<@x.example,@y.example:a@b.example>", MailCommand("a@b.example")),
        (b"FROM:<a@b.example> RET=hdrs ENVID=Q+2B1", MailCommand("a@b.example", ret="HDRS", envid="Q+2B1")),
        (b"FROM:<a@b.example> requiretls", MailCommand("a@b.example", require_tls=True)),
        (b"FROM:<a@b.example> AUTH=<>", MailCommand("a@b.example")),
        (b"FROM:<a@b.example> AUTH=e+3Dmc2@example.com", MailCommand("a@b.example")),
        ("FROM:<jörg@bücher.example> SMTPUTF8".encode(), MailCommand("jörg@bücher.example", smtputf8=True)),
    ],
)
def test_mail(argument: bytes, command: MailCommand) -> None:
    assert parse_mail(argument) == command


@pytest.mark.parametrize(
    ("argument", "code", "enhanced"),
    [
        (b"", 501, "5.5.2"),
        (b"<a@b.example>", 501, "5.5.2"),
        (b"FROM:a@b.example", 501, "5.1.7"),
        (b"FROM:<a@b.example", 501, "5.1.7"),
        (b"FROM:<a b@b.example>", 501, "5.1.7"),
        (b"FROM:<a@b.example>SIZE=1", 501, "5.1.7"),
        (b"FROM:<a@b.example> SIZE=1x", 501, "5.5.4"),
        (b"FROM:<a@b.example> SIZE=1 SIZE=1", 501, "5.5.4"),
        (b"FROM:<a@b.example> =1", 501, "5.5.4"),
        (b"FROM:<a@b.example> BODY=BINARYMIME", 501, "5.5.4"),
        (b"FROM:<a@b.example> SMTPUTF8=1", 501, "5.5.4"),
        (b"FROM:<a@b.example> REQUIRETLS=yes", 501, "5.5.4"),
        (b"FROM:<a@b.example> RET=ALL", 501, "5.5.4"),
        (b"FROM:<a@b.example> ENVID=a+zz", 501, "5.5.4"),
        (b"FROM:<a@b.example> ENVID=" + b"x" * 101, 501, "5.5.4"),
        (b"FROM:<a@b.example> NOTIFY=NEVER", 555, "5.5.4"),
        ("FROM:<jörg@b.example>".encode(), 553, "5.6.7"),
        (b"FROM:<j\xf6rg@b.example> SMTPUTF8", 501, "5.5.2"),
    ],
)
def test_mail_refusals(argument: bytes, code: int, enhanced: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_mail(argument)
    assert refused.value.reply[:2] == (code, enhanced)


@pytest.mark.parametrize(
    ("argument", "command"),
    [
        (b"TO:<a@b.example>", RcptCommand("a@b.example")),
        (b"TO:<Postmaster>", RcptCommand("Postmaster")),
        (b"to:<a@b.example> NOTIFY=success,Failure", RcptCommand("a@b.example", "SUCCESS,FAILURE")),
        (b"TO:<a@b.example> NOTIFY=NEVER", RcptCommand("a@b.example", "NEVER")),
        (b"TO:<a@b.example> ORCPT=rfc822;x+2By@z", RcptCommand("a@b.example", "", "rfc822;x+2By@z")),
        (b'TO:<"a b"@b.example>', RcptCommand('"a b"@b.example')),
    ],
)
def test_rcpt(argument: bytes, command: RcptCommand) -> None:
    assert parse_rcpt(argument, smtputf8=False) == command


@pytest.mark.parametrize(
    ("argument", "code", "enhanced"),
    [
        (b"TO:<>", 501, "5.1.3"),
        (b"TO:<nobody>", 501, "5.1.3"),
        (b"TO:<a@b.example> NOTIFY=NEVER,SUCCESS", 501, "5.5.4"),
        (b"TO:<a@b.example> NOTIFY=SUCCESS,SUCCESS", 501, "5.5.4"),
        (b"TO:<a@b.example> NOTIFY=", 501, "5.5.4"),
        (b"TO:<a@b.example> ORCPT=rfc822", 501, "5.5.4"),
        (b"TO:<a@b.example> ORCPT=rfc822;a=b", 501, "5.5.4"),
        (b"TO:<a@b.example> SIZE=1", 555, "5.5.4"),
        ("TO:<jörg@b.example>".encode(), 553, "5.6.7"),
    ],
)
def test_rcpt_refusals(argument: bytes, code: int, enhanced: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_rcpt(argument, smtputf8=False)
    assert refused.value.reply[:2] == (code, enhanced)


def test_utf8_addresses_are_for_smtputf8_transactions() -> None:
    assert parse_rcpt("TO:<jörg@b.example>".encode(), smtputf8=True).address == "jörg@b.example"


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_parsed_or_refused(argument: bytes, smtputf8: bool) -> None:
    for prefix in (b"", b"FROM:", b"FROM:<a@b.example> "):
        with suppress(Refusal):
            parse_mail(prefix + argument)
    with suppress(Refusal):
        parse_rcpt(b"TO:<a@b.example> " + argument, smtputf8=smtputf8)


@given(st.text(st.characters(codec="utf-8")))
def test_xtext_round_trip(text: str) -> None:
    encoded = encode_xtext(text)
    assert encoded.isascii()
    assert decode_xtext(encoded) == text


def test_parameters_have_upper_case_keywords_and_values_as_received() -> None:
    assert parse_parameters("size=1 Smtputf8 ENVID=aB") == {"SIZE": "1", "SMTPUTF8": "", "ENVID": "aB"}


def test_a_command_line_is_split_at_its_first_space() -> None:
    assert split_command(b"mail FROM:<a@b> SIZE=1 ") == (b"MAIL", b"FROM:<a@b> SIZE=1")
    assert split_command(b"quit") == (b"QUIT", b"")
