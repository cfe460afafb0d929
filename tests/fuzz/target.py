"""A reader of outside input, for the fuzz run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Target(NamedTuple):
    """One reader. `group` is what `scripts/fuzz GROUP` names."""

    group: str
    name: str
    read: Callable[[bytes], None]
    corpus: Sequence[bytes]
