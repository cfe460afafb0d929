"""How urgent a user's message is: what goes to very many, or comes in one long run, leaves after what a person writes.

Nobody says of his own mail that it can wait, so it is told by its header, by how many it goes to, and by how much the same
account has just sent. It decides the order among what is due, nothing else: a run has its share of the deliveries at any time.
"""

from __future__ import annotations

from collections import OrderedDict

from mailbox_app.clock import Clock
from mailbox_app.ids import AccountId
from mailbox_app.mailqueue.model import Priority
from mailbox_app.proto.header import Header

MANY_RECIPIENTS = 20
"""Of one message that no person writes to one by one."""
RUN_MESSAGES = 30
"""Within a window; the next ones are a run."""
WINDOW_SECONDS = 300.0
_ACCOUNTS = 10_000
_LIST_KEYS = (b"list-id", b"list-unsubscribe", b"list-post")
_BULK_WORDS = frozenset({b"bulk", b"list", b"junk"})


class Urgency:
    """Remembers how much each account sent in this window and the one before; one per process, on its loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent: OrderedDict[AccountId, tuple[int, int, int]] = OrderedDict()
        """The window's number, messages in it, messages in the one before; who sent longest ago comes first."""

    def of(self, account_id: AccountId, header: Header, recipients: int) -> Priority:
        """The priority of one more message of this account."""
        is_run = self._count(account_id) > RUN_MESSAGES
        return Priority.BULK if is_run or recipients > MANY_RECIPIENTS or _is_automatic(header) else Priority.PERSON

    def _count(self, account_id: AccountId) -> int:
        """Messages of the last five to ten minutes, this one included."""
        window = int(self._clock.monotonic_seconds() / WINDOW_SECONDS)
        known, now, before = self._sent.pop(account_id, (window, 0, 0))
        if known != window:
            now, before = 0, now if known == window - 1 else 0
        self._sent[account_id] = (window, now + 1, before)
        if len(self._sent) > _ACCOUNTS:
            self._sent.popitem(last=False)
        return now + 1 + before


def _is_automatic(header: Header) -> bool:
    """A list's, a program's (RFC 3834 5), or bulk by its own word."""
    if any(header.count(key) for key in _LIST_KEYS):
        return True
    precedence = (header.first(b"precedence") or b"").strip().lower()
    automatic = (header.first(b"auto-submitted") or b"no").partition(b";")[0].strip().lower()
    return precedence in _BULK_WORDS or automatic != b"no"
