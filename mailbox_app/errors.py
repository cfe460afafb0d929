"""The one family of errors.

An error knows its answer: a stable dotted `code` for programs, a `public_text` that may be shown to strangers
(no paths, hosts, SQL or class names), whether it is temporary, and free `fields` for the log. Only the session
shells turn one into wire text. The cause is always chained.
"""

from __future__ import annotations

from collections.abc import Mapping


class MailboxError(Exception):
    """Root of all expected errors. Local trouble (disk, locks, our own bugs) is `temporary`: a 4xx on the wire."""

    def __init__(
        self, code: str, public_text: str, *, temporary: bool = False, fields: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(f"{code}: {public_text}")
        self.code = code
        self.public_text = public_text
        self.temporary = temporary
        self.fields: Mapping[str, object] = dict(fields or {})


class StoreError(MailboxError):
    """The store could not do it: `store.over_quota`, `store.no_such_mailbox`, `store.busy`, `store.full`, ..."""


class QueueError(MailboxError):
    """The queue could not take, claim or settle: `queue.full`, `queue.busy`, `queue.no_such_id`, ..."""


class AccountError(MailboxError):
    """The directory refused: `account.exists`, `account.no_such_address`, `account.bad_password`, ..."""


class ProtocolError(MailboxError):
    """The peer broke a protocol's grammar or limits; never temporary."""


class ConfigError(MailboxError):
    """A configuration that does not validate; the text names file, line and key."""


class ResolveError(MailboxError):
    """DNS could not answer (always temporary); a name that does not exist is an answer, not an error."""


class ControlError(MailboxError):
    """A control method's refusal, carried to the client as an error object."""
