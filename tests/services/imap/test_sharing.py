from __future__ import annotations

import asyncio

import pytest

from mailbox_app.services.imap.sharing import Sharing


async def test_what_is_asked_in_one_turn_is_asked_once() -> None:
    sharing, calls = Sharing(), []

    async def read() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        return len(calls)

    assert await asyncio.gather(*(sharing.call("key", read) for _ in range(50))) == [1] * 50
    assert await sharing.call("key", read) == 2


async def test_a_later_turn_asks_anew_although_the_first_call_still_runs() -> None:
    sharing, gate, calls = Sharing(), asyncio.Event(), []

    async def read() -> int:
        calls.append(1)
        number = len(calls)
        await gate.wait()
        return number

    first = asyncio.ensure_future(sharing.call("key", read))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(sharing.call("key", read))
    await asyncio.sleep(0)
    gate.set()
    assert (await first, await second) == (1, 2)


async def test_everybody_gets_the_error_and_a_cancelled_asker_disturbs_nobody() -> None:
    sharing = Sharing()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError

    gone, stays = (asyncio.ensure_future(sharing.call("key", fail)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(ValueError):
        await stays
