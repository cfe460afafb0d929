"""DMARC by the examples and rules of RFC 9989 and RFC 7489: discovery, alignment, treatment."""

from __future__ import annotations

import pytest

from mailbox_app.errors import ResolveError
from mailbox_app.mailauth.dmarc import Dmarc, author_domain
from mailbox_app.mailauth.dmarc_record import parse_record
from mailbox_app.mailauth.organizations import Organizations, listed_organization
from mailbox_app.mailauth.results import (
    ArcResult,
    ArcSet,
    DkimResult,
    DmarcRecord,
    DmarcResult,
    Override,
    OverrideKind,
    Result,
    SpfResult,
)
from mailbox_app.proto.header import Header
from tests.mailauth.zone import ZoneResolver

NO_SPF = SpfResult(Result.NONE)


def zone_of(records: dict[str, str]) -> dict[tuple[str, str], list[str]]:
    return {(f"_dmarc.{name}", "TXT"): [text] for name, text in records.items()}


async def evaluate(
    records: dict[str, str],
    author: str = "a@example.com",
    *,
    spf: str = "",
    dkim: str = "",
    lot: float = 0.0,
    arc: ArcResult | None = None,
    trusted: tuple[str, ...] = (),
    more: dict[tuple[str, str], list[str]] | None = None,
    broken: tuple[str, ...] = (),
    header: bytes = b"",
) -> DmarcResult:
    resolver = ZoneResolver(zone_of(records) | (more or {}), broken=broken)
    checker = Dmarc(resolver, lot=lot, trusted_sealers=trusted)
    message = Header.parse(header or b"From: " + author.encode() + b"\r\n\r\n")
    spf_result = SpfResult(Result.PASS, spf) if spf else NO_SPF
    signatures = [DkimResult(Result.PASS, dkim)] if dkim else []
    return await checker.evaluate(message, spf_result, signatures, arc)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v=DMARC1; p=reject", DmarcRecord("d", "reject")),
        ("v=DMARC1;p=Reject;", DmarcRecord("d", "reject")),
        ("v = DMARC1 ; p = none", DmarcRecord("d", "none")),
        ("V = DMARC1 ; P = reject ;\tSP=none; Pct = 0", DmarcRecord("d", "reject", "none", percent=0)),
        ("v=DMARC1; p=none; sp=quarantine; np=reject", DmarcRecord("d", "none", "quarantine", "reject")),
        ("v=DMARC1; p=none; adkim=s; aspf=s", DmarcRecord("d", strict_dkim=True, strict_spf=True)),
        ("v=DMARC1; p=none; adkim=x; aspf=r", DmarcRecord("d")),
        ("v=DMARC1; p=none; pct=5; t=y; psd=n", DmarcRecord("d", percent=5, testing=True, public_suffix="n")),
        ("v=DMARC1; p=none; pct=500", DmarcRecord("d")),
        ("v=DMARC1; p=none; pct=x; psd=maybe; t=n", DmarcRecord("d")),
        ("v=DMARC1; p=none; fo=1:d:x:1", DmarcRecord("d", failure_options=("1", "d"))),
        (
            "v=DMARC1; p=none; rua=mailto:A@b.example, https://r.example/x ,nonsense; ruf=mailto:f@b.example!10m",
            DmarcRecord(
                "d",
                aggregate_reports=("mailto:A@b.example", "https://r.example/x"),
                failure_reports=("mailto:f@b.example!10m",),
            ),
        ),
        # wrong policies: nothing is asked for, unless reports are wanted
        ("v=DMARC1; p=refuse", DmarcRecord("d", "")),
        ("v=DMARC1", DmarcRecord("d", "")),
        ("v=DMARC1; p=reject; sp=x", DmarcRecord("d", "")),
        (
            "v=DMARC1; p=refuse; rua=mailto:a@b.example",
            DmarcRecord("d", "none", aggregate_reports=("mailto:a@b.example",)),
        ),
        ("v=DMARC1; rua=mailto:a@b.example", DmarcRecord("d", "none", aggregate_reports=("mailto:a@b.example",))),
        # unknown tags and rubbish in between do not matter; the first of two counts
        ("v=DMARC1; x; =; p=reject; p=none; zz=1", DmarcRecord("d", "reject")),
        ("v=DMARC2; p=reject", None),
        ("v=dmarc1; p=reject", None),
        ("p=reject; v=DMARC1", None),
        ("", None),
        ("v=spf1 -all", None),
        ("v=DMARC1; p=reject" + " " * 5_000, None),
    ],
)
def test_records(text: str, expected: DmarcRecord | None) -> None:
    assert parse_record("d", text) == expected


