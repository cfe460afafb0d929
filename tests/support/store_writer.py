"""A process that delivers in a loop through group commit and prints each acknowledged message; made to be killed.

usage: python -m tests.support.store_writer DATA_DIR NAME [COUNT]
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mailbox_app.clock import SystemClock
from mailbox_app.db.offload import GroupCommit, Offload
from mailbox_app.events.hints import Subscription
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.model import Appended

REF = AccountRef(AccountId(1), "example.org", "alice", 0)
WRITERS = 8


class SilentBus:
    """Nobody listens."""

    def publish(self, topic: str) -> None:
        """Drop the hint."""

    def subscribe(self, topic: str, callback: object) -> Subscription:
        """Not for this process."""
        raise NotImplementedError


def body(name: str) -> bytes:
    """A message that tells whether all of it is there."""
    return (
        f"Message-ID: <{name}@example.org>\r\nSubject: {name}\r\n\r\n".encode() + b"line of text\r\n" * 300 + b"end\r\n"
    )


async def main(data_dir: Path, prefix: str, count: int) -> None:
    """Deliver until killed, or `count` messages."""
    store = MaildirStore(data_dir, SilentBus(), hostname="mx.example.org", clock=SystemClock())
    offload = Offload()

    def commit(ref: AccountRef, items: list[NewMessage]) -> list[Appended | Exception]:
        return list(store.account(ref).append(items))

    group: GroupCommit[AccountRef, NewMessage, Appended] = GroupCommit(offload, commit)  # type: ignore[arg-type]
    numbers = iter(range(count))

    async def writer() -> None:
        for number in numbers:
            name = f"{prefix}-{number}"
            staged = await offload.run(store.stage, REF, Content(b"X-Trace: 1\r\n", body(name), 0))
            done = await group.submit(REF, NewMessage(staged, "INBOX"))
            sys.stdout.write(f"{done.uid} {name}\n")
            sys.stdout.flush()

    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    store.close()
    offload.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000))
