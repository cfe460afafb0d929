"""Defects of earlier servers that must not come back, each from the wire to the mailbox: D9, D10, D15, D20 and D21 by number."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email import message_from_bytes
from pathlib import Path

import pytest

from mailbox_app.config.schema import Sieve
from mailbox_app.proto.sieve.faults import SieveError
from mailbox_app.proto.sieve.script import compile_script
from tests.support.filtered import ALICE, BOB, CAROL, DAVE, MESSAGE, FilteredWorld, filtered_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FilteredWorld]:
    async with filtered_world(tmp_path) as made:
        yield made


NESTED = [
    # a false inner test must not act
    ('if true { if false { fileinto "Wrong"; } }', {"INBOX": 1}),
    ('if false { if true { fileinto "Wrong"; } }', {"INBOX": 1}),
    # else and elsif have bodies
    ('if false { fileinto "Wrong"; } else { fileinto "Right"; }', {"Right": 1}),
    ('if false { fileinto "Wrong"; } elsif true { fileinto "Right"; } else { fileinto "Wrong"; }', {"Right": 1}),
    ('if true { if false { discard; } else { fileinto "Right"; } } else { fileinto "Wrong"; }', {"Right": 1}),
    # actions outside an if count, and stop stops
    ('fileinto "Right";', {"Right": 1}),
    ('fileinto "Right"; stop; fileinto "Wrong";', {"Right": 1}),
    ('if true { stop; } fileinto "Wrong";', {"INBOX": 1}),
]


@pytest.mark.parametrize(("source", "places"), NESTED)
async def test_d9_conditions_branches_and_stop_hold(world: FilteredWorld, source: str, places: dict[str, int]) -> None:
    for name in ("Right", "Wrong"):
        world.stored(ALICE).create(name)
    world.script('require "fileinto"; ' + source)
    assert (await world.send())[0] == 250
    assert world.counts() == places


async def test_d9_flags_and_text_blocks_are_not_lost(world: FilteredWorld) -> None:
    world.script(
        'require ["imap4flags", "vacation"]; addflag "\\\\Flagged";\r\n'
        "vacation text:\r\nTwo\r\n..lines\r\n.\r\n;"
    )  # fmt: skip
    assert (await world.send())[0] == 250
    assert world.flags("INBOX") == [(4, ())]
    assert message_from_bytes(world.smtp.queued_content()[0]).get_payload().split() == ["Two", ".lines"]


@pytest.mark.parametrize("garbage", ["hello", "if { }", "}{", 'keep; "', "\x00\x01", "if true keep;", 'fileinto "x";'])
def test_d9_what_is_no_script_is_refused_with_its_place(garbage: str) -> None:
    with pytest.raises(SieveError) as error:
        compile_script(garbage)
    assert (error.value.line, error.value.column) >= (1, 1)


@pytest.mark.parametrize(
    "author", [b'"Carol, of remote" <carol@remote.example>', b"Carol <carol@remote.example>", b"<victim@third.example>"]
)
async def test_d10_a_vacation_answer_goes_to_the_envelope_sender(world: FilteredWorld, author: bytes) -> None:
    world.script('require "vacation"; vacation "away";')
    content = MESSAGE.replace(b"Carol <carol@remote.example>", author)
    assert (await world.send(content=content))[0] == 250
    assert world.queued() == [("", CAROL, "smtp")]
    assert message_from_bytes(world.smtp.queued_content()[0])["To"] == f"<{CAROL}>"


async def test_d15_mail_that_comes_in_has_its_trace_and_results(world: FilteredWorld) -> None:
    assert (await world.send())[0] == 250
    (stored,) = world.messages()
    header = message_from_bytes(stored)
    assert header["Return-Path"] == f"<{CAROL}>"
    assert "by mail.example.org" in header["Received"]
    looping = b"".join(b"Received: from a by b; Mon, 5 Jan 2026 10:00:00 +0000\r\n" for _ in range(120)) + MESSAGE
    assert (await world.send(content=looping))[0] == 554


async def test_d20_a_copy_that_finds_no_room_is_not_lost_behind_another_that_does(tmp_path: Path) -> None:
    async with filtered_world(tmp_path) as world:
        world.smtp.directory.set_quota(BOB, 1)
        assert (await world.send(ALICE, BOB))[0] == 250
        assert world.counts() == {"INBOX": 1}
        assert [(address, transport) for _, address, transport in world.queued()] == [(BOB, "local")]


@pytest.mark.parametrize(("sieve", "others"), [(None, ()), (None, (DAVE,)), (Sieve(), (BOB,))])
async def test_d21_a_refusal_by_script_is_final(tmp_path: Path, sieve: Sieve | None, others: tuple[str, ...]) -> None:
    async with filtered_world(tmp_path, sieve) as world:
        world.script('require "reject"; reject "no thanks";')
        code, text = await world.send(ALICE, *others)
        if others:  # served for all: nobody retries
            assert (code, world.counts(), world.queued()) == (250, {"Junk": 1}, [])
            assert world.counts(others[0]) == {"INBOX": 1}
        else:
            assert (code, text) == (550, "5.7.1 no thanks")
            assert (world.counts(), world.queued()) == ({}, [])
