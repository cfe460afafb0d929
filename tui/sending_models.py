"""What the daemon tells about signing keys and about addresses that nothing is sent to, as typed rows (`tui.models`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tui.models import int_of, text_of, when_of


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key of one domain, without its private half."""

    domain: str
    selector: str
    algorithm: str
    state: str
    created_at: datetime | None
    next: str
    record_name: str
    record_value: str

    @property
    def key(self) -> str:
        """A selector is never used twice within a domain."""
        return self.record_name

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> SigningKey:
        """From `dkim.list`."""
        return cls(
            domain=text_of(row, "domain"),
            selector=text_of(row, "selector"),
            algorithm=text_of(row, "algorithm"),
            state=text_of(row, "state"),
            created_at=when_of(row, "created_at"),
            next=text_of(row, "next"),
            record_name=text_of(row, "record_name"),
            record_value=text_of(row, "record_value"),
        )


@dataclass(frozen=True, slots=True)
class Suppression:
    """One outside address that nothing is sent to; `days` is 0 for an operator's own entry."""

    address: str
    days: int
    last_at: datetime | None
    text: str

    @property
    def key(self) -> str:
        """Its address."""
        return self.address

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Suppression:
        """From `suppression.list`."""
        return cls(text_of(row, "address"), int_of(row, "days"), when_of(row, "last_at"), text_of(row, "text"))
