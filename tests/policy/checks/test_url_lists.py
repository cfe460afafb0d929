"""Where links lead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.policy.checks.url_lists import UrlLists
from mailbox_app.policy.links import ascii_host, host_of, is_mixed
from mailbox_app.policy.verdict import Verdict
from tests.support.policy import Bench, facts_of, passing

LISTS = '[url_lists.lists."dbl.example.net"]\nanswers = {"127.0.1.2" = {meaning = "spam", score = 4.0}}\n'
ZONE = {("test.dbl.example.net", "A"): ["127.0.1.2"], ("bad.com.dbl.example.net", "A"): ["127.0.1.2"]}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, LISTS, ZONE)
    yield bench
    bench.close()


def run(bench: Bench, html: str, *, vouched: bool = False) -> list[tuple[float, Verdict]]:
    raw = b"From: a@example.com\nContent-Type: text/html; charset=utf-8\n\n" + html.encode()
    found = bench.run(UrlLists, facts_of(raw, auth=passing("example.com" if vouched else "")))
    return [(each.score, each.verdict) for each in found]


def test_a_listed_domain_costs_what_the_list_says(bench: Bench) -> None:
    assert run(bench, "<a href='https://www.bad.com/x'>here</a> http://bad.com/ fine") == [(4.0, Verdict.ACCEPT)]


def test_other_domains_cost_nothing_and_are_asked_once(bench: Bench) -> None:
    assert run(bench, "<a href='https://good.com/x'>a</a><a href='https://www.good.com/y'>b</a>") == []
    assert bench.resolver.asked.count(("good.com.dbl.example.net", "A")) == 1


@pytest.mark.parametrize("answer", ["127.255.255.254", "127.0.0.99", "203.0.113.1"])
def test_an_answer_nobody_documents_counts_nothing(bench: Bench, answer: str) -> None:
    bench.resolver.zone["bad.com.dbl.example.net", "A"] = [answer]
    assert run(bench, "http://bad.com/") == []


def test_a_list_that_lists_everything_is_not_believed(bench: Bench) -> None:
    bench.resolver.zone["invalid.dbl.example.net", "A"] = ["127.0.1.2"]
    assert run(bench, "http://bad.com/") == []


def test_a_denied_domain_is_junk_with_all_below_it(bench: Bench) -> None:
    bench.config = Bench.settings('[url_lists]\ndeny = ["evil.com"]\n')
    assert run(bench, "http://a.evil.com/") == [(3.0, Verdict.JUNK)]
    assert run(bench, "http://notevil.com/") == []


def test_an_allowed_domain_is_not_asked_about(bench: Bench) -> None:
    bench.config = Bench.settings('[url_lists]\nallow = ["bad.com"]\n' + LISTS)
    assert run(bench, "http://www.bad.com/") == []


def test_a_link_that_shows_another_address_costs_less_from_who_is_vouched_for(bench: Bench) -> None:
    html = '<a href="http://phish.net/login">https://www.bank.com/login</a>'
    assert run(bench, html) == [(2.5, Verdict.ACCEPT)]
    assert run(bench, html, vouched=True) == [(0.5, Verdict.ACCEPT)]


@pytest.mark.parametrize(
    "html",
    [
        '<a href="http://click.bank.com/">www.bank.com</a>',
        '<a href="http://phish.net/">Click here</a>',
        '<a href="mailto:a@phish.net">bank.com</a>',
        '<a href="http://phish.net/">version 1.2.3</a>',
    ],
)
def test_other_links_show_no_other_address(bench: Bench, html: str) -> None:
    assert run(bench, html) == []


def test_letters_of_two_scripts_in_one_name_are_junk(bench: Bench) -> None:
    assert run(bench, "<a href='http://p\u0430ypal.com/'>x</a>") == [(3.0, Verdict.JUNK)]
    assert not is_mixed(ascii_host("\u043f\u043e\u0447\u0442\u0430.com"))
    assert not is_mixed(ascii_host("b\u00fccher.com"))


def test_a_link_to_a_number_costs_one(bench: Bench) -> None:
    assert run(bench, "http://192.0.2.1/x") == [(1.0, Verdict.ACCEPT)]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("HTTP://Example.COM:80/x", "example.com"),
        ("https://bank.com@evil.com/", "evil.com"),
        ("http:\\\\evil.com\\x", "evil.com"),
        ("//evil.com/x", "evil.com"),
        ("www.evil.com", "www.evil.com"),
        ("mailto:a@b.com", ""),
        ("http://[::1", ""),
        ("http://b\u00fccher.com/", "xn--bcher-kva.com"),
        ("http://" + "a" * 300 + ".com/", ""),
    ],
)
def test_hosts(url: str, host: str) -> None:
    assert host_of(url) == host
