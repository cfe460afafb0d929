"""What the console says to the terminal itself: the clipboard by OSC 52, also through tmux.

Whether a terminal took the text cannot be seen, so the message never claims it and names the other ways.
"""

from __future__ import annotations

import base64
import os

CLIPBOARD_BYTES = 8 * 1024


def osc52(text: str) -> str:
    """The escape sequence that offers `text` to the clipboard; "" when it is too long. Inside tmux it is passed through as well."""
    data = text.encode("utf-8", "replace")
    if len(data) > CLIPBOARD_BYTES:
        return ""
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode()}\x07"
    if os.environ.get("TMUX"):
        sequence += "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return sequence


def copy_message(text: str) -> str:
    """What to tell the operator after `osc52`."""
    length = len(text.encode("utf-8", "replace"))
    if length > CLIPBOARD_BYTES:
        return f"{length} bytes are too many for the clipboard ({CLIPBOARD_BYTES}); o writes a file."
    hint = (
        " tmux needs `set -g set-clipboard on`."
        if os.environ.get("TMUX")
        else " If it did not arrive: o writes a file."
    )
    return f"Offered {length} bytes to the terminal's clipboard.{hint}"
