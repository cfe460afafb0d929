from __future__ import annotations

import io
import re

import dkim
import pytest
from cryptography.hazmat.primitives import serialization

from mailbox_app.accounts.dkim_keys import key_pair
from mailbox_app.db.offload import Offload
from mailbox_app.mailauth.checks import SenderChecks, is_private
from mailbox_app.mailauth.dkim_sign import DkimSigner, SigningKey
from mailbox_app.mailauth.results import AuthResults, Result
from mailbox_app.proto.header import Header, header_end
from tests.mailauth.zone import ZoneResolver

RSA_PEM, RSA_TXT = key_pair("rsa")
ED_PEM, ED_TXT = key_pair("ed25519")
KEYS = [SigningKey("example.net", "r1", "rsa", RSA_PEM), SigningKey("example.net", "e1", "ed25519", ED_PEM)]
NOW = 1_700_000_000
HEADER = b"From: Alice <alice@example.net>\r\nTo: bob@example.org\r\nSubject: Hello\r\n\r\n"
BODY = b"Hello  Bob \r\n\r\nBye\r\n\r\n"
ZONE = {
    ("example.net", "TXT"): ["v=spf1 ip4:192.0.2.0/24 include:_spf.example.com mx -all", "other=1"],
    ("_spf.example.com", "TXT"): ["v=spf1 a:out.example.com ~all"],
    ("out.example.com", "A"): ["198.51.100.7"],
    ("example.net", "MX"): ["10 mx.example.net."],
    ("mx.example.net", "A"): ["203.0.113.9"],
    ("r1._domainkey.example.net", "TXT"): [RSA_TXT],
    ("e1._domainkey.example.net", "TXT"): [ED_TXT],
    ("_dmarc.example.net", "TXT"): ["v=DMARC1; p=reject; sp=quarantine"],
}


@pytest.fixture
def offload():
    pool = Offload(2)
    yield pool
    pool.close()


async def run_check(
    offload: Offload,
    resolver: ZoneResolver,
    *,
    message: bytes = HEADER + BODY,
    remote_ip: str = "192.0.2.5",
    sender: str = "alice@example.net",
    helo: str = "mx.example.net",
    as_file: bool = False,
    private: bool = False,
    timeout_seconds: float = 5.0,
) -> AuthResults:
    checks = SenderChecks(resolver, offload, "mail.example.org", check_private_clients=private)
    split = header_end(message)
    body: bytes | io.BytesIO = message[split:]
    if as_file:
        body = io.BytesIO(message)
        body.seek(split)
    block = message[:split]
    return await checks.check(
        remote_ip=remote_ip,
        helo=helo,
        sender=sender,
        header=Header.parse(block),
        body=body,
        timeout_seconds=timeout_seconds,
    )


def sign(message: bytes = HEADER + BODY, keys=KEYS) -> bytes:
    split = header_end(message)
    return DkimSigner().sign(keys, message[:split], message[split:], NOW) + message


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("192.0.2.5", Result.PASS),
        ("198.51.100.7", Result.PASS),
        ("203.0.113.9", Result.PASS),
        ("203.0.113.10", Result.FAIL),
        ("2001:db8::1", Result.FAIL),
    ],
)
async def test_spf_follows_includes_addresses_and_exchanges(offload, ip, expected):
    found = await run_check(offload, ZoneResolver(ZONE), remote_ip=ip)
    assert found.spf.result is expected
    assert found.spf.domain == "example.net"


async def test_spf_of_the_null_sender_is_the_one_of_the_helo_name(offload):
    zone = ZONE | {("mx.example.net", "TXT"): ["v=spf1 a -all"]}
    found = await run_check(offload, ZoneResolver(zone), sender="", remote_ip="203.0.113.9")
    assert (found.spf.result, found.spf.identity, found.spf.domain) == (Result.PASS, "helo", "mx.example.net")
    assert b"smtp.helo=mx.example.net" in found.field


async def test_spf_is_a_temporary_error_when_dns_fails(offload):
    found = await run_check(offload, ZoneResolver(ZONE, broken=["_spf.example.com"]), remote_ip="203.0.113.9")
    assert found.spf.result is Result.TEMPERROR


async def test_spf_is_a_permanent_error_for_a_loop_of_includes(offload):
    zone = {("loop.example", "TXT"): ["v=spf1 include:loop.example -all"]}
    found = await run_check(offload, ZoneResolver(zone), sender="a@loop.example")
    assert found.spf.result is Result.PERMERROR


