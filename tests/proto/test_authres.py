from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.authres import Method, compose_authres, forged_authres, parse_authres
from mailbox_app.proto.header import Header


def test_nothing_checked_is_none():
    assert compose_authres("mail.example.org", []) == b"Authentication-Results: mail.example.org; none\r\n"


def test_methods_properties_and_comments():
    methods = [
        Method("spf", "pass", [("smtp.mailfrom", "alice@example.net")]),
        Method("dkim", "fail", [("header.d", "example.net"), ("header.s", "s1")], comment="the body was changed"),
        Method("dmarc", "none", reason="no record"),
    ]
    assert compose_authres("mail.example.org", methods) == (
        b"Authentication-Results: mail.example.org;\r\n"
        b"\tspf=pass smtp.mailfrom=alice@example.net;\r\n"
        b"\tdkim=fail (the body was changed) header.d=example.net header.s=s1;\r\n"
        b'\tdmarc=none reason="no record"\r\n'
    )


@given(value=st.text(max_size=400), comment=st.text(max_size=300))
def test_values_of_strangers_add_neither_a_result_nor_a_field(value, comment):
    field = compose_authres("mx", [Method("spf", "fail", [("smtp.mailfrom", value)], comment=comment, reason=value)])
    assert field.isascii()
    unfolded = re.sub(rb"\r\n\t", b" ", field)
    assert unfolded.count(b"\r\n") == 1
    assert unfolded.endswith(b"\r\n")
    without_quotes = re.sub(rb'"(?:[^"\\]|\\.)*"|\((?:[^()\\])*\)', b"", unfolded)
    assert without_quotes.count(b"spf=") == 1
    assert without_quotes.count(b";") == 1


@pytest.mark.parametrize(
    ("value", "forged"),
    [
        (b"mail.example.org; spf=pass", True),
        (b" MAIL.Example.ORG ; none", True),
        (b"(comment) mail.example.org 1; spf=pass", True),
        (b'"mail.example.org"; spf=pass', True),
        (b"\r\n\tmail.example.org;\r\n\tspf=pass", True),
        (b"mail.example.org.; spf=pass", True),
        (b"mail.example.org", True),
        (b"mx.example.net; spf=pass", False),
        (b"sub.mail.example.org; spf=pass", False),
        (b"", False),
    ],
)
def test_fields_that_claim_to_be_ours_are_found(value, forged):
    block = b"Received: x\r\nAuthentication-Results:" + value + b"\r\nSubject: y\r\n\r\n"
    found = forged_authres(Header.parse(block), "mail.example.org")
    assert bool(found) is forged
    for field in found:
        assert block[: field.start] + block[field.end :] == b"Received: x\r\nSubject: y\r\n\r\n"


@pytest.mark.parametrize(
    ("value", "service", "methods"),
    [
        (b"mx.example; none", "mx.example", []),
        (
            b"MX.Example. 1; spf=pass smtp.mailfrom=a@b.example",
            "mx.example",
            [Method("spf", "pass", [("smtp.mailfrom", "a@b.example")])],
        ),
        (
            b' "mx.example" ;\r\n\tdkim = PASS (good) header.d=x header . b="a/b" ; auth/1=fail reason="no \\"x\\""',
            "mx.example",
            [Method("dkim", "pass", [("header.d", "x"), ("header.b", "a/b")]), Method("auth", "fail", reason='no "x"')],
        ),
        (
            b"mx; spf=fail (x; dmarc=pass (y) header.from=z); arc=none",
            "mx",
            [Method("spf", "fail"), Method("arc", "none")],
        ),
        (
            b'mx; spf=fail smtp.mailfrom="a; dmarc=pass header.from=z"@evil.example; dmarc=fail',
            "mx",
            [
                Method("spf", "fail", [("smtp.mailfrom", '"a; dmarc=pass header.from=z"@evil.example')]),
                Method("dmarc", "fail"),
            ],
        ),
        (b'mx; spf=fail smtp.mailfrom="a; dmarc=pass header.from=z', "mx", [Method("spf", "fail")]),
        (b"", "", []),
        (b"mx; ; =; x; header.d=y", "mx", []),
    ],
)
def test_fields_of_others_are_read(value, service, methods):
    found, read = parse_authres(value)
    assert found == service
    assert [(each.name, each.result, list(each.properties), each.reason) for each in read] == [
        (each.name, each.result, list(each.properties), each.reason) for each in methods
    ]


@given(value=st.text(max_size=300), comment=st.text(max_size=200))
def test_what_is_written_is_read_back_and_nothing_more(value, comment):
    field = compose_authres(
        "mx", [Method("spf", "fail", [("smtp.mailfrom", value)], comment=comment), Method("arc", "none")]
    )
    _, methods = parse_authres(field.partition(b":")[2])
    assert [(method.name, method.result) for method in methods] == [("spf", "fail"), ("arc", "none")]
