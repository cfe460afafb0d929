"""Who may not connect for now, with reason and expiry: shared by all processes and all protocols."""

from __future__ import annotations

from typing import Protocol


class Bans(Protocol):
    """The bans as this process knows them."""

    def why(self, remote_ip: str) -> str:
        """Why this client may not come in; "": it may. A look into memory."""
        ...
