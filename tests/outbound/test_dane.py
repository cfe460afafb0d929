"""DANE at real TLS servers: good, bad, unusable, unsigned, kept from us. RFC 7672."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mailbox_app.mailqueue.model import Envelope, Fate
from tests.outbound.conftest import MakeLease, MakeTransport
from tests.support.certificates import Certified, certify
from tests.support.dns import FakeResolver
from tests.support.outbound_tls import Recorder
from tests.support.remote import FakeRemote

HOST = "mx.there.example"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def authority() -> Certified:
    return certify("Authority", is_ca=True)


@pytest.fixture(scope="module")
def server(authority: Certified) -> Certified:
    return certify(HOST, authority)


@pytest.fixture
def place(remote: FakeRemote, server: Certified, tmp_path: Path) -> str:
    """A server with a chain of its own authority; where its records belong."""
    remote.script.tls = server.server_context(tmp_path)
    return f"_{remote.port}._tcp.{HOST}"


@pytest.fixture
def signed(resolver: FakeResolver, place: str) -> Callable[..., None]:
    """MX and addresses are signed; so are these TLSA records."""

    def publish(*records: str) -> None:
        resolver.authenticated |= {"there.example", HOST, place}
        resolver.zone[(place, "TLSA")] = list(records)

    return publish


GOOD: dict[str, Callable[[Certified, Certified], str]] = {
    "server's key": lambda server, ca: f"3 1 1 {sha(server.public_key)}",
    "server's key, SHA-512": lambda server, ca: f"3 1 2 {hashlib.sha512(server.public_key).hexdigest()}",
    "server's key itself": lambda server, ca: f"3 1 0 {server.public_key.hex()}",
    "server's certificate": lambda server, ca: f"3 0 1 {sha(server.der)}",
    "authority's certificate": lambda server, ca: f"2 0 1 {sha(ca.der)}",
    "authority's key": lambda server, ca: f"2 1 1 {sha(ca.public_key)}",
    "authority's certificate itself": lambda server, ca: f"2 0 0 {ca.der.hex()}",
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_server_with_the_published_key_gets_the_mail(
    name: str, make_transport: MakeTransport, make_lease: MakeLease, server: Certified, authority: Certified,
    signed: Callable[..., None], witness: Recorder,
) -> None:  # fmt: skip
    signed("3 1 1 " + "00" * 32, GOOD[name](server, authority))
    [outcome] = await make_transport().deliver(make_lease())
    assert (outcome.fate, outcome.tls[-7:]) == (Fate.DELIVERED, " (DANE)")
    assert witness.results == [("tlsa", "")]


BAD: dict[str, Callable[[Certified], str]] = {
    "another key": lambda ca: "3 1 1 " + "11" * 32,
    "another authority": lambda ca: "2 0 1 " + "11" * 32,
    "the authority as the server": lambda ca: f"3 0 1 {sha(ca.der)}",
}


@pytest.mark.parametrize("name", BAD)
async def test_a_server_without_it_gets_nothing_and_the_text_says_why(
    name: str, make_transport: MakeTransport, make_lease: MakeLease, authority: Certified, remote: FakeRemote,
    signed: Callable[..., None], witness: Recorder,
) -> None:  # fmt: skip
    signed(BAD[name](authority))
    [outcome] = await make_transport().deliver(make_lease())
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.7.5")
    assert f"DANE of {HOST}" in outcome.text
    assert not any(command.startswith("MAIL") for command in remote.commands)
    assert witness.results == [("tlsa", "validation-failure")]
    assert witness.sessions[0].enforced


async def test_names_and_dates_count_below_an_authority_and_not_for_the_servers_own_key(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, authority: Certified, tmp_path: Path,
    signed: Callable[..., None],
) -> None:  # fmt: skip
    other = certify("other.example", authority, days=(-9, -1))
    remote.script.tls = other.server_context(tmp_path)
    signed(f"2 0 1 {sha(authority.der)}")
    [outcome] = await make_transport().deliver(make_lease())
    assert (outcome.fate, "another name" in outcome.text) == (Fate.DEFERRED, True)
    signed(f"3 1 1 {sha(other.public_key)}")
    [outcome] = await make_transport().deliver(make_lease())
    assert outcome.fate is Fate.DELIVERED


async def test_the_recipients_domain_is_a_name_too(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, authority: Certified, tmp_path: Path,
    signed: Callable[..., None],
) -> None:  # fmt: skip
    remote.script.tls = certify("there.example", authority).server_context(tmp_path)
    signed(f"2 0 1 {sha(authority.der)}")
    [outcome] = await make_transport().deliver(make_lease())
    assert outcome.fate is Fate.DELIVERED


@pytest.mark.parametrize("record", ["0 0 1 " + "11" * 32, "1 1 1 " + "11" * 32, "3 1 1 11", "3 9 1 " + "11" * 32])
async def test_unusable_records_mean_encryption_to_whomever(
    record: str, make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, signed: Callable[..., None]
) -> None:
    signed(record)
    [outcome] = await make_transport().deliver(make_lease())
    assert (outcome.fate, bool(outcome.tls)) == (Fate.DELIVERED, True)
    remote.script.tls = None
    made = make_transport()
    [outcome] = await made.deliver(make_lease())
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.7.10")
    assert f"DANE of {HOST}" in outcome.text


async def test_no_encryption_where_records_are_is_no_delivery(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, signed: Callable[..., None],
    witness: Recorder,
) -> None:  # fmt: skip
    signed("3 1 1 " + "11" * 32)
    remote.script.tls = None
    [outcome] = await make_transport().deliver(make_lease())
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.7.10")
    assert witness.results == [("tlsa", "starttls-not-supported")]


async def test_records_that_cannot_be_looked_up_keep_the_host_from_being_used(
    make_transport: MakeTransport, make_lease: MakeLease, resolver: FakeResolver, remote: FakeRemote, place: str,
    signed: Callable[..., None], witness: Recorder,
) -> None:  # fmt: skip
    signed("3 1 1 " + "11" * 32)
    resolver.broken.add((place, "TLSA"))
    [outcome] = await make_transport().deliver(make_lease())
    assert outcome.fate is Fate.DEFERRED
    assert "TLSA records of mx.there.example cannot be looked up" in outcome.text
    assert remote.connections == 0
    assert witness.results == [("tlsa", "dnssec-invalid")]


@pytest.mark.parametrize("unsigned", ["there.example", HOST, "tlsa"])
async def test_what_is_not_signed_all_the_way_is_no_dane(
    unsigned: str, make_transport: MakeTransport, make_lease: MakeLease, resolver: FakeResolver, place: str,
    signed: Callable[..., None],
) -> None:  # fmt: skip
    signed("3 1 1 " + "11" * 32)
    resolver.authenticated.remove(place if unsigned == "tlsa" else unsigned)
    [outcome] = await make_transport().deliver(make_lease())
    assert outcome.fate is Fate.DELIVERED
    asked = (place, "TLSA") in resolver.asked
    assert asked == (unsigned == "tlsa")


async def test_records_of_the_name_an_alias_leads_to_come_first(
    make_transport: MakeTransport, make_lease: MakeLease, resolver: FakeResolver, remote: FakeRemote,
    server: Certified, signed: Callable[..., None],
) -> None:  # fmt: skip
    signed("3 1 1 " + "11" * 32)
    expanded = f"_{remote.port}._tcp.real.there.example"
    del resolver.zone[(HOST, "A")]
    resolver.zone[(HOST, "CNAME")] = ["real.there.example."]
    resolver.zone[("real.there.example", "A")] = ["127.0.0.1"]
    resolver.zone[(expanded, "TLSA")] = [f"3 1 1 {sha(server.public_key)}"]
    resolver.authenticated.add(expanded)
    [outcome] = await make_transport().deliver(make_lease())
    assert outcome.fate is Fate.DELIVERED
    del resolver.zone[(expanded, "TLSA")]
    [outcome] = await make_transport().deliver(make_lease(envelope=Envelope("carol@here.example")))
    assert outcome.fate is Fate.DEFERRED


async def test_a_kept_connection_that_showed_less_is_not_used_for_mail_that_needs_more(
    make_transport: MakeTransport, make_lease: MakeLease, resolver: FakeResolver, remote: FakeRemote,
    server: Certified, signed: Callable[..., None],
) -> None:  # fmt: skip
    made = make_transport()
    await made.deliver(make_lease())
    signed(f"3 1 1 {sha(server.public_key)}")
    await made.deliver(make_lease())
    assert remote.connections == 2
    signed("3 1 1 " + "11" * 32)
    [outcome] = await made.deliver(make_lease())
    assert (outcome.fate, remote.connections) == (Fate.DEFERRED, 3)
    made.close()


async def test_a_message_whose_author_prefers_arrival_is_not_held_up(
    make_transport: MakeTransport, make_lease: MakeLease, signed: Callable[..., None], remote: FakeRemote
) -> None:
    signed("3 1 1 " + "11" * 32)
    optional = Envelope("alice@here.example", tls_optional=True)
    [outcome] = await make_transport().deliver(make_lease(envelope=optional))
    assert (outcome.fate, bool(outcome.tls)) == (Fate.DELIVERED, True)
    remote.script.tls = None
    [outcome] = await make_transport().deliver(make_lease(envelope=optional))
    assert (outcome.fate, outcome.tls) == (Fate.DELIVERED, "")


async def test_dane_proves_a_server_to_a_message_that_requires_tls(
    make_transport: MakeTransport, make_lease: MakeLease, signed: Callable[..., None], remote: FakeRemote,
    server: Certified,
) -> None:  # fmt: skip
    signed(f"3 1 1 {sha(server.public_key)}")
    remote.script.extensions = (*remote.script.extensions, "REQUIRETLS")
    required = Envelope("alice@here.example", require_tls=True, tls_optional=True)
    [outcome] = await make_transport().deliver(make_lease(envelope=required))
    assert (outcome.fate, "REQUIRETLS" in remote.messages[0].mail_parameters) == (Fate.DELIVERED, True)
    signed("3 1 1 " + "11" * 32)
    [outcome] = await make_transport().deliver(make_lease(envelope=required))
    assert outcome.fate is Fate.DEFERRED


@pytest.mark.parametrize("excepted", [True, False])
async def test_an_operator_who_wants_valid_certificates_gets_them_where_dane_does_not_prove(
    excepted: bool, make_transport: MakeTransport, make_lease: MakeLease, signed: Callable[..., None],
    authority: Certified, tmp_path: Path,
) -> None:  # fmt: skip
    signed("3 1 1 " + "11" * 32 if excepted else "1 1 1 " + "11" * 32)
    lease = make_lease(envelope=Envelope("alice@here.example", tls_optional=excepted))
    [outcome] = await make_transport(require_tls=True).deliver(lease)
    assert (outcome.fate, "not trusted" in outcome.text) == (Fate.DEFERRED, True)
    assert "delivery.require_tls" in outcome.text
    (tmp_path / "ca.pem").write_bytes(authority.pem())
    [outcome] = await make_transport(require_tls=True, ca_file=str(tmp_path / "ca.pem")).deliver(lease)
    assert outcome.fate is Fate.DELIVERED


async def test_the_operator_of_a_host_with_dane_proves_it_to_an_operator_who_wants_proof(
    make_transport: MakeTransport, make_lease: MakeLease, signed: Callable[..., None], server: Certified
) -> None:
    signed(f"3 1 1 {sha(server.public_key)}")
    [outcome] = await make_transport(require_tls=True).deliver(make_lease())
    assert outcome.fate is Fate.DELIVERED
