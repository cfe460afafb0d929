"""`mailbox serve`: the daemon's entry for the command line; light to import.

`load_server` imports the whole server when it is called for.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

_WANTED_LATER = (
    "cryptography.x509",
    "encodings.ascii",
    "encodings.cp1250",
    "encodings.cp1251",
    "encodings.cp1252",
    "encodings.cp932",
    "encodings.cp949",
    "encodings.cp950",
    "encodings.gb18030",
    "encodings.idna",
    "encodings.iso2022_jp_ext",
    "encodings.iso8859_15",
    "encodings.iso8859_2",
    "encodings.koi8_r",
    "encodings.latin_1",
    "encodings.punycode",
    "encodings.unicode_escape",
)
"""What is imported at its first use: by then root is given up, and the user may not be allowed to read the program."""


def serve(given_config: str | None = None, *, single: bool = False) -> int:
    """Run the daemon in the foreground until it is told to stop; the exit status."""
    load_server()
    from mailbox_app.runtime.start import start

    return start(given_config, single=single)


def load_server() -> None:
    """Import everything the daemon needs, and not what it has no use for."""
    # structlog takes rich along when it finds it (the console's toolkit brings it): 5 MB and 40 ms. An entry of None
    # makes that import fail, which structlog is prepared for.
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    hidden = "rich" not in modules
    if hidden:
        modules["rich"] = None
    try:
        import mailbox_app.runtime.start  # noqa: F401
    finally:
        if hidden:
            del modules["rich"]
    for name in _WANTED_LATER:
        importlib.import_module(name)