@pytest.mark.parametrize(
    ("header", "domain"),
    [
        (b"From: a@Example.COM\r\n", "example.com"),
        (b'From: "x@evil.example" <a@example.com>\r\n', "example.com"),
        (b"From: a@example.com, b@EXAMPLE.com\r\n", "example.com"),
        (b"From: team: a@example.com, b@example.com;\r\n", "example.com"),
        (b"From: a@b\xc3\xbccher.example\r\n", "xn--bcher-kva.example"),
        (b"From: a@stra\xc3\x9fe.example\r\n", "xn--strae-oqa.example"),
        (b"From: a@\xff.example\r\n", None),
        (b"From: a@example.com, b@example.org\r\n", None),
        (b"From: a@example.com\r\nFrom: a@example.com\r\n", None),
        (b"From:\r\n", None),
        (b"From: <>\r\n", None),
        (b"Sender: a@example.com\r\n", None),
    ],
)
def test_authors(header: bytes, domain: str | None) -> None:
    assert author_domain(Header.parse(header + b"\r\n")) == domain


@pytest.mark.parametrize(
    ("spf", "dkim", "tags", "result"),
    [
        ("example.com", "", "", Result.PASS),
        ("", "example.com", "", Result.PASS),
        ("bounce.example.com", "", "", Result.PASS),
        ("", "news.example.com", "", Result.PASS),
        ("bounce.example.com", "", "; aspf=s", Result.FAIL),
        ("bounce.example.com", "", "; adkim=s", Result.PASS),
        ("", "news.example.com", "; adkim=s", Result.FAIL),
        ("EXAMPLE.com", "", "; aspf=s", Result.PASS),
        ("example.org", "example.net", "", Result.FAIL),
        ("badexample.com", "", "", Result.FAIL),
        ("com", "", "", Result.FAIL),
        ("", "com", "", Result.FAIL),
        ("", "", "", Result.FAIL),
    ],
)
async def test_alignment(spf: str, dkim: str, tags: str, result: Result) -> None:
    found = await evaluate({"example.com": "v=DMARC1; p=reject" + tags}, spf=spf, dkim=dkim)
    assert found.result is result
    assert found.disposition == ("reject" if result is Result.FAIL else "none")
    assert (found.spf_aligned, found.dkim_aligned) == (
        (bool(spf), bool(dkim)) if result is Result.PASS else (False, False)
    )


@pytest.mark.parametrize(
    ("records", "name", "organization"),
    [
        # RFC 9989 4.10.2: psd=n, psd=y, the shortest name
        (
            {"a.mail.example.com": "", "mail.example.com": "; psd=n", "example.com": ""},
            "a.mail.example.com",
            "mail.example.com",
        ),
        ({"giant.bank.example": "", "bank.example": "; psd=y"}, "mail.giant.bank.example", "giant.bank.example"),
        ({"bank.example": "; psd=y"}, "mail.giant.bank.example", "giant.bank.example"),
        ({"a.b.example.com": "", "example.com": ""}, "a.b.example.com", "example.com"),
        # no record at all, or one at a suffix that does not say so: the list decides
        ({}, "a.b.example.com", "example.com"),
        ({}, "a.b.example.co.uk", "example.co.uk"),
        ({"co.uk": ""}, "a.b.example.co.uk", "example.co.uk"),
        ({"uk": ""}, "victim.co.uk", "victim.co.uk"),
        ({}, "co.uk", "co.uk"),
    ],
)
async def test_organizations(records: dict[str, str], name: str, organization: str) -> None:
    resolver = ZoneResolver(zone_of({domain: "v=DMARC1; p=none" + tags for domain, tags in records.items()}))
    assert (await Organizations(resolver).find(name))[0] == organization


async def test_two_customers_of_one_suffix_are_not_one_organization() -> None:
    found = await evaluate(
        {"victim.co.uk": "v=DMARC1; p=reject", "uk": "v=DMARC1; p=none"}, "a@victim.co.uk", spf="evil.co.uk"
    )
    assert found.result is Result.FAIL


