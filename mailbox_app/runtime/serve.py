"""`mailbox serve`: the daemon's entry for the command line; light to import.

`start` and with it the whole server are imported when they are called for.
"""

from __future__ import annotations

import sys


def serve(given_config: str | None = None, *, single: bool = False) -> int:
    """Run the daemon in the foreground until it is told to stop; the exit status."""
    # structlog takes rich along when it finds it (the console's toolkit brings it): 5 MB and 40 ms the daemon has no
    # use for. An entry of None makes the import fail, which structlog is prepared for.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from mailbox_app.runtime.start import start

    return start(given_config, single=single)
