"""The core tells the other processes what it counted, and hears from them, once a second; the fronts do so in their own round."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload

_SECONDS = 1.0


async def refresh_state(refreshes: Sequence[Callable[[], None]], offload: Offload, clock: Clock) -> None:
    """Until cancelled; none of them ever raises."""
    while True:
        await clock.sleep(_SECONDS)
        for refresh in refreshes:
            await offload.run(refresh)