async def test_nothing_is_asked_for_an_unsigned_message_of_a_local_client(offload):
    resolver = ZoneResolver(ZONE)
    found = await run_check(offload, resolver, remote_ip="127.0.0.1")
    assert resolver.asked == []
    assert found.summary == "spf=none dkim=none dmarc=none"
    assert b"spf=none (local client)" in found.field


async def test_local_clients_are_checked_when_asked_for(offload):
    found = await run_check(offload, ZoneResolver(ZONE), remote_ip="127.0.0.1", private=True)
    assert found.spf.result is Result.FAIL


@pytest.mark.parametrize("as_file", [False, True])
async def test_rsa_and_ed25519_signatures_verify(offload, as_file):
    found = await run_check(offload, ZoneResolver(ZONE), message=sign(), as_file=as_file)
    assert [(item.result, item.selector) for item in found.dkim] == [(Result.PASS, "r1"), (Result.PASS, "e1")]
    assert found.dmarc.result is Result.PASS
    assert found.summary == "spf=pass dkim=pass dmarc=pass"


async def test_a_large_body_is_hashed_off_the_loop(offload):
    body = b"A line  with \t blanks \r\n" * 20_000
    found = await run_check(offload, ZoneResolver(ZONE), message=sign(HEADER + body), as_file=True)
    assert {item.result for item in found.dkim} == {Result.PASS}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"Bye", b"Bye!", "the body was changed"),
        (b"Subject: Hello", b"Subject: Hell", "the signature does not match"),
        (b"To: bob", b"From: eve@example.net\r\nTo: bob", "the signature does not match"),
        (b"To: bob", b"Reply-To: eve@example.net\r\nTo: bob", "the signature does not match"),
    ],
)
async def test_a_changed_message_fails(offload, old, new, reason):
    head, separator, rest = sign().rpartition(b"From: Alice")
    message = head + (separator + rest).replace(old, new)
    found = await run_check(offload, ZoneResolver(ZONE), message=message)
    assert {(item.result, item.reason) for item in found.dkim} == {(Result.FAIL, reason)}


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ([], Result.PERMERROR),
        ([RSA_TXT.split("p=")[0] + "p="], Result.PERMERROR),
        ([RSA_TXT.replace("k=rsa", "k=rsa; h=sha1")], Result.PERMERROR),
        ([RSA_TXT.replace("k=rsa", "k=rsa; s=web")], Result.PERMERROR),
        (["garbage", RSA_TXT], Result.PASS),
        ([RSA_TXT.replace("k=rsa", "k=rsa; t=y:s")], Result.PASS),
        (["v=DKIM1; p=!!!"], Result.PERMERROR),
        ([ED_TXT], Result.PERMERROR),
        ([key_pair("rsa")[1]], Result.FAIL),
    ],
)
async def test_the_key_record_decides(offload, record, result):
    zone = ZONE | {("r1._domainkey.example.net", "TXT"): record}
    found = await run_check(offload, ZoneResolver(zone), message=sign(keys=KEYS[:1]))
    assert [item.result for item in found.dkim] == [result]


async def test_a_key_that_cannot_be_fetched_is_a_temporary_error_for_its_signature_only(offload):
    resolver = ZoneResolver(ZONE, silent=["r1._domainkey.example.net"])
    found = await run_check(offload, resolver, message=sign(), timeout_seconds=0.05)
    assert [item.result for item in found.dkim] == [Result.TEMPERROR, Result.PASS]


async def test_no_check_outlives_the_deadline(offload):
    silent = ["example.net", "r1._domainkey.example.net", "e1._domainkey.example.net", "_dmarc.example.net"]
    found = await run_check(offload, ZoneResolver(ZONE, silent=silent), message=sign(), timeout_seconds=0.05)
    assert found.summary == "spf=temperror dkim=temperror dmarc=temperror"


async def test_at_most_ten_signatures_are_looked_at(offload):
    resolver = ZoneResolver(ZONE)
    signature = sign(keys=KEYS[:1])[: -len(HEADER + BODY)]
    found = await run_check(offload, resolver, message=signature * 12 + HEADER + BODY)
    assert len(found.dkim) == 10
    assert resolver.asked.count(("r1._domainkey.example.net", "TXT")) == 1