async def test_an_organization_with_records_only_below_is_one() -> None:
    found = await evaluate({"mail.example.com": "v=DMARC1; p=reject"}, "a@mail.example.com", dkim="example.com")
    assert found.result is Result.PASS


async def test_psd_n_parts_what_the_list_joins() -> None:
    records = {"shop.example.com": "v=DMARC1; p=reject; psd=n", "example.com": "v=DMARC1; p=none"}
    assert (await evaluate(records, "a@shop.example.com", dkim="example.com")).result is Result.FAIL


@pytest.mark.parametrize(
    ("author", "policy", "at"),
    [
        ("a@example.com", "reject", "example.com"),
        ("a@sub.example.com", "quarantine", "example.com"),
        ("a@gone.example.com", "none", "example.com"),
        ("a@own.example.com", "none", "own.example.com"),
    ],
)
async def test_policies_of_domain_subdomain_and_missing_name(author: str, policy: str, at: str) -> None:
    records = {"example.com": "v=DMARC1; p=reject; sp=quarantine; np=none", "own.example.com": "v=DMARC1; p=none"}
    found = await evaluate(records, author, more={("sub.example.com", "A"): ["192.0.2.1"]})
    assert (found.policy, found.record_domain, found.disposition) == (policy, at, policy)


async def test_the_policy_of_a_public_suffix_is_the_last_resort() -> None:
    found = await evaluate({"bank.example": "v=DMARC1; p=reject; sp=quarantine; psd=y"}, "a@new.bank.example")
    assert (found.result, found.policy, found.record_domain) == (
        Result.FAIL,
        "quarantine",
        "bank.example",
    )


async def test_several_records_are_none() -> None:
    more = {("_dmarc.example.com", "TXT"): ["v=DMARC1; p=reject", "v=DMARC1; p=none"]}
    assert (await evaluate({}, more=more)).result is Result.NONE


async def test_a_record_without_policy_asks_for_nothing() -> None:
    found = await evaluate({"example.com": "v=DMARC1; p=refuse"})
    assert (found.result, found.disposition) == (Result.NONE, "none")


@pytest.mark.parametrize(
    ("lot", "disposition", "sampled"),
    [(0.0, "reject", False), (0.29, "reject", False), (0.3, "quarantine", True), (0.99, "quarantine", True)],
)
async def test_a_part_of_the_messages_is_spared(lot: float, disposition: str, sampled: bool) -> None:
    found = await evaluate({"example.com": "v=DMARC1; p=reject; pct=30"}, lot=lot)
    assert found.disposition == disposition
    assert found.overrides == ((Override(OverrideKind.SAMPLED_OUT, "pct=30"),) if sampled else ())


@pytest.mark.parametrize(
    ("policy", "disposition"), [("reject", "quarantine"), ("quarantine", "none"), ("none", "none")]
)
async def test_test_mode_is_one_step_milder(policy: str, disposition: str) -> None:
    found = await evaluate({"example.com": f"v=DMARC1; p={policy}; t=y"})
    assert (found.policy, found.disposition, found.testing) == (policy, disposition, True)


def chain(*sets: tuple[str, str], result: Result = Result.PASS) -> ArcResult:
    links = tuple(ArcSet(number, domain, "s", results) for number, (domain, results) in enumerate(sets, 1))
    return ArcResult(result, links, instance=len(links))


SEEN = "l.example; spf=pass; dmarc=pass (p=reject) header.from=example.com; arc=none"


@pytest.mark.parametrize(
    ("arc", "trusted", "believed"),
    [
        (chain(("l.example", SEEN)), ("l.example",), True),
        (chain(("eu.l.example", SEEN)), ("L.example.",), True),
        (chain(("evill.example", SEEN)), ("l.example", ""), False),
        (chain(("l.example", SEEN)), (), False),
        (chain(("l.example", SEEN)), ("other.example",), False),
        (chain(("l.example", SEEN), result=Result.FAIL), ("l.example",), False),
        (chain(("l.example", SEEN.replace("example.com", "evil.example"))), ("l.example",), False),
        (chain(("l.example", SEEN.replace("=pass", "=fail"))), ("l.example",), False),
        (chain(("l.example", "l.example; spf=fail (dmarc=pass header.from=example.com)")), ("l.example",), False),
        (
            chain(("l.example", "l.example; spf=fail (x; (y) ; dmarc=pass header.from=example.com)")),
            ("l.example",),
            False,
        ),
        (
            chain(
                ("l.example", 'l.example; spf=fail smtp.mailfrom="; dmarc=pass header.from=example.com"@evil.example')
            ),
            ("l.example",),
            False,
        ),
        (chain(("l.example", SEEN), ("m.example", "m.example; arc=pass")), ("l.example", "m.example"), True),
        (chain(("l.example", SEEN), ("m.example", "m.example; arc=pass")), ("l.example",), False),
        (chain(("evil.example", SEEN), ("l.example", "l.example; dmarc=fail")), ("l.example",), False),
    ],
)
async def test_trusted_sealers_are_believed(arc: ArcResult, trusted: tuple[str, ...], believed: bool) -> None:
    found = await evaluate({"example.com": "v=DMARC1; p=reject"}, arc=arc, trusted=trusted)
    assert found.result is Result.FAIL
    assert found.disposition == ("none" if believed else "reject")
    assert [each.kind for each in found.overrides] == ([OverrideKind.TRUSTED_FORWARDER] if believed else [])


