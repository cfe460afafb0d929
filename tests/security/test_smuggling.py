"""SMTP smuggling: every combination of CR, LF and dots that some server takes for the end of a message.

Inbound: no such sequence ends our DATA or BDAT, whatever the port and however the bytes are cut. Outbound: whatever the queue
holds, what goes over the wire has one end of data, at its end, for servers of every habit.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.outbound.dot_stuffing import DotStuffer
from mailbox_app.proto.smtp.dot_stream import DotStream, stuff
from tests.support.smtp import Client, SmtpWorld, smtp_world

ENDS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\n\n",
    b"\r\r",
    b"\n\r",
    b"\r\r\n",
    b"\n\r\n",
    b"\0\r\n",
    b"\r\n\0",
    b"\0\n",
    b"\r\0\n",
]
DOTS = [b".", b"..", b".\0"]
TRUE_END = re.compile(rb"\r\n\.\r\n")
VARIANTS = [
    first + dots + second
    for first, dots, second in itertools.product(ENDS, DOTS, ENDS)
    if not TRUE_END.search(first + dots + second)
    and (first, dots) != (b"\r\n", b"..")  # a stuffed dot: rightly content
]
SECOND = (
    b"MAIL FROM:<evil@remote.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n.\r\n"
)
HABITS = {
    "CR LF only": rb"\r\n\.\r\n",
    "LF ends lines": rb"\n\.\r?\n",
    "CR ends lines": rb"(?:\r|\n)\.(?:\r|\n)",
    "CR is dropped": rb"\n\r*\.\r*\n",
    "NUL is dropped": rb"\r\n\0*\.\0*\r\n",
}
"""How servers find the end of data, or have found it."""


def test_there_are_enough_variants() -> None:
    assert len(set(VARIANTS)) >= 300


def table(results: dict[str, list[int]]) -> None:
    print("\ndoor                  variants  smuggled")  # noqa: T201 - pytest -s shows it
    for door, (tried, smuggled) in results.items():
        print(f"{door:<22}{tried:>8}{smuggled:>10}")  # noqa: T201


def of_door(door: str) -> list[bytes]:
    """All of them where strangers are; one in five where each is a message in a mailbox."""
    return VARIANTS if door == "smtp" else VARIANTS[::5]


async def replies(client: Client, count: int) -> list[int]:
    return [(await client.reply())[0] for _ in range(count)]


async def opened(world: SmtpWorld, door: str) -> Client:
    return await world.connect() if door == "smtp" else await world.logged_in(door)


def sender_of(door: str) -> str:
    return "carol@remote.example" if door == "smtp" else "alice@example.org"


@pytest.mark.parametrize("door", ["smtp", "submission", "submissions"])
async def test_no_false_end_of_data_lets_a_second_message_in(tmp_path: Path, door: str) -> None:
    """Pipelined, all at once; on submission lone CR and LF are mended, so the message is taken, whole and alone."""
    async with smtp_world(tmp_path) as world:
        client = await opened(world, door)
        for number, variant in enumerate(variants := of_door(door)):
            if number % 15 == 14:
                client.close()
                client = await opened(world, door)
            await client.begin(sender_of(door))
            await client.expect(354, "DATA")
            await client.send(b"From: alice@example.org\r\n\r\nhi" + variant + SECOND + b"NOOP\r\n")
            code, text = await client.reply()
            mended = door != "smtp" and b"\0" not in variant
            assert code == (250 if mended else 554), (variant, text)
            assert await replies(client, 1) == [250], variant
        taken = world.inbox("alice@example.org")
        table({f"{door}, DATA": [len(variants), len(world.inbox("bob@example.org"))]})
        assert not world.inbox("bob@example.org")
        assert len(taken) == (0 if door == "smtp" else sum(b"\0" not in variant for variant in variants))
        for message in taken:
            assert message.count(b"\r") == message.count(b"\n") == message.count(b"\r\n")
            assert b"MAIL FROM:<evil" in message  # content, where it belongs


@pytest.mark.parametrize("door", ["smtp", "submission"])
async def test_counted_content_ends_where_the_count_says(tmp_path: Path, door: str) -> None:
    async with smtp_world(tmp_path) as world:
        client = await opened(world, door)
        for number, variant in enumerate(variants := of_door(door)):
            if number % 15 == 14:
                client.close()
                client = await opened(world, door)
            content = b"From: alice@example.org\r\n\r\nhi" + variant + SECOND
            await client.begin(sender_of(door))
            half = len(content) // 2
            pieces = [
                b"BDAT %d\r\n" % half + content[:half],
                b"BDAT %d LAST\r\n" % (len(content) - half) + content[half:],
            ]
            await client.send(b"".join(pieces) + b"NOOP\r\n")
            codes = await replies(client, 3)
            assert codes[-1] == 250, variant
            assert codes[1] == (250 if door != "smtp" and b"\0" not in variant else 554), variant
        table({f"{door}, BDAT": [len(variants), len(world.inbox("bob@example.org"))]})
        assert not world.inbox("bob@example.org")


@pytest.mark.parametrize("repair", [False, True])
def test_cuts_at_any_byte_change_nothing(repair: bool) -> None:
    for variant in VARIANTS:
        data = b"a\r\n\r\nhi" + variant + b"NOOP\r\n.\r\nREST"
        whole = fed(data, [len(data)], repair=repair)
        assert whole[2] == b"REST"
        for cut in range(1, len(data)):
            assert fed(data, [cut, len(data)], repair=repair) == whole, (variant, cut)
        assert fed(data, list(range(1, len(data) + 1)), repair=repair) == whole


def fed(data: bytes, ends: list[int], *, repair: bool) -> tuple[bool, bytes, bytes]:
    stream, content, start, rest = DotStream(repair=repair), b"", 0, b""
    for end in ends:
        if stream.done:
            rest += data[start:end]
        else:
            content += stream.feed(data[start:end])
        start = end
    assert stream.done
    return bool(stream.fault), b"" if stream.fault else content, stream.rest + rest


def contents() -> Iterator[bytes]:
    for variant in VARIANTS:
        yield b"From: a@b.example\r\n\r\nhi" + variant + SECOND[:-5]
        yield b"From: a@b.example\r\n\r\nhi" + variant
        yield variant + b"x"


def test_nothing_in_the_queue_leaves_as_two_messages() -> None:
    smuggled = dict.fromkeys(HABITS, 0)
    count = 0
    for content in contents():
        for step in (len(content), 1, 2, 3):
            stuffer = DotStuffer()
            pieces = [stuffer.chunk(content[start : start + step]) for start in range(0, len(content), step)]
            wire = b"".join(pieces) + stuffer.end()
            count += 1
            assert wire.count(b"\r") == wire.count(b"\n") == wire.count(b"\r\n")
            for habit, pattern in HABITS.items():
                smuggled[habit] += not ends_once(pattern, wire)
    table({habit: [count, number] for habit, number in smuggled.items()})
    assert not any(smuggled.values())


def ends_once(pattern: bytes, wire: bytes) -> bool:
    """One end of data, and behind it nothing but the rest of that line's end."""
    ends = [found.end() for found in re.finditer(pattern, wire)]
    return len(ends) == 1 and wire[ends[0] :] in (b"", b"\n")


async def test_what_was_mended_on_submission_leaves_clean(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        client = await world.logged_in("submission")
        for variant in (b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r"):
            await client.begin("alice@example.org", "x@outside.example")
            await client.expect(354, "DATA")
            await client.send(b"From: alice@example.org\r\n\r\nhi" + variant + b"behind\r\n.\r\n")
            assert (await client.reply())[0] == 250
        queued = await asyncio.to_thread(world.queued_content)
        assert len(queued) == 5
        for content in queued:
            stuffer = DotStuffer()
            wire = stuffer.chunk(content) + stuffer.end()
            assert wire == stuff(content)
            assert all(ends_once(pattern, wire) for pattern in HABITS.values())
            assert b"behind\r\n" in content
