"""MTA-STS with real web and mail servers over TLS: enforce, testing, none, unreachable, cached. RFC 8461."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.mailqueue.model import Envelope, Fate, Outcome
from mailbox_app.outbound.tls.memory import TlsMemory
from mailbox_app.outbound.transport import SmtpTransport
from tests.outbound.conftest import MakeLease
from tests.support.certificates import Certified, certify
from tests.support.clock import FakeClock
from tests.support.dns import FakeResolver
from tests.support.outbound_tls import Recorder, outbound_tls
from tests.support.policy_server import PolicyServer
from tests.support.remote import FakeRemote

HOST, TXT = "mx.there.example", ("_mta-sts.there.example", "TXT")
Deliver = Callable[..., object]


@pytest.fixture(scope="module")
def authority() -> Certified:
    return certify("Authority", is_ca=True)


@pytest.fixture
async def web(authority: Certified, tmp_path: Path) -> AsyncIterator[PolicyServer]:
    (tmp_path / "web").mkdir()
    context = certify("mta-sts.there.example", authority).server_context(tmp_path / "web")
    async with PolicyServer(context) as server:
        server.policy("enforce", HOST)
        yield server


class Site:
    """There: one domain with policy and mail server. Here: a transport whose clock is ours."""

    def __init__(
        self, resolver: FakeResolver, web: PolicyServer, remote: FakeRemote, offload: Offload, folder: Path,
        authority: Certified, witness: Recorder, make_lease: MakeLease,
    ) -> None:  # fmt: skip
        self.resolver, self.web, self.remote, self.offload, self.folder = resolver, web, remote, offload, folder
        self.authority, self.witness, self.make_lease = authority, witness, make_lease
        self.clock = FakeClock()
        (folder / "ca.pem").write_bytes(authority.pem())
        resolver.zone[TXT] = ["v=STSv1; id=1;"]
        resolver.zone[("mta-sts.there.example", "A")] = ["127.0.0.1"]
        self.settings: dict[str, object] = {"port": remote.port, "allow_private_addresses": True}
        self.settings |= {"ca_file": str(folder / "ca.pem"), "mta_sts_port": web.port}
        self.restart()

    def restart(self, **changes: object) -> None:
        """A new process over the same file."""
        config = Delivery(**{**self.settings, **changes})  # type: ignore[arg-type]
        self.tls = outbound_tls(self.resolver, self.folder, config, self.offload, self.clock, [self.witness])
        self.transport = SmtpTransport(
            self.resolver, hostname="here.example", config=config, offload=self.offload, clock=self.clock, tls=self.tls
        )

    def serve(self, certified: Certified | None) -> None:
        self.remote.script.tls = None if certified is None else certified.server_context(self.folder)

    async def send(self, envelope: Envelope | None = None) -> Outcome:
        self.transport.close()
        [outcome] = await self.transport.deliver(self.make_lease(envelope=envelope))
        return outcome


@pytest.fixture
def site(
    resolver: FakeResolver, web: PolicyServer, remote: FakeRemote, offload: Offload, tmp_path: Path,
    authority: Certified, witness: Recorder, make_lease: MakeLease,
) -> Site:  # fmt: skip
    made = Site(resolver, web, remote, offload, tmp_path, authority, witness, make_lease)
    made.serve(certify(HOST, authority))
    return made


async def test_a_named_host_with_a_valid_certificate_gets_the_mail(site: Site) -> None:
    outcome = await site.send()
    assert (outcome.fate, outcome.tls[-10:]) == (Fate.DELIVERED, " (MTA-STS)")
    assert site.witness.results == [("sts", "")]
    assert site.witness.sessions[0].policy == ["version: STSv1", "mode: enforce", "max_age: 604800", f"mx: {HOST}"]
    [request] = site.web.requests
    assert request.startswith("GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.there.example")
    assert (await site.send()).fate is Fate.DELIVERED
    assert len(site.web.requests) == 1


async def test_a_host_that_the_policy_does_not_name_gets_nothing(site: Site) -> None:
    site.web.policy("enforce", "other.there.example", "*.other.example")
    outcome = await site.send()
    assert (outcome.fate, outcome.text) == (
        Fate.DEFERRED, f"MTA-STS of there.example (enforce) names other hosts than {HOST}, so it gets no mail",
    )  # fmt: skip
    assert site.remote.connections == 0
    assert site.witness.results == [("sts", "validation-failure")]


@pytest.mark.parametrize(
    ("made", "result"),
    [(lambda ca: certify(HOST), "certificate-not-trusted"),
     (lambda ca: certify("other.example", ca), "certificate-host-mismatch"),
     (lambda ca: certify(HOST, ca, days=(-9, -1)), "certificate-expired"),
     (lambda ca: None, "starttls-not-supported")],
)  # fmt: skip
async def test_enforced_only_a_valid_certificate_will_do_and_in_testing_it_is_only_told(
    site: Site, made: Callable[[Certified], Certified | None], result: str
) -> None:
    site.serve(made(site.authority))
    outcome = await site.send()
    assert (outcome.fate, outcome.code) == (Fate.DEFERRED, 451)
    assert "MTA-STS of there.example (enforce)" in outcome.text
    assert not any(command.startswith("MAIL") for command in site.remote.commands)
    assert site.witness.results == [("sts", result)]
    site.web.policy("testing", HOST)
    site.resolver.zone[TXT] = ["v=STSv1; id=2;"]
    site.clock.skip(60)
    site.witness.sessions.clear()
    assert (await site.send()).fate is Fate.DELIVERED
    [session] = site.witness.sessions
    expected = "starttls-not-supported" if result == "starttls-not-supported" else "certificate-not-trusted"
    assert (str(session.result), session.enforced) == (expected, False)


async def test_in_testing_an_unnamed_host_is_told_and_used(site: Site) -> None:
    site.web.policy("testing", "other.example")
    assert (await site.send()).fate is Fate.DELIVERED
    assert site.witness.results == [("sts", "validation-failure")]
    assert "names other hosts" in site.witness.sessions[0].reason


async def test_mode_none_binds_nobody(site: Site) -> None:
    site.web.policy("none")
    site.serve(certify(HOST))
    assert (await site.send()).fate is Fate.DELIVERED
    assert site.witness.results == [("no-policy-found", "")]


async def test_a_policy_once_known_holds_while_dns_and_web_server_fail_also_after_a_restart(site: Site) -> None:
    await site.send()
    site.serve(certify(HOST))
    for change in (
        lambda: site.resolver.zone.pop(TXT),
        lambda: site.resolver.broken.add(TXT),
        lambda: (site.resolver.broken.clear(), site.resolver.zone.update({TXT: ["v=STSv1; id=2"]})),
    ):
        change()
        site.web.status = "500 no"
        site.restart()
        assert (await site.send()).fate is Fate.DEFERRED
    site.clock.skip(604_801)
    site.restart()
    assert (await site.send()).fate is Fate.DELIVERED


FAILURES: dict[str, tuple[Callable[[PolicyServer], None], str]] = {
    "refused": (lambda web: setattr(web, "status", "404 Not Found"), "sts-policy-fetch-error"),
    "redirected": (
        lambda web: (setattr(web, "status", "301 Moved"), setattr(web, "extra", "Location: https://x.example/\r\n"))[0],
        "sts-policy-fetch-error",
    ),
    "no policy": (lambda web: setattr(web, "body", b"hello: x"), "sts-policy-invalid"),
    "not text": (lambda web: setattr(web, "kind", "text/html"), "sts-policy-invalid"),
    "too long": (lambda web: setattr(web, "body", b"x" * 70_000), "sts-policy-fetch-error"),
    "endless": (lambda web: setattr(web, "answer", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500_000), "sts-policy-fetch-error"),
    "garbage": (lambda web: setattr(web, "answer", b"\x00\xff\r\n\r\n"), "sts-policy-fetch-error"),
    "broken off": (
        lambda web: setattr(web, "answer", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nversion: STSv1"),
        "sts-policy-fetch-error",
    ),
    "endless head": (lambda web: setattr(web, "answer", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000), "sts-policy-fetch-error"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
async def test_a_policy_that_cannot_be_had_is_told_once_and_asked_for_again_later(name: str, site: Site) -> None:
    change, result = FAILURES[name]
    change(site.web)
    site.serve(certify(HOST))
    for _ in range(3):
        assert (await site.send()).fate is Fate.DELIVERED
    assert site.witness.results == [("sts", result), *[("no-policy-found", "")] * 3]
    assert len(site.web.requests) == 1
    site.clock.skip(301)
    await site.send()
    assert len(site.web.requests) == 2


async def test_a_chunked_answer_and_a_server_that_hangs_on_are_read(site: Site) -> None:
    body = site.web.body
    site.web.answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    )
    site.web.keeps_open = True
    assert (await site.send()).tls.endswith("(MTA-STS)")


async def test_a_web_server_with_a_wrong_certificate_is_not_believed(site: Site, tmp_path: Path) -> None:
    async with PolicyServer(certify("mta-sts.other.example", site.authority).server_context(tmp_path)) as web:
        web.policy("enforce", "nothing.example")
        site.restart(mta_sts_port=web.port)
        site.serve(certify(HOST))
        assert (await site.send()).fate is Fate.DELIVERED
        assert web.requests == []
    assert site.witness.results[0] == ("sts", "sts-webpki-invalid")


async def test_private_addresses_are_not_asked_unless_allowed(site: Site) -> None:
    site.restart(allow_private_addresses=False)
    await site.tls.rules("there.example", Envelope("a@here.example"))
    assert site.web.requests == []
    assert "only private addresses" in site.witness.sessions[0].reason


async def test_a_policy_is_refreshed_before_it_runs_out_while_it_is_used(site: Site) -> None:
    site.web.policy("enforce", HOST, max_age=200_000)
    await site.send()
    assert await site.tls.sts.refresh() == 0
    site.clock.skip(90_000)
    assert await site.tls.sts.refresh() == 1
    assert len(site.web.requests) == 2
    site.clock.skip(90_000)
    site.web.status = "500 no"
    assert await site.tls.sts.refresh() == 0
    row = TlsMemory(site.folder / "tls.db", site.clock).load("there.example").policy
    assert row is not None
    assert (row.expires_at_seconds - site.clock.epoch_seconds(), row.failure[-10:]) == (110_000, "status 500")
    site.clock.skip(40 * 86_400)
    assert await site.tls.sts.refresh() == 0


async def test_where_dane_decides_mta_sts_does_not(site: Site) -> None:
    place = f"_{site.remote.port}._tcp.{HOST}"
    site.resolver.authenticated |= {"there.example", HOST, place}
    site.resolver.zone[(place, "TLSA")] = ["3 1 1 " + "11" * 32]
    outcome = await site.send()
    assert (outcome.fate, f"DANE of {HOST}" in outcome.text) == (Fate.DEFERRED, True)
    leaf = certify(HOST)
    site.serve(leaf)
    site.web.policy("enforce", "other.example")
    site.resolver.zone[TXT] = ["v=STSv1; id=2"]
    site.resolver.zone[(place, "TLSA")] = [f"3 1 0 {leaf.public_key.hex()}"]
    assert (await site.send()).fate is Fate.DELIVERED


async def test_a_message_whose_author_prefers_arrival_is_not_held_up(site: Site) -> None:
    site.web.policy("enforce", "other.example")
    site.serve(None)
    assert (await site.send(Envelope("a@here.example", tls_optional=True))).fate is Fate.DELIVERED
    assert (await site.send()).fate is Fate.DEFERRED


async def test_a_failed_handshake_leads_to_clear_text_only_for_such_a_message(site: Site) -> None:
    site.resolver.zone.pop(TXT)
    site.remote.script.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # has no certificate
    assert (await site.send()).fate is Fate.DEFERRED
    outcome = await site.send(Envelope("a@here.example", tls_optional=True))
    assert (outcome.fate, outcome.tls) == (Fate.DELIVERED, "")
    assert (await site.send()).fate is Fate.DEFERRED


async def test_a_connection_that_ends_at_starttls_is_a_failed_encryption(site: Site) -> None:
    """As when a box in between does not let the word pass. RFC 8689 4.2.2: no failure for a message that need not be encrypted."""
    site.resolver.zone.pop(TXT)
    site.remote.script.close_at = "STARTTLS"
    outcome = await site.send()
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.7.5")
    outcome = await site.send(Envelope("a@here.example", tls_optional=True))
    assert (outcome.fate, outcome.tls) == (Fate.DELIVERED, "")


async def test_the_policy_names_hosts_for_mail_that_requires_tls(site: Site) -> None:
    required = Envelope("a@here.example", require_tls=True)
    site.remote.script.extensions = (*site.remote.script.extensions, "REQUIRETLS")
    assert (await site.send(required)).fate is Fate.DELIVERED
    site.web.policy("enforce", "other.example")
    site.resolver.zone[TXT] = ["v=STSv1; id=2"]
    site.clock.skip(60)
    outcome = await site.send(required)
    assert (outcome.fate, outcome.enhanced) == (Fate.FAILED, "5.7.30")


async def test_many_messages_at_once_share_one_fetch(site: Site) -> None:
    import asyncio

    outcomes = await asyncio.gather(*(site.transport.deliver(site.make_lease()) for _ in range(10)))
    assert {outcome.fate for [outcome] in outcomes} == {Fate.DELIVERED}
    assert len(site.web.requests) == 1


async def test_an_id_that_changes_with_every_answer_causes_no_storm_of_fetches(site: Site) -> None:
    for number in range(20):
        site.resolver.zone[TXT] = [f"v=STSv1; id={number};"]
        await site.send()
        site.clock.skip(1)
    assert len(site.web.requests) == 1
    site.clock.skip(60)
    await site.send()
    assert len(site.web.requests) == 2
