"""A domain that used to take mail encrypted is not silently served in clear; TLS that keeps failing; exceptions."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.mailqueue.model import Envelope, Fate, Outcome
from mailbox_app.outbound.tls.memory import DomainLevel, Level, TlsException, TlsMemory
from mailbox_app.outbound.transport import SmtpTransport
from tests.outbound.conftest import MakeLease
from tests.support.clock import FakeClock
from tests.support.dns import FakeResolver
from tests.support.outbound_tls import Recorder, outbound_tls
from tests.support.remote import FakeRemote

DAY = 86_400


class Site:
    def __init__(
        self, resolver: FakeResolver, remote: FakeRemote, offload: Offload, folder: Path, witness: Recorder,
        make_lease: MakeLease,
    ) -> None:  # fmt: skip
        self.resolver, self.remote, self.offload, self.folder = resolver, remote, offload, folder
        self.witness, self.make_lease, self.clock = witness, make_lease, FakeClock()
        self.restart()

    def restart(self, **changes: object) -> None:
        config = Delivery(port=self.remote.port, allow_private_addresses=True, **changes)  # type: ignore[arg-type]
        self.tls = outbound_tls(self.resolver, self.folder, config, self.offload, self.clock, [self.witness])
        self.transport = SmtpTransport(
            self.resolver, hostname="here.example", config=config, offload=self.offload, clock=self.clock, tls=self.tls
        )

    async def send(self, envelope: Envelope | None = None) -> Outcome:
        self.transport.close()
        [outcome] = await self.transport.deliver(self.make_lease(envelope=envelope))
        return outcome

    def level(self) -> DomainLevel:
        return TlsMemory(self.folder / "tls.db", self.clock).load("there.example").level


@pytest.fixture
async def site(
    resolver: FakeResolver, remote: FakeRemote, offload: Offload, tmp_path: Path, witness: Recorder,
    make_lease: MakeLease, server_tls: ssl.SSLContext,
) -> Site:  # fmt: skip
    """Encrypted on three days."""
    made = Site(resolver, remote, offload, tmp_path, witness, make_lease)
    remote.script.tls = server_tls
    for _ in range(3):
        assert (await made.send()).tls
        await made.send()
        made.clock.skip(DAY)
    return made


async def test_days_are_counted_not_messages(site: Site) -> None:
    assert (site.level().level, site.level().days) == (Level.ENCRYPTED, 3)


async def test_mail_waits_a_day_for_encryption_to_come_back_then_goes_and_the_memory_begins_anew(site: Site) -> None:
    site.remote.script.tls = None
    outcome = await site.send()
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.7.10")
    assert "there.example has taken mail encrypted since 2026-01-05 10:00" in outcome.text
    assert "until 2026-01-09 10:00 UTC" in outcome.text
    site.clock.skip(DAY - 100)
    site.restart()
    assert (await site.send()).fate is Fate.DEFERRED
    site.clock.skip(200)
    outcome = await site.send()
    assert (outcome.fate, outcome.tls) == (Fate.DELIVERED, "")
    assert (site.level().level, site.level().days) == (Level.CLEAR, 0)
    assert (await site.send()).fate is Fate.DELIVERED


async def test_encryption_that_comes_back_is_as_expected_as_before(site: Site, server_tls: ssl.SSLContext) -> None:
    site.remote.script.tls = None
    await site.send()
    site.remote.script.tls = server_tls
    assert (await site.send()).fate is Fate.DELIVERED
    assert site.level().missing_since_seconds == 0
    site.clock.skip(2 * DAY)
    site.remote.script.tls = None
    assert (await site.send()).fate is Fate.DEFERRED


async def test_nothing_is_expected_after_two_months_without_mail(site: Site) -> None:
    site.remote.script.tls = None
    site.clock.skip(61 * DAY)
    assert (await site.send()).fate is Fate.DELIVERED


async def test_waiting_can_be_switched_off(site: Site) -> None:
    site.restart(tls_downgrade_hold="0s")
    site.remote.script.tls = None
    assert (await site.send()).fate is Fate.DELIVERED


async def test_two_days_of_encryption_are_no_promise(
    resolver: FakeResolver, remote: FakeRemote, offload: Offload, tmp_path: Path, witness: Recorder,
    make_lease: MakeLease, server_tls: ssl.SSLContext,
) -> None:  # fmt: skip
    made = Site(resolver, remote, offload, tmp_path, witness, make_lease)
    for _ in range(2):
        remote.script.tls = server_tls
        await made.send()
        made.clock.skip(DAY)
    remote.script.tls = None
    assert (await made.send()).fate is Fate.DELIVERED


@pytest.mark.parametrize("optional", [True, False])
async def test_an_exception_or_the_authors_wish_lets_mail_go_at_once(site: Site, optional: bool) -> None:
    site.remote.script.tls = None
    if not optional:
        now = site.clock.epoch_seconds()
        site.tls.memory.put_exception(TlsException("there.example", now + DAY, now, False, "moving"))
    outcome = await site.send(Envelope("a@here.example", tls_optional=optional))
    assert outcome.fate is Fate.DELIVERED
    assert site.level().days == 3
    site.clock.skip(DAY + 1)
    assert (await site.send()).fate is Fate.DEFERRED


async def test_a_kept_clear_connection_of_a_wish_is_not_taken_by_other_mail(site: Site) -> None:
    site.remote.script.tls = None
    site.transport.close()
    await site.transport.deliver(site.make_lease(envelope=Envelope("a@here.example", tls_optional=True)))
    [outcome] = await site.transport.deliver(site.make_lease())
    assert outcome.fate is Fate.DEFERRED
    site.transport.close()


async def test_tls_that_keeps_failing_leads_to_clear_text_only_where_that_is_allowed_and_after_a_while(
    site: Site,
) -> None:
    site.remote.script.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # has no certificate
    for _ in range(4):
        assert (await site.send()).fate is Fate.DEFERRED
        site.clock.skip(6 * 3600)
    assert site.level().failures == 4
    site.restart(plain_after_tls_failure="2d")
    assert (await site.send()).fate is Fate.DEFERRED
    site.clock.skip(DAY)
    outcome = await site.send()
    assert (outcome.fate, outcome.tls) == (Fate.DELIVERED, "")
    assert {str(one.result) for one in site.witness.sessions[-2:]} == {"validation-failure"}


async def test_one_success_ends_the_count_of_failures(site: Site, server_tls: ssl.SSLContext) -> None:
    site.remote.script.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await site.send()
    assert site.level().failures == 1
    site.remote.script.tls = server_tls
    await site.send()
    assert (site.level().failures, site.level().failing_since_seconds) == (0, 0)


async def test_an_exception_may_also_allow_clear_text_where_tls_fails(site: Site) -> None:
    site.remote.script.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    now = site.clock.epoch_seconds()
    site.tls.memory.put_exception(TlsException("there.example", now + DAY, now, False, "x"))
    assert (await site.send()).fate is Fate.DEFERRED
    site.tls.memory.put_exception(TlsException("there.example", now + DAY, now, True, "x"))
    assert (await site.send()).fate is Fate.DELIVERED


def test_old_rows_are_dropped_and_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    clock = FakeClock()
    memory = TlsMemory(tmp_path / "tls.db", clock)
    now = clock.epoch_seconds()
    memory.put_exception(TlsException("a.example", now, now, False, "x"))
    memory.put_level(DomainLevel("a.example", Level.ENCRYPTED, now, 3, int(now // DAY)))
    memory.purge()
    assert memory.load("a.example").level.days == 3
    clock.skip(200 * DAY)
    memory.purge()
    found = memory.load("a.example")
    assert (found.level, found.exception) == (DomainLevel("a.example"), None)
    memory.close()
    (tmp_path / "tls.db").write_bytes(b"no database at all" * 1000)
    memory = TlsMemory(tmp_path / "tls.db", clock)
    assert memory.exceptions() == []
    assert (tmp_path / "tls.db.damaged").exists()
    memory.close()
