from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.sasl.client import MECHANISMS, Login, Plain, ScramClient, begin, choose
from mailbox_app.proto.sasl.mechanism import Challenge, ProofClaim
from mailbox_app.proto.sasl.scram import Scram
from mailbox_app.proto.sasl.scram_keys import derive


class Channel:
    is_tls = True
    binding_types = ("tls-exporter",)
    client_addresses = ()

    def binding(self, kind: str) -> bytes | None:
        return b"bound" if kind == "tls-exporter" else None


def test_the_example_of_rfc_7677() -> None:
    client = ScramClient("sha256", "user", "pencil", nonce=b"rOprNGfwEbeRWgbNEkqO")
    assert client.initial == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    assert client.step(first) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert client.step(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == b""
    client.finish()


def test_the_example_of_rfc_5802() -> None:
    client = ScramClient("sha1", "user", "pencil", nonce=b"fyko+d2lbbFgONRv9qkxdawL")
    first = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    assert client.step(first).endswith(b",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=")
    assert client.step(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=") == b""


@pytest.mark.parametrize("plus", [True, False])
@given(
    user=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    password=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_client_and_server_understand_each_other(plus: bool, user: str, password: str) -> None:
    keys = derive("sha256", password.encode(), b"salt", 10)
    server = Scram("sha256", lambda name, _: keys, Channel(), plus=plus, plus_is_offered=plus)
    kind, binding = ("tls-exporter", b"bound") if plus else ("", b"")
    client = ScramClient("sha256", user, password, binding_type=kind, binding=binding)
    assert client.initial is not None
    first = server.step(client.initial)
    assert isinstance(first, Challenge)
    claim = server.step(client.step(first.data))
    assert isinstance(claim, ProofClaim)
    assert (claim.right, claim.name) == (True, user)
    client.step(claim.final)
    client.finish()


@pytest.mark.parametrize(
    "challenge",
    [
        b"", b"r=other,s=c2FsdA==,i=4096", b"r=mine,s=c2FsdA==,i=4096", b"r=minex,s=c2FsdA==,i=99999999",
        b"r=minex,s=c2FsdA==,i=0", b"r=minex,s=***,i=1", b"m=x,r=minex,s=c2FsdA==,i=1",
        b"r=mine" + b"x" * 2000 + b",s=c2FsdA==,i=1",
    ],
)  # fmt: skip
def test_a_challenge_that_is_none_ends_the_login(challenge: bytes) -> None:
    with pytest.raises(ProtocolError):
        ScramClient("sha256", "u", "p", nonce=b"mine").step(challenge)


def test_a_server_that_does_not_prove_itself_is_not_believed() -> None:
    client = ScramClient("sha256", "u", "p", nonce=b"mine")
    client.step(b"r=minex,s=c2FsdA==,i=10")
    with pytest.raises(ProtocolError, match="did not prove"):
        client.finish()
    with pytest.raises(ProtocolError, match="did not prove"):
        client.step(b"v=" + base64.b64encode(b"x" * 32))


def test_plain_and_login() -> None:
    assert Plain("u", "p").initial == b"\0u\0p"
    login = begin("LOGIN", "u", "p")
    assert isinstance(login, Login)
    assert [login.step(b"Username:"), login.step(b"whatever")] == [b"u", b"p"]
    with pytest.raises(ProtocolError):
        login.step(b"again")


def test_the_best_of_what_both_know_is_chosen() -> None:
    offered = ["login", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "GSSAPI"]
    assert choose(offered, ["tls-exporter"]) == "SCRAM-SHA-256-PLUS"
    assert choose(offered, []) == "SCRAM-SHA-256"
    assert choose(offered, [], {"SCRAM-SHA-256", "PLAIN"}) == "LOGIN"
    assert choose(["GSSAPI"], []) is None


@given(st.sampled_from(MECHANISMS), st.lists(st.binary(max_size=200), max_size=4))
def test_any_challenge_is_answered_or_refused(mechanism: str, challenges: list[bytes]) -> None:
    exchange = begin(mechanism, "u", "secret")
    try:
        for challenge in challenges:
            exchange.step(challenge)
    except ProtocolError:
        pass
