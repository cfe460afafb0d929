"""What the fixture daemon's parts share: refusing a request, and times as the protocol writes them."""

from __future__ import annotations

from datetime import UTC, datetime


class Refusal(Exception):
    """Answered as an error frame."""

    def __init__(self, code: str, text: str, remedy: str) -> None:
        super().__init__(text)
        self.frame = {"code": code, "text": text, "remedy": remedy, "temporary": False}


def iso(at: datetime) -> str:
    """ISO 8601, UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
