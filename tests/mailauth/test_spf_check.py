from __future__ import annotations

import pytest

from mailbox_app.mailauth.results import Result
from mailbox_app.mailauth.spf_check import check_spf
from tests.mailauth.zone import ZoneResolver

IP = "192.0.2.1"
PLAIN = {("a.example", "A"): [IP], ("ptr.example", "A"): [IP], ("1.2.0.192.in-addr.arpa", "PTR"): ["ptr.example."]}


async def evaluate(record: str | list[str], *, remote_ip: str = IP, more=None, sender: str = "user@d.example"):
    records = [record] if isinstance(record, str) else record
    zone = ZoneResolver(PLAIN | {("d.example", "TXT"): records} | (more or {}))
    found = await check_spf(zone, remote_ip=remote_ip, helo="helo.example", sender=sender, receiver="mail.example.org")
    return found.result, zone.asked


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ([], Result.NONE),
        ("v=spf10 -all", Result.NONE),
        ("v=spf1", Result.NEUTRAL),
        ("v=spf1 -all", Result.FAIL),
        ("v=spf1 ~all", Result.SOFTFAIL),
        ("v=spf1 ?all", Result.NEUTRAL),
        ("v=spf1 +all", Result.PASS),
        ("V=SPF1 A:A.EXAMPLE -ALL", Result.PASS),
        ("v=spf1 a:a.example/24 -all", Result.PASS),
        ("v=spf1 ptr:ptr.example -all", Result.PASS),
        ("v=spf1 exists:%{ir}.%{l}.example -all", Result.FAIL),
        ("v=spf1 a:a.example.%{tld} -all", Result.PERMERROR),
        ("v=spf1 ip4:192.0.2.0/33 -all", Result.PERMERROR),
        ("v=spf1 unknown:x -all", Result.PERMERROR),
        ("v=spf1 redirect=other.example", Result.PERMERROR),
        ("v=spf1 include:other.example -all", Result.PERMERROR),
        (["v=spf1 +all", "v=spf1 -all"], Result.PERMERROR),
        ("v=spf1 " + "ip4:198.51.100.1 " * 300 + "+all", Result.NONE),
    ],
)
async def test_records(record, result):
    assert (await evaluate(record))[0] is result


async def test_a_redirect_takes_the_result_of_the_other_record():
    more = {("other.example", "TXT"): ["v=spf1 a:a.example -all"]}
    assert (await evaluate("v=spf1 redirect=other.example", more=more))[0] is Result.PASS


async def test_macros_are_expanded():
    more = {("1.2.0.192.user.d.example", "A"): ["127.0.0.2"]}
    assert (await evaluate("v=spf1 exists:%{ir}.%{l}.%{d} -all", more=more))[0] is Result.PASS


async def test_an_explanation_is_not_fetched():
    _, asked = await evaluate("v=spf1 -all exp=why.example")
    assert ("why.example", "TXT") not in asked


async def test_more_than_ten_terms_with_look_ups_are_an_error():
    record = "v=spf1 " + " ".join(f"a:n{n}.example" for n in range(11)) + " +all"
    more = {(f"n{n}.example", "A"): ["198.51.100.1"] for n in range(11)}
    assert (await evaluate(record, more=more))[0] is Result.PERMERROR


async def test_more_than_two_look_ups_without_answer_are_an_error():
    result, asked = await evaluate("v=spf1 a:x.example a:y.example a:z.example a:w.example +all")
    assert result is Result.PERMERROR
    assert len(asked) == 4


async def test_each_question_is_asked_once():
    _, asked = await evaluate("v=spf1 a:a.example/32 mx a:a.example ptr -all", remote_ip="198.51.100.9")
    assert len(asked) == len(set(asked))


async def test_a_mapped_address_is_its_ipv4_address():
    assert (await evaluate("v=spf1 ip4:192.0.2.1 -all", remote_ip="::ffff:192.0.2.1"))[0] is Result.PASS


async def test_text_records_that_are_no_ascii_do_not_disturb():
    assert (await evaluate(["caf\xe9", "v=spf1 +all"]))[0] is Result.PASS


@pytest.mark.parametrize("domain", ["ü" * 80 + ".example", "ü..example", "\u3002.example"])
async def test_a_malformed_international_domain_has_no_policy(domain: str):
    result, asked = await evaluate("v=spf1 +all", sender=f"user@{domain}")
    assert (result, asked) == (Result.NONE, [])


async def test_a_record_that_leads_to_endless_addresses_costs_little():
    """Ten hosts of a hundred addresses each are more than anyone sends from; comparing all of them took seconds."""
    more = {("m.example", "MX"): [f"10 h{host}.example." for host in range(10)]}
    more |= {(f"h{host}.example", "A"): [f"198.51.{host}.{last}" for last in range(250)] for host in range(10)}
    result, asked = await evaluate("v=spf1 mx:m.example mx:m2.example -all", more=more)
    assert result is Result.PERMERROR
    assert len(asked) < 10
    more |= {(f"h{host}.example", "A"): [f"198.51.{host}.{last}" for last in range(20)] for host in range(10)}
    assert (await evaluate("v=spf1 mx:m.example -all", more=more))[0] is Result.FAIL
