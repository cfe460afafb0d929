"""The signed messages of RFC 6376 A.2 and RFC 8463 A.3, and the canonical forms of RFC 6376 3.4.5."""

from __future__ import annotations

import hashlib

import pytest

from mailbox_app.mailauth.canonical import BodyHash, CanonicalHeader
from mailbox_app.mailauth.dkim_verify import Signature, hash_body, read_signatures, verify
from mailbox_app.mailauth.results import DkimResult, Result
from mailbox_app.proto.header import Header

MESSAGE = b"""From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>
"""
BODY = b"""Hi.

We lost the game.  Are you hungry yet?

Joe.
"""
ED25519 = b"""DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
"""
RSA = b"""DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
"""
OLD = b"""DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHutKVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
"""
KEYS = {
    "brisbane._domainkey.football.example.com": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "test._domainkey.football.example.com": (
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J1"
        "6JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT"
        "+l/K4w3QIDAQAB"
    ),
    "brisbane._domainkey.example.com": (
        "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4j"
        "YfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
    ),
}


def check(message: bytes, body: bytes) -> list[DkimResult]:
    header = Header.parse(message.replace(b"\n", b"\r\n"))
    body = body.replace(b"\n", b"\r\n")
    results = []
    for item in read_signatures(header):
        assert isinstance(item, Signature), item
        found = verify(item, CanonicalHeader(header), [KEYS[item.key_name]], hash_body(body, [item.form]))
        results.append(found)
    return results


def test_rfc_8463_both_signatures() -> None:
    found = check(ED25519 + RSA + MESSAGE, BODY)
    assert [(each.result, each.algorithm) for each in found] == [
        (Result.PASS, "ed25519-sha256"),
        (Result.PASS, "rsa-sha256"),
    ]
    assert [each.key_bits for each in found] == [0, 1024]


def test_rfc_6376_signed_message() -> None:
    (found,) = check(OLD + MESSAGE, BODY.replace(b"  ", b" "))
    assert (found.result, found.identity) == (Result.PASS, "joe@football.example.com")


@pytest.mark.parametrize(("old", "new"), [(b"hungry", b"angry"), (b"dinner", b"lunch"), (b"Suzie", b"Susie")])
def test_changed_vectors_fail(old: bytes, new: bytes) -> None:
    for fields in (ED25519 + RSA, OLD):
        found = check(fields + MESSAGE.replace(old, new), BODY.replace(old, new))
        assert {each.result for each in found} == {Result.FAIL}


EXAMPLE = Header.parse(b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n")


def test_canonical_header_forms() -> None:
    header = CanonicalHeader(EXAMPLE)
    assert header.select([b"a", b"b"], relaxed=True) == b"a:X\r\nb:Y Z\r\n"
    assert header.select([b"a"], relaxed=False) == b"A: X\r\n"


@pytest.mark.parametrize(("relaxed", "canonical"), [(True, b" C\r\nD E\r\n"), (False, b" C \r\nD \t E\r\n")])
def test_canonical_body_forms(relaxed: bool, canonical: bytes) -> None:
    hashed = BodyHash(relaxed=relaxed)
    hashed.update(b" C \r\nD \t E\r\n\r\n\r\n")
    assert hashed.digest() == hashlib.sha256(canonical).digest()


@pytest.mark.parametrize(
    ("relaxed", "expected"),
    [
        (False, "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
        (True, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ],
)
def test_the_hash_of_an_empty_body(relaxed: bool, expected: str) -> None:
    """RFC 6376 3.4.3, 3.4.4 name both."""
    import base64

    assert base64.b64encode(BodyHash(relaxed=relaxed).digest()).decode() == expected


def test_limits_are_hashed_in_one_pass() -> None:
    body = b"a  b \r\n\r\nc\r\n\r\n"
    whole = b"a b\r\n\r\nc\r\n"
    hashed = BodyHash(relaxed=True, limits=[0, 3, len(whole), 99])
    for place in range(len(body)):
        hashed.update(body[place : place + 1])
    assert hashed.digests() == {
        0: hashlib.sha256(b"").digest(),
        3: hashlib.sha256(b"a b").digest(),
        len(whole): hashlib.sha256(whole).digest(),
        None: hashlib.sha256(whole).digest(),
    }
    assert hashed.size_bytes == len(whole)