async def test_a_signature_of_a_part_of_the_body_proves_nothing(offload):
    field = dkim.sign(
        HEADER + BODY, b"r1", b"example.net", pkcs1_pem(), canonicalize=(b"relaxed", b"relaxed"), length=True
    )
    found = await run_check(
        offload, ZoneResolver(ZONE), message=field + HEADER + BODY + b"appended\r\n", remote_ip="203.0.113.10"
    )
    assert found.dkim[0].result is Result.POLICY
    assert found.dkim[0].body_limited
    assert b"only a part of the body is signed" in found.field
    assert found.dmarc.result is Result.FAIL


async def test_a_body_limit_that_covers_all_is_no_limit(offload):
    field = dkim.sign(
        HEADER + BODY, b"r1", b"example.net", pkcs1_pem(), canonicalize=(b"relaxed", b"relaxed"), length=True
    )
    found = await run_check(offload, ZoneResolver(ZONE), message=field + HEADER + BODY)
    assert found.dkim[0].result is Result.PASS
    assert b"signed with a body limit" in found.field


async def test_a_body_shorter_than_what_was_signed_fails(offload):
    field = dkim.sign(
        HEADER + BODY, b"r1", b"example.net", pkcs1_pem(), canonicalize=(b"relaxed", b"relaxed"), length=True
    )
    found = await run_check(offload, ZoneResolver(ZONE), message=field + HEADER + BODY[:5])
    assert (found.dkim[0].result, found.dkim[0].reason) == (Result.FAIL, "the body is shorter than what was signed")


def pkcs1_pem() -> bytes:
    key = serialization.load_pem_private_key(RSA_PEM, None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


@pytest.mark.parametrize("header_form", [b"simple", b"relaxed"])
@pytest.mark.parametrize("body_form", [b"simple", b"relaxed"])
@pytest.mark.parametrize("body", [b"", b"\r\n\r\n", BODY, b" a \t b\r\n \r\n", b"x" * 70_000 + b" \r\n"])
async def test_signatures_of_another_signer_verify_in_all_forms(offload, header_form, body_form, body):
    message = b"From:  Alice\r\n\t<alice@example.net>\r\nSubject: a \t b \r\n\r\n" + body
    field = dkim.sign(message, b"r1", b"example.net", pkcs1_pem(), canonicalize=(header_form, body_form))
    found = await run_check(offload, ZoneResolver(ZONE), message=field + message)
    assert [item.result for item in found.dkim] == [Result.PASS]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"v=1",
        b"v=1; a=rsa-sha256; d=x; s=y; h=from; bh=!; b=?",
        b"v=2; a=rsa-sha256; d=x; s=y; h=from; bh=YWI=; b=YWI=",
        b"v=1; a=rsa-sha1; d=example.net; s=r1; h=from; bh=YWI=; b=YWI=",
        b"v=1; a=rsa-sha256; d=example.net; s=r1; h=to; bh=YWI=; b=YWI=",
        b"v=1; a=rsa-sha256; c=a/b/c; d=example.net; s=r1; h=from; bh=YWI=; b=YWI=",
        b"v=1; a=rsa-sha256; d=\xff\xfe; s=\xff; h=from; bh=YWI=; b=YWI=",
        b"v=1; b=" + b" " * 5_000 + b"!",
        b"v=1; h=" + b"a:" * 9_000,
        b"v=1; a=rsa-sha256; d=example.net; s=r1; h=" + b"a:" * 300 + b"from; bh=YWI=; b=YWI=",
        b";;;=;;",
        b"\x00",
    ],
)
async def test_broken_signatures_are_results_and_never_errors(offload, value):
    message = b"DKIM-Signature: " + value + b"\r\n" + HEADER + BODY
    found = await run_check(offload, ZoneResolver(ZONE), message=message)
    assert len(found.dkim) == 1
    assert found.dkim[0].result in (Result.PERMERROR, Result.FAIL)


async def test_dmarc_fails_with_the_policy_when_nothing_is_aligned(offload):
    found = await run_check(offload, ZoneResolver(ZONE), remote_ip="203.0.113.10")
    assert (found.dmarc.result, found.dmarc.policy, found.dmarc.record_domain) == (Result.FAIL, "reject", "example.net")
    assert re.search(rb"dmarc=fail \(p=reject\)\s+header\.from=example\.net", found.field)


async def test_dmarc_of_a_subdomain_uses_the_organization_above(offload):
    message = HEADER.replace(b"alice@example.net", b"alice@news.example.net") + BODY
    found = await run_check(offload, ZoneResolver(ZONE), message=message, remote_ip="203.0.113.10")
    assert (found.dmarc.result, found.dmarc.policy) == (Result.FAIL, "quarantine")