async def test_a_harmless_author_beside_a_protected_one_gains_nothing() -> None:
    found = await evaluate({"example.com": "v=DMARC1; p=reject"}, "a@evil.example, b@example.com", spf="evil.example")
    assert (found.result, found.domain, found.disposition) == (Result.FAIL, "example.com", "reject")


async def test_mailing_lists_are_noted() -> None:
    found = await evaluate({}, header=b"From: a@example.com\r\nList-Id: <l.example>\r\n\r\n")
    assert found.mailing_list


async def test_a_failed_look_up_is_a_temporary_error_of_the_whole() -> None:
    with pytest.raises(ResolveError):
        await evaluate({}, broken=("_dmarc.example.com",))


async def test_a_check_that_could_not_be_made_is_not_a_failure() -> None:
    checker = Dmarc(ZoneResolver(zone_of({"example.com": "v=DMARC1; p=reject"})))
    header = Header.parse(b"From: a@example.com\r\n\r\n")
    found = await checker.evaluate(header, SpfResult(Result.TEMPERROR), [])
    assert (found.result, found.disposition) == (Result.TEMPERROR, "none")


@pytest.mark.parametrize(
    ("spf", "dkim", "result"),
    [
        (SpfResult(Result.TEMPERROR, "example.com"), [], Result.TEMPERROR),
        (SpfResult(Result.TEMPERROR, "mail.example.com"), [], Result.TEMPERROR),
        (NO_SPF, [DkimResult(Result.TEMPERROR, "example.com")], Result.TEMPERROR),
        # who sends in another's name must not get away with name servers of his own that are down
        (SpfResult(Result.TEMPERROR, "evil.example"), [], Result.FAIL),
        (SpfResult(Result.TEMPERROR, "evil.com"), [DkimResult(Result.TEMPERROR, "down.com")], Result.FAIL),
        (SpfResult(Result.PASS, "down.com"), [DkimResult(Result.PASS, "down.net")], Result.FAIL),
        (SpfResult(Result.PASS, "down.example.com"), [], None),
    ],
)
async def test_only_what_could_have_passed_for_the_author_counts_as_not_looked_at(
    spf: SpfResult, dkim: list[DkimResult], result: Result | None
) -> None:
    down = ("_dmarc.down.com", "_dmarc.down.net", "_dmarc.down.example.com")
    checker = Dmarc(ZoneResolver(zone_of({"example.com": "v=DMARC1; p=reject"}), broken=down))
    header = Header.parse(b"From: a@example.com\r\n\r\n")
    if result is None:
        with pytest.raises(ResolveError):
            await checker.evaluate(header, spf, dkim)
        return
    assert (await checker.evaluate(header, spf, dkim)).result is result


async def test_a_policy_check_can_record_its_own_decision() -> None:
    found = (await evaluate({"example.com": "v=DMARC1; p=reject"})).overridden(
        OverrideKind.LOCAL_POLICY, "quarantine", "mild"
    )
    assert (found.policy, found.disposition) == ("reject", "quarantine")
    assert found.overrides == (Override(OverrideKind.LOCAL_POLICY, "mild"),)


@pytest.mark.parametrize(
    ("name", "organization"),
    [("a.b.example.com", "example.com"), ("co.uk", None), ("a.co.uk", "a.co.uk"), ("x.github.io", "x.github.io")],
)
def test_the_list_of_public_suffixes(name: str, organization: str | None) -> None:
    assert listed_organization(name) == organization
