"""Under which names a sender is known, and that strangers cannot choose them."""

from __future__ import annotations

import pytest

from mailbox_app.mailauth.report import report
from mailbox_app.mailauth.results import ArcResult, DmarcResult, Result, SpfResult
from mailbox_app.policy.identity import author_of, of_stored
from mailbox_app.proto.header import Header

HOST = "mail.example.org"
FROM = b"From: Boss <boss@bank.example>\r\n"


def stored(field: bytes) -> Header:
    return Header.parse(field + FROM + b"\r\n")


def results(sender: str, spf: Result = Result.PASS) -> bytes:
    """Our own field about a message with this envelope sender, which nothing but SPF of the sender's domain vouches for."""
    found = SpfResult(spf, sender.rpartition("@")[2], "mailfrom", sender)
    return report(
        HOST, "192.0.2.1", found, (), DmarcResult(Result.FAIL, "bank.example"), ArcResult(Result.NONE), None
    ).field


def test_our_own_results_are_read() -> None:
    field = (
        b"Authentication-Results: mail.example.org; spf=pass smtp.mailfrom=x@news.bank.example;\r\n"
        b"\tdkim=pass header.d=Signer.example\r\n"
    )
    found = of_stored(stored(field), HOST)
    assert found.aligned
    assert "address:boss@bank.example" in found.senders
    assert found.dkim_domains == ("signer.example",)
    assert of_stored(stored(b"Authentication-Results: mail.example.org; dmarc=pass\r\n"), HOST).aligned


@pytest.mark.parametrize(
    "sender",
    [
        "dmarc=pass@evil.example",
        '"dmarc=pass"@evil.example',
        '"; dmarc=pass header.from=bank.example"@evil.example',
        '"dkim=pass header.d=bank.example"@evil.example',
        '"x spf=pass smtp.mailfrom=a@bank.example"@evil.example',
    ],
)
def test_a_sender_that_is_written_like_a_result_is_none(sender: str) -> None:
    for spf in (Result.PASS, Result.FAIL):
        found = of_stored(stored(results(sender, spf)), HOST)
        assert not found.aligned
        assert found.dkim_domains == ()


@pytest.mark.parametrize(
    "name",
    [
        b'""mail.example.org""',
        b'"mail.example.org',
        b"\xc2\xa0mail.example.org",
        "mail.example.or\u0261".encode(),
        b"x mail.example.org",
        b"(mail.example.org)",
    ],
)
def test_a_field_that_only_looks_like_ours_is_not(name: bytes) -> None:
    found = of_stored(stored(b"Authentication-Results: " + name + b"; dmarc=pass\r\n"), HOST)
    assert not found.aligned


def test_a_from_field_of_endless_length_names_nobody() -> None:
    header = Header.parse(b"From: " + b'"\\' * 100_000 + b" <boss@bank.example>\r\n\r\n")
    assert author_of(header) == ("", "")


def test_a_name_in_letters_that_fold_to_ours_is_not_ours() -> None:
    header = stored("Authentication-Results: mail.\u212aids.example; dmarc=pass\r\n".encode())
    assert not of_stored(header, "mail.kids.example").aligned