@pytest.mark.parametrize(("mode", "result"), [("r", Result.PASS), ("s", Result.FAIL)])
async def test_alignment_is_relaxed_or_strict(offload, mode, result):
    zone = ZONE | {
        ("_dmarc.example.net", "TXT"): [f"v=DMARC1; p=none; aspf={mode}"],
        ("bounce.example.net", "TXT"): ["v=spf1 ip4:192.0.2.0/24 -all"],
    }
    found = await run_check(offload, ZoneResolver(zone), sender="x@bounce.example.net")
    assert found.spf.result is Result.PASS
    assert found.dmarc.result is result


async def test_names_below_a_public_suffix_are_different_organizations(offload):
    zone = {
        ("_dmarc.co.example", "TXT"): ["v=DMARC1; p=none; psd=y"],
        ("_dmarc.victim.co.example", "TXT"): ["v=DMARC1; p=reject"],
        ("evil.co.example", "TXT"): ["v=spf1 ip4:192.0.2.0/24 -all"],
    }
    message = HEADER.replace(b"example.net", b"victim.co.example") + BODY
    found = await run_check(offload, ZoneResolver(zone), message=message, sender="x@evil.co.example")
    assert found.spf.result is Result.PASS
    assert (found.dmarc.result, found.dmarc.policy) == (Result.FAIL, "reject")


async def test_a_name_of_very_many_labels_costs_eight_questions(offload):
    domain = ".".join(["a"] * 100)
    resolver = ZoneResolver({})
    message = b"From: x@" + domain.encode() + b"\r\n\r\n"
    found = await run_check(offload, resolver, message=message)
    assert found.dmarc.result is Result.NONE
    assert len([name for name, _ in resolver.asked if name.startswith("_dmarc.")]) == 8


@pytest.mark.parametrize(
    "header",
    [
        b"Subject: x\r\n\r\n",
        b"From: a@b.example\r\nFrom: c@d.example\r\n\r\n",
        b"From: nobody\r\n\r\n",
        b"From: a@[192.0.2.1]\r\n\r\n",
        b"From: a@b.c, d@e.f, g@h.i, j@k.l\r\n\r\n",
    ],
)
async def test_dmarc_needs_an_author_domain(offload, header):
    found = await run_check(offload, ZoneResolver(ZONE), message=header)
    assert found.dmarc.result is Result.PERMERROR


async def test_international_domains_are_asked_in_their_ascii_form(offload):
    zone = {("xn--bcher-kva.example", "TXT"): ["v=spf1 ip4:192.0.2.5 -all"]}
    found = await run_check(offload, ZoneResolver(zone), sender="a@bücher.example")
    assert found.spf.result is Result.PASS


@pytest.mark.parametrize("sender", ["@", "a@", "x@..", "a@" + "b" * 300, "\x00@\xff", "a b@c d", "%{i}@%{d}.example"])
async def test_odd_senders_never_raise(offload, sender):
    found = await run_check(offload, ZoneResolver(ZONE), sender=sender, helo="[192.0.2.5]")
    assert found.field.startswith(b"Authentication-Results: mail.example.org;")
    assert found.field.count(b"\r\n") == len(re.findall(rb"\r\n(?=\t)", found.field)) + 1


@pytest.mark.parametrize(
    ("ip", "private"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:10.1.2.3", True),
        ("192.168.1.1", True),
        ("fd00::1", True),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("not an address", False),
    ],
)
def test_private_clients(ip, private):
    assert is_private(ip) is private


async def test_who_sends_again_within_a_minute_is_asked_once_but_an_error_of_dns_is_not_kept(offload):
    resolver = ZoneResolver(ZONE)
    checks = SenderChecks(resolver, offload, "mail.example.org", check_private_clients=True)
    client = {"remote_ip": "192.0.2.5", "helo": "mx.example.net", "timeout_seconds": 5.0}
    first = await checks.spf(sender="alice@example.net", **client)
    asked = len(resolver.asked)
    assert await checks.spf(sender="alice@example.net", **client) is first
    assert len(resolver.asked) == asked
    assert (await checks.spf(sender="alice@example.net", **{**client, "remote_ip": "198.18.0.1"})).result is Result.FAIL
    resolver.broken = ("other.example",)
    assert (await checks.spf(sender="a@other.example", **client)).result is Result.TEMPERROR
    resolver.broken = ()
    assert (await checks.spf(sender="a@other.example", **client)).result is Result.NONE
