from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.config.routes import Route as RouteSection
from mailbox_app.config.routes import Routes, parse_rule
from mailbox_app.config.schema import Delivery
from mailbox_app.mailqueue.model import Fate
from mailbox_app.outbound.next_hop import MailHost, Unroutable
from mailbox_app.outbound.routes.choosing import Route, RouteTable, Source, grouped

VIA = {
    name: RouteSection(hosts=[f"{name}.example"])
    for name in ("address", "domain", "above", "from-address", "from-domain", "from-above", "rest")
}
RULES = [
    "to:Bob@there.example -> address", "to:@there.example -> domain", "to:@.example -> above",
    "from:alice@here.test -> from-address", "from:@here.test -> from-domain", "from:@.here.test -> from-above",
    "* -> rest",
]  # fmt: skip


def table(rules: list[str], smarthost: str = "", **delivery: object) -> RouteTable:
    return RouteTable(Delivery(smarthost=smarthost, **delivery), Routes(rules=rules, via=VIA))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sender", "recipient", "route"),
    [
        ("alice@here.test", "bob@THERE.example", "address"),
        ("alice@here.test", "carol@there.example", "domain"),
        ("alice@here.test", "x@other.example", "above"),
        ("alice@here.test", "x@deep.down.example", "above"),
        ("Alice@here.test", "x@example", "from-address"),
        ("bob@here.test", "x@else.test", "from-domain"),
        ("bob@a.here.test", "x@else.test", "from-above"),
        ("bob@else.test", "x@else.test", "rest"),
        ("", "x@else.test", "rest"),
    ],
)
def test_the_most_telling_rule_wins(sender: str, recipient: str, route: str) -> None:
    assert table(RULES).choose(sender, recipient).route.name == route
    assert table(RULES[::-1]).choose(sender, recipient).route.name == route, "their order in the file does not matter"


def test_without_rules_mail_goes_to_the_smarthost_or_by_dns() -> None:
    assert table([]).choose("a@b.c", "d@e.f").route == Route("mx")
    choice = table([], "relay.example:2525").choose("a@b.c", "d@e.f")
    assert (choice.route.name, choice.route.hosts) == ("smarthost", [MailHost("relay.example", 2525, trusted=True)])
    assert choice.route.encryption == "policy"
    assert table(["to:@e.f -> mx"], "relay.example:25").choose("", "d@e.f").route.name == "mx"


def test_an_operators_choice_goes_before_every_rule() -> None:
    assert table(RULES).choose("alice@here.test", "bob@there.example", "mx").route.name == "mx"


def test_a_route_that_is_gone_puts_mail_off_in_a_plain_sentence() -> None:
    with pytest.raises(
        Unroutable, match="there is no route gone in the configuration, but an operator chose it"
    ) as caught:
        table(RULES).choose("", "bob@there.example", "gone")
    assert (caught.value.fate, caught.value.enhanced) == (Fate.DEFERRED, "4.3.5")


def test_a_domain_in_letters_is_found_by_its_ascii_form() -> None:
    assert table(["to:@xn--mnchen-3ya.example -> domain"]).choose("", "x@münchen.example").route.name == "domain"


def test_recipients_are_grouped_by_their_way() -> None:
    recipients = [
        ("bob@there.example", ""),
        ("carol@there.example", ""),
        ("dave@there.example", "gone"),
        ("e@there.example", ""),
    ]
    found = grouped(table(RULES), "", recipients)
    assert [places for _, places in found.values()] == [[0], [1, 3], [2]]


def test_a_route_takes_what_its_table_says_and_the_rest_from_delivery() -> None:
    section = RouteSection(
        hosts=["Relay.example", "[2001:db8::1]:26"], tls="tls", user="u", password_file="/p", concurrency=3, rate=60
    )
    made = RouteTable(Delivery(sources=["192.0.2.1 out.example"], family="4"), Routes(via={"r": section})).find("r")
    assert made is not None
    assert made.hosts == [MailHost("relay.example", 465, trusted=True), MailHost("2001:db8::1", 26, trusted=True)]
    assert (made.sources, made.family, made.verify) == ((Source("192.0.2.1", "out.example"),), "4", True)
    assert "/p" not in repr(made)


@pytest.mark.parametrize(
    "text", ["to:there.example -> x", "to:@there.example", "-> x", "cc:@a.b -> x", "to:@a b -> x", ""]
)
def test_what_is_no_rule_is_told(text: str) -> None:
    assert parse_rule(text) is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_addresses_have_a_way(sender: str, recipient: str) -> None:
    assert table(RULES).choose(sender, recipient).route.name in VIA
