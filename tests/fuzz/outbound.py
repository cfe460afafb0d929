"""What other servers say to us when mail leaves: login challenges, limits, refusals; and the rules an operator writes."""

from __future__ import annotations

from mailbox_app.config.routes import Route, Routes, parse_host, parse_rule, parse_source
from mailbox_app.config.schema import Delivery
from mailbox_app.errors import ProtocolError
from mailbox_app.outbound.advice import advice_for
from mailbox_app.outbound.routes.choosing import RouteTable
from mailbox_app.proto.sasl.client import MECHANISMS, begin, choose
from tests.fuzz.target import Target

_TABLE = RouteTable(
    Delivery(), Routes(rules=["to:@there.example -> r", "from:@.example -> r"], via={"r": Route(hosts=["h"])})
)


def challenge(data: bytes) -> None:
    mechanism = choose(data.decode("latin-1").split(" "), ["tls-exporter"]) or MECHANISMS[len(data) % len(MECHANISMS)]
    exchange = begin(mechanism, "user", "pencil", binding_type="tls-exporter", binding=b"b")
    try:
        for line in data[:300].split(b"\n"):
            answer = exchange.step(line.replace(b"NONCE", (exchange.initial or b"")[-24:]))
            assert b"pencil" not in answer or mechanism in ("PLAIN", "LOGIN")
        exchange.finish()
        assert not mechanism.startswith("SCRAM"), "believed a server that does not know the password"
    except ProtocolError:
        pass


def refusal(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found = advice_for(550, "5.7.1", text)
    assert found is None or found.sentence.endswith(".")
    assert advice_for(250, "", text) is None


def rule(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found = parse_rule(text)
    if found is not None:
        assert found[0] == "*" or found[0].startswith(("to:", "from:"))
    parse_host(text)
    parse_source(text)
    assert _TABLE.choose(text, text).route.name in ("mx", "r")


TARGETS = (
    Target(
        "smtp", "login_challenge", challenge,
        [b"r=NONCEx,s=c2FsdA==,i=10\nv=AAAA", b"r=x,s=,i=0", b"PLAIN LOGIN", b"User Name\nPassword"],
    ),
    Target("smtp", "refusal", refusal, [b"S3140 on our block list", b"5.7.26 unauthenticated", b"listed at zen.spamhaus.org"]),
    Target("local", "route_rule", rule, [b"to:@a.example -> r", b"* -> mx", b"[::1]:25", b"192.0.2.1 name"]),
)  # fmt: skip
