"""A report about a crash of the console that can be shown to others: where it happened, never what the data was.

Local variables are left out; the exception's text is kept only as its type, because it may quote mail or credentials.
"""

from __future__ import annotations

import os
import platform
import tempfile
import traceback


def write_report(error: BaseException | None) -> str:
    """Write the report to a new file with mode 0600; returns the one sentence for the operator."""
    if error is None:
        return "mailbox: the console stopped because of an internal error."
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"python {platform.python_version()}", f"error  {type(error).__module__}.{type(error).__qualname__}"]
    lines += [f"at     {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    try:
        descriptor, path = tempfile.mkstemp(prefix="mailbox-console-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except OSError:
        return f"mailbox: the console stopped, internal error {type(error).__name__}; no report could be written."
    return (
        f"mailbox: the console stopped, internal error {type(error).__name__}; a report without mail data is in {path}."
    )
