"""Writing the current view to a file: csv, json or text, fetched page by page, mode 0600, never over an existing file.

Cells that a spreadsheet would run as a formula get an apostrophe in front; text is cleaned like on the screen.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tui.client import CallError
from tui.desk import Desk
from tui.format import clean, count, plural
from tui.models import rows_of
from tui.widgets.prompt_row import Question

Format = Literal["csv", "json", "txt"]
Fetch = Callable[[int, int], Awaitable[dict[str, Any]]]
PAGE_ROWS = 500
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(value: object) -> str:
    """A value as one cleaned csv cell that no spreadsheet runs."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    text = clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return "'" + text if text.startswith(FORMULA) else text


def render(rows: Sequence[Mapping[str, Any]], fields: Sequence[str], kind: Format) -> str:
    """Some rows in one format, without head and tail."""
    if kind == "json":
        return "".join(json.dumps({name: row.get(name) for name in fields}) + "\n" for row in rows)
    if kind == "csv":
        out = io.StringIO()
        csv.writer(out).writerows([cell(row.get(name)) for name in fields] for row in rows)
        return out.getvalue()
    return "".join("  ".join(cell(row.get(name)) or "-" for name in fields) + "\n" for row in rows)


def head(fields: Sequence[str], kind: Format) -> str:
    """What stands before the rows."""
    return {"csv": ",".join(fields) + "\r\n", "json": "", "txt": "  ".join(fields) + "\n"}[kind]


def create(path: Path, text: str) -> None:
    """A new file only its owner can read; raises OSError when it exists."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def append(path: Path, text: str) -> None:
    """More rows."""
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)


class Exporter:
    """Asks for the format, then writes all rows of a view."""

    def __init__(self, desk: Desk, name: str, fields: Sequence[str], folder: Path | None = None) -> None:
        self._desk = desk
        self._name = name
        self._fields = fields
        self._folder = folder or Path.home()

    def ask(self, fetch: Fetch, key: str) -> None:
        """One key chooses the format; `key` names the rows in the answer."""

        def chosen(kind: Format) -> Callable[[], None]:
            def start() -> None:
                self._desk.prompt.run_worker(self._run(fetch, key, kind), group="export")

            return start

        keys = {"c": chosen("csv"), "j": chosen("json"), "t": chosen("txt")}
        self._desk.prompt.ask(
            Question(
                "Export this view as", keys, "c csv, j json lines, t text, else cancels", "text", "No file was written."
            )
        )

    async def _run(self, fetch: Fetch, key: str, kind: Format) -> None:
        path = self._folder / f"mailbox-{self._name}-{self._desk.now():%Y%m%d-%H%M%S}.{kind}"
        written = 0
        try:
            await asyncio.to_thread(create, path, head(self._fields, kind))
            while True:
                answer = await fetch(written, PAGE_ROWS)
                rows = rows_of(answer, key)
                if not rows:
                    break
                await asyncio.to_thread(append, path, render(rows, self._fields, kind))
                written += len(rows)
                total = answer.get("total")
                if isinstance(total, int) and written >= total:
                    break
                self._desk.prompt.say(f"Exporting, {count(written)} of {count(total)} rows.")
        except CallError as error:
            self._desk.prompt.say(f"{error.sentence()} {plural(written, 'row')} are in {path}.", "bad")
        except OSError as error:
            self._desk.prompt.say(f"Cannot write {path}: {error.strerror}.", "bad")
        else:
            self._desk.prompt.say(f"Wrote {plural(written, 'row')} to {path}, only you can read it.", "ok")
