"""AUTH by SCRAM on submission, with channel binding: what RFC 4954 and RFC 5802 say together."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailbox_app.accounts.login import PasswordAuthenticator
from mailbox_app.accounts.passwords import Hasher
from mailbox_app.accounts.sasl import Sasl
from mailbox_app.db.offload import Offload
from mailbox_app.net.channel import exported
from tests.support.clock import FakeClock
from tests.support.sasl_client import ScramClient
from tests.support.smtp import Client, SmtpWorld, smtp_world

ALICE, PASSWORD = "alice@example.org", "correct horse battery"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmtpWorld]:
    async with smtp_world(tmp_path) as made:
        offload = Offload(2)
        made.directory.set_password(ALICE, "", Hasher().scram_keys(PASSWORD))
        logins = PasswordAuthenticator(made.directory, offload, FakeClock(), made.metrics)
        made.service.sasl = Sasl(logins, proofs=logins)
        yield made
        offload.close()


async def scram(client: Client, mechanism: str, login: ScramClient) -> tuple[int, str]:
    reached = await client.say(f"AUTH {mechanism} " + base64.b64encode(login.first()).decode())
    if reached[0] != 334:
        return reached
    reached = await client.say(base64.b64encode(login.final(base64.b64decode(reached[1]))))
    if reached[0] != 334:
        return reached
    assert login.check(base64.b64decode(reached[1]))
    return await client.say(b"")


@pytest.mark.parametrize("kind", ["submission", "submissions"])
async def test_scram_logs_in_bound_and_unbound(world: SmtpWorld, kind: str) -> None:
    for plus in (True, False):
        client = await world.connect(kind)
        if kind == "submission":
            await client.starttls()
        assert "AUTH SCRAM-SHA-256 SCRAM-SHA-1 " in await client.expect(250, "EHLO client.example")  # PLUS is not said
        binding = exported(client.writer.get_extra_info("ssl_object"))
        assert binding is not None
        login = ScramClient(ALICE, PASSWORD, binding=("tls-exporter", binding) if plus else None)
        assert await scram(client, "SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256", login) == (235, "2.7.0 Welcome")
        await client.expect(250, f"MAIL FROM:<{ALICE}>")


async def test_scram_refusals(world: SmtpWorld) -> None:
    client = await world.connect("submissions")
    assert (await scram(client, "SCRAM-SHA-256", ScramClient(ALICE, "wrong")))[0] == 535
    assert (await scram(client, "SCRAM-SHA-512", ScramClient(ALICE, PASSWORD)))[0] == 504
    await client.expect(334, "AUTH SCRAM-SHA-256")
    await client.expect(501, "*")
    await client.expect(334, "AUTH SCRAM-SHA-256")
    await client.expect(501, "")
    await client.expect(530, f"MAIL FROM:<{ALICE}>")


async def test_a_client_that_could_bind_need_not_where_plus_is_not_said(world: SmtpWorld) -> None:
    client = await world.connect("submissions")
    assert (await scram(client, "SCRAM-SHA-256", ScramClient(ALICE, PASSWORD, flag="y")))[0] == 235


async def test_nothing_is_offered_in_clear(world: SmtpWorld) -> None:
    client = await world.connect("submission")
    assert "AUTH" not in await client.expect(250, "EHLO client.example")
    login = base64.b64encode(ScramClient(ALICE, PASSWORD).first()).decode()
    await client.expect(538, f"AUTH SCRAM-SHA-256 {login}")
