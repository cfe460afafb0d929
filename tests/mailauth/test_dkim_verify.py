"""Signatures and keys that are odd in one way each: what is policy, what fails, what is broken."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from mailbox_app.mailauth.canonical import BodyHash, CanonicalHeader, relaxed_field, without_signature
from mailbox_app.mailauth.dkim_sign import PrivateKey, sign_data
from mailbox_app.mailauth.dkim_verify import Signature, hash_body, read_signatures, verify
from mailbox_app.mailauth.key_records import find_key
from mailbox_app.mailauth.results import DkimResult, Result
from mailbox_app.mailauth.tag_list import TagListError, parse_tags
from mailbox_app.proto.header import Header
from tests.conformance.arc.building import KEY, WEAK, record, short_key

FIELDS = b"From: a@d.example\r\nSubject: hi\r\n"
BODY = b"text\r\n"
SHORT = short_key()


def signed(
    tags: Mapping[str, str | None] | None = None, *, key: PrivateKey = KEY, fields: bytes = FIELDS, fold: bytes = b""
) -> bytes:
    """The header of a message with one signature; tags may be changed or (None) taken away."""
    hashed = BodyHash(relaxed=True)
    hashed.update(BODY)
    given = {
        "v": "1", "a": "rsa-sha256", "c": "relaxed/relaxed", "d": "d.example", "s": "s", "h": "from:subject",
        "bh": base64.b64encode(hashed.digest()).decode(),
    }  # fmt: skip
    merged = {name: value for name, value in (given | dict(tags or {})).items() if value is not None}
    value = (" " + "; ".join(f"{name}={value}" for name, value in merged.items()) + "; b=").encode()
    names = merged.get("h", "").encode().lower().split(b":")
    data = CanonicalHeader(Header.parse(fields)).select([name.strip() for name in names], relaxed=True)
    signature = sign_data(key, data + relaxed_field(b"dkim-signature", value))
    if fold:
        signature = fold.join(signature[place : place + 40] for place in range(0, len(signature), 40))
    return b"DKIM-Signature:" + value + signature + b"\r\n" + fields


def judge(block: bytes, records: Sequence[str] = (record(),), body: bytes = BODY) -> DkimResult:
    header = Header.parse(block)
    (item,) = read_signatures(header)
    if isinstance(item, DkimResult):
        return item
    assert isinstance(item, Signature)
    return verify(item, CanonicalHeader(header), records, hash_body(body, [item.form]))


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"t": "12345"},
        {"x": "9999999999", "t": "12345"},
        {"i": "@sub.d.example"},
        {"i": "user@d.example"},
        {"q": "dns/txt"},
        {"q": "other : dns/txt"},
        {"h": "From : Subject"},
        {"h": "from:subject:from:cc"},
        {"zz": "unknown"},
        {"l": "6"},
        {"d": "D.Example"},
    ],
)
def test_good_signatures(tags: Mapping[str, str]) -> None:
    found = judge(signed(tags))
    assert (found.result, found.domain, found.key_bits, found.reason) == (Result.PASS, "d.example", 2048, "")


def test_folded_base64_is_read() -> None:
    assert judge(signed(fold=b"\r\n\t ")).result is Result.PASS


@pytest.mark.parametrize(
    ("tags", "result", "reason"),
    [
        ({"v": None}, Result.PERMERROR, "v="),
        ({"v": "2"}, Result.PERMERROR, "v="),
        ({"a": "rsa-sha1"}, Result.PERMERROR, "not secure"),
        ({"a": "x-sha256"}, Result.PERMERROR, "algorithm"),
        ({"a": "ed25519-sha256"}, Result.PERMERROR, "of another kind"),
        ({"c": "relaxed/x"}, Result.PERMERROR, "cannot be read"),
        ({"d": None}, Result.PERMERROR, "no domain"),
        ({"d": ""}, Result.PERMERROR, "no domain"),
        ({"s": None}, Result.PERMERROR, "no domain"),
        ({"h": None}, Result.PERMERROR, "h="),
        ({"h": "subject"}, Result.PERMERROR, "From"),
        ({"h": ""}, Result.PERMERROR, "From"),
        ({"bh": None}, Result.PERMERROR, "bh="),
        ({"bh": "YWJj"}, Result.FAIL, "changed"),
        ({"i": "@other.example"}, Result.PERMERROR, "i="),
        ({"i": "@notd.example"}, Result.PERMERROR, "i="),
        ({"q": "http"}, Result.PERMERROR, "q="),
        ({"l": "x"}, Result.PERMERROR, "l="),
        ({"l": "7"}, Result.FAIL, "shorter"),
        ({"t": "x"}, Result.PERMERROR, "t="),
        ({"t": "9999999999"}, Result.FAIL, "future"),
        ({"x": "12346"}, Result.FAIL, "expired"),
        ({"x": "9999999990", "t": "x"}, Result.PERMERROR, "t="),
    ],
)
def test_bad_signatures(tags: Mapping[str, str | None], result: Result, reason: str) -> None:
    found = judge(signed(tags))
    assert found.result is result
    assert reason in found.reason


@pytest.mark.parametrize(("key", "result", "bits"), [(SHORT, Result.POLICY, 768), (WEAK, Result.PASS, 1024)])
def test_short_keys_are_policy_from_below_1024_bits(key: rsa.RSAPrivateKey, result: Result, bits: int) -> None:
    found = judge(signed(key=key), [record(key)])
    assert (found.result, found.key_bits) == (result, bits)


def test_a_part_of_the_body_is_policy() -> None:
    hashed = BodyHash(relaxed=True)
    hashed.update(b"te")
    hashed = BodyHash(relaxed=True, limits=[2])
    hashed.update(BODY)
    part = base64.b64encode(hashed.digests()[2]).decode()
    found = judge(signed({"l": "2", "bh": part}))
    assert (found.result, found.body_limited) == (Result.POLICY, True)


@pytest.mark.parametrize(
    ("records", "result", "testing"),
    [
        ([record() + "; t=y"], Result.PASS, True),
        ([record() + ";t = x : y ;"], Result.PASS, True),
        ([record() + "; s=email : x"], Result.PASS, False),
        ([record() + "; s=*"], Result.PASS, False),
        ([record() + "; h=sha1:sha256"], Result.PASS, False),
        ([record() + "; n=a note; zz=1"], Result.PASS, False),
        ([record().replace("v=DKIM1; ", "")], Result.PASS, False),
        ([record().replace("k=rsa; ", "")], Result.PASS, False),
        (["no record", record()], Result.PASS, False),
        ([record(WEAK), record()], Result.FAIL, False),
        ([record() + "; h=sha1"], Result.PERMERROR, False),
        ([record() + "; s=tlsrpt"], Result.PERMERROR, False),
        ([record() + "; p=x"], Result.PERMERROR, False),
        (["k=rsa; " + record()], Result.PERMERROR, False),
        (["v=DKIM1; k=rsa; p="], Result.PERMERROR, False),
        (["v=DKIM1; k=rsa"], Result.PERMERROR, False),
        (["v=DKIM1; k=rsa; p=%%%"], Result.PERMERROR, False),
        (["v=dkim1; " + record().partition("; ")[2]], Result.PERMERROR, False),
        ([], Result.PERMERROR, False),
    ],
)
def test_key_records(records: Sequence[str], result: Result, testing: bool) -> None:
    found = judge(signed(), records)
    assert (found.result, found.testing) == (result, testing)


def test_a_key_for_the_exact_domain_is_not_for_subdomains() -> None:
    strict = [record() + "; t=s"]
    assert judge(signed({"i": "@sub.d.example"}), strict).result is Result.PERMERROR
    assert judge(signed({"i": "x@D.example"}), strict).result is Result.PASS
    assert judge(signed(), strict).result is Result.PASS


def test_a_second_from_breaks_a_signature_of_one() -> None:
    assert judge(signed() + b"From: eve@x.example\r\n").result is Result.FAIL


@pytest.mark.parametrize("exponent_bits", [65])
def test_keys_that_only_cost_time_are_refused(exponent_bits: int) -> None:
    from cryptography.hazmat.primitives import serialization

    public = rsa.RSAPublicNumbers((1 << exponent_bits) + 1, KEY.public_key().public_numbers().n).public_key()
    raw = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert find_key(["p=" + base64.b64encode(raw).decode()], b"rsa-sha256") == (None, "the key is too large")


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        (b"a=1; b=2", {b"a": b"1", b"b": b"2"}),
        (b" a = 1 ;\r\n\tb\t=\r\n 2 3 ; ", {b"a": b"1", b"b": b"2 3"}),
        (b"a=", {b"a": b""}),
        (b"a=b=c=;", {b"a": b"b=c="}),
        (b"A=1; a=2", {b"A": b"1", b"a": b"2"}),
    ],
)
def test_tag_lists(text: bytes, tags: Mapping[bytes, bytes]) -> None:
    assert parse_tags(text) == tags


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b";",
        b"a",
        b"=1",
        b"1a=2",
        b"a b=1",
        b"a=1; a=2",
        b"a=1;;b=2",
        b"a=\x00",
        b"a=1\nb",
        b"a=1\rb",
        b"_=1",
    ],
)
def test_broken_tag_lists(text: bytes) -> None:
    with pytest.raises(TagListError):
        parse_tags(text)


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b" a=1; b=abc", b" a=1; b="),
        (b" b=abc=; bh=xyz", b" b=; bh=xyz"),
        (b" a=1;\r\n\tb = a\r\n b;\r\n c=1", b" a=1;\r\n\tb =;\r\n c=1"),
        (b" ab=1; xb=2", b" ab=1; xb=2"),
    ],
)
def test_the_signature_itself_is_not_signed(value: bytes, left: bytes) -> None:
    assert without_signature(value) == left
