from __future__ import annotations

import base64
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.sasl.mechanism import Challenge, ClearChannel, ProofClaim
from mailbox_app.proto.sasl.scram import Scram
from mailbox_app.proto.sasl.scram_keys import ScramKeys, derive
from tests.support.sasl_client import ScramClient

BINDING = b"0123456789abcdef0123456789abcdef"


class Bound(ClearChannel):
    is_tls = True
    binding_types: Sequence[str] = ("tls-exporter", "tls-server-end-point")

    def binding(self, kind: str) -> bytes | None:
        return {"tls-exporter": BINDING, "tls-server-end-point": b"end"}.get(kind)


def keys_of(name: str, hash_name: str) -> ScramKeys:
    return derive(hash_name, b"pencil", b"salt of " + name.encode("utf-8", "surrogateescape"), 64)


def scram(*, plus: bool = False, offered: bool = False, hash_name: str = "sha256") -> Scram:
    return Scram(hash_name, keys_of, Bound(), plus=plus, plus_is_offered=offered, nonce=b"server")


def run(server: Scram, client: ScramClient) -> ProofClaim:
    challenge = server.step(client.first())
    assert isinstance(challenge, Challenge)
    claim = server.step(client.final(challenge.data))
    assert isinstance(claim, ProofClaim)
    return claim


# RFC 5802 5 and RFC 7677 3: the exchanges printed there
EXAMPLES = [
    (
        "sha1", "QSXCR+Q6sek8bf92", 4096,
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", b"3rfcNHYJY1ZVvWVs7j",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    (
        "sha256", "W22ZaJ0SNY7soEsUEjb6gQ==", 4096,
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
]  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES, ids=["RFC 5802", "RFC 7677"])
def test_the_exchanges_of_the_standards_come_out_to_the_byte(
    example: tuple[str, str, int, bytes, bytes, bytes, bytes, bytes],
) -> None:
    hash_name, salt, iterations, first, nonce, server_first, final, server_final = example
    keys = derive(hash_name, b"pencil", base64.b64decode(salt), iterations)
    server = Scram(hash_name, lambda *_: keys, Bound(), plus=False, plus_is_offered=False, nonce=nonce)
    assert server.step(first) == Challenge(server_first)
    assert server.step(final) == ProofClaim("user", right=True, final=server_final)


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
@pytest.mark.parametrize("binding", [None, ("tls-exporter", BINDING), ("tls-server-end-point", b"end")])
def test_the_right_password_proves_itself_and_the_server_too(hash_name: str, binding: tuple[str, bytes] | None) -> None:
    server = scram(plus=binding is not None, offered=binding is not None, hash_name=hash_name)
    client = ScramClient("us,er=x", "pencil", hash_name=hash_name, binding=binding, identity="us,er=x")
    claim = run(server, client)
    assert (claim.name, claim.identity, claim.right) == ("us,er=x", "us,er=x", True)
    assert client.check(claim.final)


def test_another_password_is_wrong() -> None:
    assert not run(scram(), ScramClient("user", "pen")).right


def test_binding_to_another_channel_is_wrong() -> None:
    """Somebody stands in the middle: the password is right, the connection is not the one the client has."""
    client = ScramClient("user", "pencil", binding=("tls-exporter", b"x" * 32))
    assert not run(scram(plus=True, offered=True), client).right


def test_a_proof_made_for_another_nonce_is_wrong() -> None:
    server, client = scram(), ScramClient("user", "pencil")
    challenge = server.step(client.first())
    assert isinstance(challenge, Challenge)
    claim = server.step(client.final(challenge.data.replace(b"server", b"surfer")))
    assert isinstance(claim, ProofClaim)
    assert not claim.right


@pytest.mark.parametrize(
    ("first", "plus", "offered"),
    [
        (b"y,,n=user,r=abc", False, True),  # the PLUS forms were taken out of the list on the way
        (b"p=tls-exporter,,n=user,r=abc", False, True),
        (b"n,,n=user,r=abc", True, True),
        (b"y,,n=user,r=abc", True, True),
        (b"p=tls-unique,,n=user,r=abc", True, True),
        (b"n,,m=x,n=user,r=abc", False, False),  # RFC 5802 5.1
        (b"n,,n=us=2Xer,r=abc", False, False),
        (b"n,,n=us=2cer,r=abc", False, False),
        (b"n,,n=,r=abc", False, False),
        (b"n,,n=user,r=", False, False),
        (b"n,,n=user", False, False),
        (b"n,n=user,r=abc", False, False),
        (b"n,,n=user,r=a b", False, False),
        (b"n,,n=us\0er,r=abc", False, False),
        (b"n,,n=user,r=" + b"a" * 513, False, False),
        (b"", False, False),
    ],
)
def test_first_messages_that_are_refused(first: bytes, plus: bool, offered: bool) -> None:
    with pytest.raises(ProtocolError):
        scram(plus=plus, offered=offered).step(first)


def test_a_client_that_could_bind_may_go_on_where_the_server_cannot() -> None:
    assert run(scram(), ScramClient("user", "pencil", flag="y")).right


@pytest.mark.parametrize(
    "final",
    [b"", b"c=biws,r=abcserver", b"c=biws,r=abcserver,p=", b"c=b!ws,r=abcserver,p=AAAA", b"c=biws,p=AAAA,r=abcserver",
     b"c=biw,r=abcserver,p=AAAA", b"c=biws,r=abcserver,p=AAA", b"c=biws,r=abcserver,p=AAAA,x=1"],
)  # fmt: skip
def test_final_messages_that_are_refused(final: bytes) -> None:
    server = scram()
    server.step(b"n,,n=user,r=abc")
    with pytest.raises(ProtocolError):
        server.step(final)


@pytest.mark.parametrize("proof", [b"AAAA", base64.b64encode(bytes(32)), base64.b64encode(bytes(33))])
def test_a_proof_of_any_length_is_only_wrong(proof: bytes) -> None:
    server = scram()
    server.step(b"n,,n=user,r=abc")
    claim = server.step(b"c=biws,r=abcserver,p=" + proof)
    assert isinstance(claim, ProofClaim)
    assert not claim.right


MESSAGES = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from([b"n,,", b"y,,", b"n=", b"user", b",r=", b"=2C", b"=3D", b"abc", b",", b"p=", b"m=x"])
    ).map(b"".join),
)


@given(MESSAGES, MESSAGES)
def test_any_bytes_are_an_answer_or_refused_and_never_a_proof(first: bytes, final: bytes) -> None:
    server = scram()
    try:
        step = server.step(first)
        assert isinstance(step, Challenge)
        claim = server.step(final)
    except ProtocolError:
        return
    assert isinstance(claim, ProofClaim)
    assert not claim.right
