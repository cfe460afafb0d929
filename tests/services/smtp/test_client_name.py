"""What scripts are told of the client: the name that its address confirms, else the one it gave. RFC 5183 4.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from mailbox_app.db.offload import Offload
from mailbox_app.events.bus import LocalBus
from mailbox_app.mailauth.checks import SenderChecks
from mailbox_app.store.maildir.backend import MaildirStore
from tests.support.clock import FakeClock
from tests.support.dns import FakeResolver
from tests.support.smtp import HOSTNAME, smtp_world

STRANGER = "198.51.100.7"
CONFIRMED: Mapping[tuple[str, str], Sequence[str]] = {
    ("7.100.51.198.in-addr.arpa", "PTR"): ["mx.good.example."],
    ("mx.good.example", "A"): [STRANGER],
}
ELSEWHERE: Mapping[tuple[str, str], Sequence[str]] = {("7.100.51.198.in-addr.arpa", "PTR"): ["mx.good.example."]}
SCRIPT = """require ["environment", "reject"];
if environment "remote-host" "mx.good.example" { reject "confirmed"; }
elsif environment "remote-host" "client.example" { reject "as it says"; }"""


@pytest.mark.parametrize(("zone", "told"), [(CONFIRMED, "confirmed"), (ELSEWHERE, "as it says")])
async def test_scripts_know_the_confirmed_name(
    tmp_path: Path, zone: Mapping[tuple[str, str], Sequence[str]], told: str
) -> None:
    offload = Offload(2)
    checks = SenderChecks(FakeResolver(zone), offload, HOSTNAME, check_private_clients=False)
    clock = FakeClock()
    store = MaildirStore(tmp_path, LocalBus(), hostname=HOSTNAME, clock=clock)
    settings = "[abuse]\ngreeting_delay_ms = 0\n"
    async with smtp_world(
        tmp_path, settings=settings, client_ip=STRANGER, clock=clock, sender_checks=checks, checks=[], store=store
    ) as world:
        account = world.directory.account("alice@example.org")
        assert account is not None
        world.filters.scripts.put(account.ref, "main", SCRIPT.encode())
        world.filters.scripts.activate(account.ref, "main")
        client = await world.connect()
        await client.begin("x@good.example", "alice@example.org")
        code, text = await client.content(b"From: x@good.example\r\nSubject: hello\r\n\r\nhi\r\n")
        assert code == 550
        assert told in text
        client.close()
    offload.close()
    store.close()
