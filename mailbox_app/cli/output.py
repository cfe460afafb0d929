"""Prints what a command found: aligned tables, JSON, sizes and times. Everything that is printed is cleaned first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click

from mailbox_app.proto.plain_text import clean, clean_lines

_DURATION = re.compile(r"(\d+)\s*(s|m|h|d|w)?")
_DURATION_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)

json_option = click.option("--json", "as_json", is_flag=True, help="The answer as JSON.")


def print_json(value: object) -> None:
    """For programs: the protocol's own field names."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Left-aligned columns, numbers right; the sentence `empty` when there are no rows."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        click.echo(empty)
        return
    widths = [max(len(heading), *(len(row[column]) for row in cells)) for column, heading in enumerate(headings)]
    right = [all(_is_number(row[column]) for row in cells) for column in range(len(headings))]
    click.echo(_line(headings, widths, right))
    for row in cells:
        click.echo(_line(row, widths, right))


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Names and values below each other."""
    pairs = [(name, _cell(value)) for name, value in fields]
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name.ljust(width)}  {value}".rstrip())


def print_lines(text: str) -> None:
    """Text of several lines, as it is but for what could harm a terminal."""
    click.echo(clean_lines(text))


def size(count: int | None) -> str:
    """Bytes for people: 12 kB, 3.1 MB."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"


def time(text: str | None) -> str:
    """A protocol time as 2026-11-22 18:40Z: UTC, and it says so."""
    if not text:
        return "-"
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%MZ")


def duration(seconds: float) -> str:
    """40 s, 5 min, 3 h, 12 d."""
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


class Duration(click.ParamType[float]):
    """90, 90s, 5m, 2h, 3d, 1w, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        match = _DURATION.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is no time; write 90s, 5m, 2h, 3d or 1w", param, ctx)
        return float(int(match[1]) * _DURATION_SECONDS[match[2] or "s"])


class Size(click.ParamType[int]):
    """500M, 2G, 1048576; 0 or none for no limit, in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes."""
        if str(value).lower() in {"none", "0"}:
            return 0
        match = _SIZE.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is no size; write 500M or 2G, or none", param, ctx)
        return int(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " "))


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else clean(str(value))


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(".", "", 1).isdigit()


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = [
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    ]
    return "  ".join(parts).rstrip()
