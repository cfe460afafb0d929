"""The rules of RFC 8617 5.2, one broken at a time, and messages of the public suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from mailbox_app.db.offload import Offload
from mailbox_app.mailauth.checks import SenderChecks
from mailbox_app.mailauth.results import ArcResult, Result
from mailbox_app.proto.header import Header, header_end
from tests.conformance.arc.building import BODY, HEADER, WEAK, Set, build, record, short_key
from tests.mailauth.zone import ZoneResolver

NAME = ("s._domainkey.l.example", "TXT")
ZONE = {NAME: [record()]}
PUBLIC = {
    ("dummy._domainkey.example.org", "TXT"): [
        (
            "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQ\n"
            "oBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzC\n"
            "Nb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvH\n"
            "O9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
        )
    ]
}


async def judge(message: bytes, zone: Mapping[tuple[str, str], Sequence[str]] = ZONE) -> ArcResult:
    offload = Offload(1)
    try:
        checks = SenderChecks(ZoneResolver(zone), offload, "mx.example", check_private_clients=True)
        split = header_end(message)
        found = await checks.check(
            remote_ip="192.0.2.1",
            helo="l.example",
            sender="",
            header=Header.parse(message[:split]),
            body=message[split:],
            timeout_seconds=5,
        )
        return found.arc
    finally:
        offload.close()


@pytest.mark.parametrize(
    ("name", "instance", "oldest"),
    [("public_pass_i1", 1, 0), ("public_pass_i2", 2, 0), ("public_pass_i2_changed_after_i1", 2, 2)],
)
async def test_messages_of_the_public_suite(name: str, instance: int, oldest: int) -> None:
    message = Path(__file__).with_name(f"{name}.eml").read_bytes().replace(b"\n", b"\r\n")
    found = await judge(message, PUBLIC)
    assert (found.result, found.instance, found.oldest_pass, found.reason) == (Result.PASS, instance, oldest, "")
    assert [each.domain for each in found.sets] == ["example.org"] * instance
    assert (await judge(message.replace(b"test message", b"text"), PUBLIC)).result is Result.FAIL


async def test_no_chain() -> None:
    assert (await judge(HEADER + b"\r\n" + BODY)).result is Result.NONE


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
async def test_chains_pass(count: int) -> None:
    found = await judge(build([Set()] * count))
    assert (found.result, found.instance, found.oldest_pass, found.reason) == (Result.PASS, count, 0, "")


async def test_more_than_fifty_sets_fail() -> None:
    assert (await judge(build([Set()] * 51))).result is Result.FAIL


def swapped(fields: list[bytes]) -> list[bytes]:
    return fields[::-1]


def folded(fields: list[bytes]) -> list[bytes]:
    return [field.replace(b"; ", b";\r\n \t ").replace(b":", b" : ", 1).replace(b"ARC", b"arc") for field in fields]


GOOD = {
    "fields in another order": [Set(after=swapped)] * 2,
    "folded otherwise": [Set(after=folded), Set()],
    "unknown tags": [Set(seal={"x1_y": "z"}, message={"z": "1"})],
    "a version in the message signature": [Set(message={"v": "7"})],
    "several query methods": [Set(message={"q": "dns/txt:other"})],
    "no time": [Set(seal={"t": None}, message={"t": None})],
    "white space around colons and in base64": [Set(message={"h": "from : to: subject :mime-version"})],
    "names in capitals": [Set(message={"h": "FROM:To:Subject"})],
    "a field that is not there": [Set(message={"h": "from:cc:subject"})],
    "an unreadable older message signature": [Set(message={"a": "rsa-sha1"}), Set()],
    "an older message signature that expired": [Set(message={"x": "12346"}), Set()],
    "a short key that is long enough": [Set(key=WEAK)],
    "no canonical form": [Set(message={"c": None})],
    **{
        f"the form {form}": [Set(message={"c": form}), Set(message={"c": form})]
        for form in ("simple/simple", "simple/relaxed", "relaxed/simple", "simple")
    },
    "results with comments and spaces": [Set(results="i (x) = (y) 1 (z) ; l.example; none")],
}


@pytest.mark.parametrize("name", GOOD)
async def test_good_chains(name: str) -> None:
    zone = {NAME: [record(WEAK)]} if GOOD[name][0].key is WEAK else ZONE
    found = await judge(build(GOOD[name]), zone)
    assert (found.result, found.reason) == (Result.PASS, "")


def without(place: int):
    return Set(after=lambda fields: fields[:place] + fields[place + 1 :])


def twice(place: int):
    return Set(after=lambda fields: [*fields, fields[place]])


def changed(place: int, old: bytes, new: bytes):
    return Set(
        after=lambda fields: [each.replace(old, new, 1) if n == place else each for n, each in enumerate(fields)]
    )


BAD = {
    **{f"set 1 without field {place}": [without(place), Set()] for place in range(3)},
    **{f"set 2 without field {place}": [Set(), without(place)] for place in range(3)},
    **{f"set 1 with field {place} twice": [twice(place), Set()] for place in range(3)},
    **{f"set 2 with field {place} twice": [Set(), twice(place)] for place in range(3)},
    "a gap": [Set(), Set(after=lambda fields: []), Set()],
    "a start at two": [Set(after=lambda fields: []), Set()],
    **{f"seal 1 says {cv}": [Set(seal={"cv": cv})] for cv in ("pass", "fail", "None", "NONE", "", "invalid", None)},
    **{f"seal 2 says {cv}": [Set(), Set(seal={"cv": cv})] for cv in ("none", "fail", "Pass", "", "x", None)},
    **{f"seal 1 of 2 says {cv}": [Set(seal={"cv": cv}), Set()] for cv in ("pass", "fail")},
    **{f"seal i={i}": [Set(seal={"i": i})] for i in ("0", "", "x", "-1", "1.0", "51", "100", "2", None)},
    **{f"message i={i}": [Set(message={"i": i})] for i in ("0", "", "x", "51", "2", None)},
    **{
        f"results {text}": [Set(results=text)]
        for text in ("l.example; none", "i=; l.example", "i=2; l.example", "l.example; i=1; none", "i=1 l.example", "i=0;x")
    },
    **{f"seal a={a}": [Set(seal={"a": a})] for a in ("rsa-sha1", "", "x", "RSA-SHA256", "rsa-sha256-x", None)},
    **{f"message a={a}": [Set(message={"a": a})] for a in ("rsa-sha1", "", "x", None)},
    **{f"seal d={d}": [Set(seal={"d": d})] for d in ("", "a b", "other.example", "@l.example", "l..example", None)},
    **{f"message d={d}": [Set(message={"d": d})] for d in ("", "a b", "other.example", None)},
    **{f"seal s={s}": [Set(seal={"s": s})] for s in ("", "other", None)},
    **{f"message s={s}": [Set(message={"s": s})] for s in ("", "other", None)},
    **{f"seal t={t}": [Set(seal={"t": t})] for t in ("", "x", "-1", "9999999999")},
    **{f"message t={t}": [Set(message={"t": t})] for t in ("x", "9999999999")},
    **{f"seal b={b}": [Set(seal={"b": b})] for b in ("", "!", "AAAA", "YWJj=YWI", None)},
    **{f"message b={b}": [Set(message={"b": b})] for b in ("", "!", "AAAA", None)},
    **{f"message bh={bh}": [Set(message={"bh": bh})] for bh in ("", "!", "AAAA", None)},
    **{
        f"message c={c}": [Set(message={"c": c})]
        for c in ("", "x", "relaxed/x", "Relaxed/Relaxed", "relaxed/relaxed/relaxed")
    },
    **{f"message h={h}": [Set(message={"h": h})] for h in ("", "to:subject", "from:arc-seal", "from:ARC-Seal:to", None)},
    "seal with h=": [Set(seal={"h": "from"})],
    "message q=": [Set(message={"q": "http"})],
    "message that expired": [Set(message={"x": "12346"})],
    "message signed in part": [Set(message={"l": "5"})],
    "a tag twice": [changed(0, b"cv=none", b"cv=none; cv=none")],
    "a tag twice in the message signature": [changed(1, b"s=s", b"s=s; s=s")],
    "a tag without equals": [changed(0, b"cv=none", b"cv=none; x")],
    "a tag name that is none": [changed(0, b"cv=none", b"_=1; cv=none")],
    "an empty tag": [changed(0, b"cv=none", b"cv=none;; x=1")],
    "tag names in capitals": [changed(0, b"cv=none", b"CV=none")],
    "no semicolon": [changed(0, b"; cv=none", b" cv=none")],
    "a control character": [changed(0, b"cv=none", b"cv=none; x=a\x01")],
    "changed results": [changed(2, b"spf=pass", b"spf=fail")],
    "changed older results": [changed(2, b"spf=pass", b"spf=fail"), Set()],
    "a changed seal": [changed(0, b"t=12345", b"t=12346"), Set()],
    "a changed message signature": [changed(1, b"t=12345", b"t=12346")],
    "an empty seal": [Set(after=lambda fields: [b"ARC-Seal: ", *fields[1:]])],
    "a very long seal": [Set(seal={"x": "y" * 9_000})],
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_bad_chains(name: str) -> None:
    found = await judge(build(BAD[name]))
    assert found.result is Result.FAIL, name
    assert found.reason


@pytest.mark.parametrize(
    ("old", "new"), [(b"Hello  all", b"Hullo all"), (b"Subject: Hello", b"Subject: Bye"), (b"Ann ", b"Eve ")]
)
async def test_a_changed_message_fails(old: bytes, new: bytes) -> None:
    assert (await judge(build([Set()] * 2).replace(old, new))).result is Result.FAIL


async def test_the_oldest_pass_is_where_the_message_was_changed_last() -> None:
    # the sets 1 and 2 were made for another body: the seals do not look at it
    other = Set(message={"bh": "AAAA"})
    found = await judge(build([other, other, Set(), Set()]))
    assert (found.result, found.oldest_pass) == (Result.PASS, 3)
    assert [each.message_valid for each in found.sets] == [None, False, True, True]


async def test_a_chain_that_ended_is_told() -> None:
    found = await judge(build([Set(), Set(seal={"cv": "fail"})]))
    assert (found.result, found.ended, found.instance) == (Result.FAIL, True, 2)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [""],
        ["v=DKIM1; p="],
        ["v=DKIM2; " + record().partition("; ")[2]],
        ["p=AAAA"],
        [record().replace("k=rsa", "k=ed25519")],
        [record().replace("k=rsa", "k=rsa; h=sha1")],
        [record().replace("k=rsa", "k=rsa; s=web")],
        [record(WEAK)],
    ],
)
async def test_the_key_must_fit(records: list[str]) -> None:
    assert (await judge(build([Set()]), {NAME: records})).result is Result.FAIL


async def test_a_key_under_1024_bits_proves_nothing() -> None:
    short = short_key()
    found = await judge(build([Set(key=short)]), {NAME: [record(short)]})
    assert (found.result, found.reason) == (Result.FAIL, "message signature 1: the key is too short")


async def test_a_key_that_cannot_be_fetched_leaves_the_chain_unjudged() -> None:
    offload = Offload(1)
    message = build([Set()])
    split = header_end(message)
    checks = SenderChecks(ZoneResolver(ZONE, broken=[NAME[0]]), offload, "mx.example", check_private_clients=True)
    found = await checks.check(
        remote_ip="192.0.2.1",
        helo="l.example",
        sender="",
        header=Header.parse(message[:split]),
        body=message[split:],
        timeout_seconds=5,
    )
    offload.close()
    assert found.arc.result is Result.TEMPERROR
    assert b"arc=temperror" in found.field
