"""A DNS that never answers: every result is a temporary error in time, and nobody else waits for it."""

from __future__ import annotations

import asyncio

from mailbox_app.db.offload import Offload
from mailbox_app.mailauth.checks import SenderChecks
from mailbox_app.mailauth.results import Result
from mailbox_app.proto.header import Header
from tests.conformance.arc.building import Set, build
from tests.mailauth.zone import ZoneResolver


def checks(resolver: ZoneResolver, offload: Offload) -> SenderChecks:
    return SenderChecks(resolver, offload, "mx.example", check_private_clients=False)


class Silent(ZoneResolver):
    """Never answers, whatever is asked."""

    async def query(self, name, rdtype):
        self.asked.append((name, rdtype))
        await asyncio.Event().wait()


async def test_all_results_are_temporary_errors_at_the_deadline():
    offload = Offload(1)
    signature = b"DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=YWJj; b=YWJj\r\n"
    message = signature + build([Set()])
    block, _, body = message.partition(b"\r\n\r\n")
    found = await checks(Silent(), offload).check(
        remote_ip="192.0.2.1",
        helo="h.example",
        sender="a@a.example",
        header=Header.parse(block + b"\r\n\r\n"),
        body=body,
        timeout_seconds=0.05,
    )
    offload.close()
    assert set(found.words.values()) == {Result.TEMPERROR}
    assert found.spf.helo is not None
    assert found.spf.helo.result is Result.TEMPERROR
    assert found.summary == "spf=temperror dkim=temperror dmarc=temperror arc=temperror"


async def test_a_strangers_silent_name_servers_do_not_keep_the_authors_policy_back():
    offload = Offload(1)
    zone = {("_dmarc.a.example", "TXT"): ["v=DMARC1; p=reject"]}
    resolver = ZoneResolver(zone, silent=("stranger.test", "s._domainkey.stranger.test", "h.stranger.test"))
    header = (
        b"DKIM-Signature: v=1; a=rsa-sha256; d=stranger.test; s=s; h=from; bh=YWJj; b=YWJj\r\nFrom: a@a.example\r\n\r\n"
    )
    found = await checks(resolver, offload).check(
        remote_ip="192.0.2.1",
        helo="h.stranger.test",
        sender="x@stranger.test",
        header=Header.parse(header),
        body=b"",
        timeout_seconds=0.2,
    )
    offload.close()
    assert (found.spf.result, found.dkim[0].result) == (Result.TEMPERROR, Result.TEMPERROR)
    assert (found.dmarc.result, found.dmarc.disposition) == (Result.FAIL, "reject")


async def test_whether_a_stranger_is_the_author_is_not_asked_of_the_stranger():
    offload = Offload(1)
    zone = {
        ("_dmarc.a.example", "TXT"): ["v=DMARC1; p=reject"],
        ("stranger.example", "TXT"): ["v=spf1 ip4:192.0.2.1 -all"],
    }
    resolver = ZoneResolver(zone, silent=("_dmarc.stranger.example",))
    found = await checks(resolver, offload).check(
        remote_ip="192.0.2.1",
        helo="stranger.example",
        sender="x@stranger.example",
        header=Header.parse(b"From: a@a.example\r\n\r\n"),
        body=b"",
        timeout_seconds=0.5,
    )
    offload.close()
    assert (found.spf.result, found.dmarc.result, found.dmarc.disposition) == (Result.PASS, Result.FAIL, "reject")


async def test_spf_and_iprev_alone_have_their_deadline():
    offload = Offload(1)
    alone = checks(Silent(), offload)
    spf = await alone.spf(remote_ip="192.0.2.1", helo="h.example", sender="a@a.example", timeout_seconds=0.02)
    name = await alone.iprev("192.0.2.1", timeout_seconds=0.02)
    offload.close()
    assert (spf.result, spf.domain, name.result) == (Result.TEMPERROR, "a.example", Result.TEMPERROR)


async def test_results_that_are_there_are_not_asked_for_again():
    offload = Offload(1)
    resolver = ZoneResolver(
        {("a.example", "TXT"): ["v=spf1 ip4:192.0.2.1 -all"], ("h.example", "TXT"): ["v=spf1 -all"]}
    )
    all_checks = checks(resolver, offload)
    spf = await all_checks.spf(remote_ip="192.0.2.1", helo="h.example", sender="a@a.example", timeout_seconds=5)
    name = await all_checks.iprev("192.0.2.1", timeout_seconds=5)
    resolver.asked.clear()
    found = await all_checks.check(
        remote_ip="192.0.2.1",
        helo="h.example",
        sender="a@a.example",
        header=Header.parse(b"From: a@a.example\r\n\r\n"),
        body=b"x\r\n",
        timeout_seconds=5,
        spf=spf,
        iprev=name,
    )
    offload.close()
    assert (found.spf, found.iprev) == (spf, name)
    assert spf.helo is not None
    assert (spf.result, spf.helo.result, name.result) == (Result.PASS, Result.FAIL, Result.PERMERROR)
    assert {question for question, _ in resolver.asked} == {"_dmarc.a.example", "_dmarc.example"}
    assert b"spf=pass smtp.mailfrom=a@a.example;" in found.field
    assert b"spf=fail smtp.helo=h.example;" in found.field


async def test_a_greeting_that_is_no_name_has_no_policy():
    offload = Offload(1)
    resolver = ZoneResolver({})
    for helo in ("[192.0.2.1]", "localhost", "192.0.2.1", ""):
        spf = await checks(resolver, offload).spf(
            remote_ip="192.0.2.1", helo=helo, sender="a@a.example", timeout_seconds=5
        )
        assert spf.helo is not None
        assert spf.helo.result is Result.NONE
    offload.close()
    assert {name for name, _ in resolver.asked} == {"a.example"}
