"""What a control method is: a name, typed parameters and result, and whether it changes something.

The whole set is printed as JSON Schema by the method `schema`, which is also what the contract test walks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
"""A number of things or a place among them; what JSON readers keep exactly."""
Progress = Callable[[int, int, str], Awaitable[None]]


class Params(Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of all parameters: an unknown name is a mistake, not a wish to be ignored."""


class NoParams(Params):
    """For methods without parameters."""


@dataclass(slots=True)
class Call:
    """One request on its way: who asks, and what its audit entry will say. Handlers of changes fill the lower half."""

    user: str
    uid: int
    via: str
    progress: Progress
    before: object = None
    """The state before and after, as plain data; never a secret."""
    after: object = None
    detail: str = ""
    what: str = ""
    """The act's name where one method does several; empty: the method's."""
    object: str = ""
    """What is changed: an address, a domain, a key. Set it before anything can fail."""


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the protocol."""

    name: str
    params: type[Struct]
    result: type[Struct]
    handler: Callable[..., Awaitable[Struct]]
    """`async handler(context, call, params)`; raises `MailboxError` to refuse."""
    doc: str
    changes: bool = False
    """True: one audit entry for each call, also for a failed one."""
