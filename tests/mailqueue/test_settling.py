"""What a queue cannot record spoils nothing that is recorded with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from mailbox_app.db.offload import Offload
from mailbox_app.errors import QueueError
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import Envelope, Lease, QueuedMessage, Settlement
from mailbox_app.mailqueue.settling import Patience, Settling
from mailbox_app.observe.metrics import Metrics
from tests.support.clock import FakeClock


class Backend:
    """Records everything but what it never can."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.recorded: list[str] = []
        self.batches: list[int] = []

    def settle(self, settlements: Sequence[Settlement], now: datetime) -> Sequence[Lease]:
        self.batches.append(len(settlements))
        tokens = [settlement.lease.token for settlement in settlements]
        if "poison" in tokens:
            raise self.error
        self.recorded += tokens
        return ()


@pytest.fixture
async def offload() -> AsyncIterator[Offload]:
    made = Offload(4)
    yield made
    made.close()


def settlement(token: str, now: datetime) -> Settlement:
    message = QueuedMessage(QueueId(token), Envelope("a@here.example"), 1, now, now + timedelta(days=5), ())
    return Settlement(Lease(token, message, "", now), (), now)


@pytest.mark.parametrize(
    "error",
    [
        QueueError(
            "queue.refused", "the queue does not work now", temporary=True
        ),  # Redis' word about one script's run
        QueueError("queue.damaged", "it cannot be recorded"),
        ValueError("a bug"),
    ],
)
async def test_a_result_that_cannot_be_recorded_keeps_no_other_back(offload: Offload, error: Exception) -> None:
    clock, backend = FakeClock(), Backend(error)
    anything: Any = backend
    settling = Settling(anything, offload, clock, Patience(clock, Metrics()))
    tokens = ["poison", *(f"good{number}" for number in range(20))]
    tasks = {token: asyncio.create_task(settling.settle(settlement(token, clock.now()))) for token in tokens}
    done, _ = await asyncio.wait([tasks[token] for token in tokens[1:]], timeout=10)
    assert len(done) == 20
    assert sorted(backend.recorded) == sorted(tokens[1:])
    tasks["poison"].cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
