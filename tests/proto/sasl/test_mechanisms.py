from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.sasl.bearer import OAuthBearer, XOAuth2
from mailbox_app.proto.sasl.external import External
from mailbox_app.proto.sasl.mechanism import (
    CertificateClaim,
    Challenge,
    ClearChannel,
    Mechanism,
    PasswordClaim,
    TokenClaim,
)
from mailbox_app.proto.sasl.negotiation import NAMES, offered
from mailbox_app.proto.sasl.plain import Login, Plain


def test_plain_is_identity_name_password() -> None:
    assert Plain().step(b"\0tim\0tanstaaftanstaaf") == PasswordClaim("tim", "tanstaaftanstaaf")
    assert Plain().step(b"Ursel\0Kurt\0xipj3plmq") == PasswordClaim("Kurt", "xipj3plmq", "Ursel")


def test_what_is_not_utf8_matches_nobody_and_is_no_error() -> None:
    assert Plain().step(b"\0\xff\0x") == PasswordClaim("\udcff", "x")


@pytest.mark.parametrize("message", [b"", b"tim", b"\0tim", b"\0a\0b\0c"])
def test_plain_refuses_other_shapes(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        Plain().step(message)


def test_login_asks_for_the_name_and_then_for_the_password() -> None:
    login = Login()
    assert login.prompt == b"Username:"
    assert login.step(b"tim") == Challenge(b"Password:")
    assert login.step(b"") == PasswordClaim("tim", "")


def test_external_is_an_identity_or_nothing() -> None:
    assert External().step(b"") == CertificateClaim("")
    assert External().step(b"fred@example.com") == CertificateClaim("fred@example.com")


# RFC 7628 4.1
OAUTH = (
    b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
    b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
)


def test_oauthbearer_is_a_token_and_whose_it_is() -> None:
    assert OAuthBearer().step(OAUTH) == TokenClaim("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", "user@example.com")
    assert OAuthBearer().step(b"n,,\x01auth=bearer abc\x01\x01") == TokenClaim("abc")


def test_xoauth2_is_a_token_and_whose_it_is() -> None:
    assert XOAuth2().step(b"user=a@b.example\x01auth=Bearer ya29.vF9dft4\x01\x01") == TokenClaim(
        "ya29.vF9dft4", "a@b.example"
    )


@pytest.mark.parametrize(
    "message",
    [
        b"", b"\x01", b"\x01\x01", b"n,,", b"n,,\x01\x01", b"n,,\x01auth=Bearer\x01\x01", b"n,,\x01auth=Basic abc\x01\x01",
        b"n,,\x01auth=Bearer a b\x01\x01", b"n,,\x01auth=Bearer abc\x01", b"p=tls-exporter,,\x01auth=Bearer abc\x01\x01",
        b"n,,\x01auth=Bearer abc\x01auth=Bearer def\x01\x01", b"n,,\x01" + b"a=b\x01" * 17 + b"\x01",
    ],
)  # fmt: skip
def test_tokens_in_other_shapes_are_refused(message: bytes) -> None:
    for mechanism in (OAuthBearer(), XOAuth2()):
        with pytest.raises(ProtocolError):
            mechanism.step(message)


def test_a_refused_token_is_told_as_json() -> None:
    refusal = json.loads(OAuthBearer.refusal_challenge("mail", "https://id.example/.well-known/openid-configuration"))
    assert refusal == {
        "status": "invalid_token",
        "scope": "mail",
        "openid-configuration": "https://id.example/.well-known/openid-configuration",
    }
    assert json.loads(XOAuth2.refusal_challenge("mail", "")) == {"status": "401", "schemes": "bearer", "scope": "mail"}


MECHANISMS: Sequence[type[Mechanism]] = (Plain, Login, External, OAuthBearer, XOAuth2)


@given(
    st.sampled_from(MECHANISMS),
    st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from([b"n,", b"a=x,", b"\x01", b"auth=", b"Bearer ", b"abc", b"user=", b"\0", b"=2C"])).map(
            b"".join
        ),
    ),
)
def test_any_bytes_are_a_claim_or_refused(mechanism: type[Mechanism], message: bytes) -> None:
    try:
        step = mechanism().step(message)
    except ProtocolError:
        return
    assert isinstance(step, Challenge | PasswordClaim | CertificateClaim | TokenClaim)


class Tls(ClearChannel):
    is_tls = True


def test_what_the_channel_cannot_carry_is_not_offered() -> None:
    assert [kind.name for kind in offered(Tls(), NAMES)] == [
        "SCRAM-SHA-256", "SCRAM-SHA-1", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN",
    ]  # fmt: skip
    assert [kind.name for kind in offered(Tls(), {"PLAIN"})] == ["PLAIN"]
