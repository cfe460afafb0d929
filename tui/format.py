"""How values look: cleaned text, fixed-width cells, ages, sizes, times, sparklines and bars.

Everything that came from outside the console goes through `clean` before it is measured or drawn: a control, bidi or
invisible character becomes one visible replacement mark, so that it can neither move the cursor nor break a column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from rich.cells import cell_len, set_cell_size

# C0, DEL, C1, direction marks and overrides, invisible separators, lone surrogates (not encodable), tag characters.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
REPLACEMENT = "\ufffd"

SPARK_UNICODE = "▁▂▃▄▅▆▇█"
SPARK_ASCII = "_.-=+*#"


def local_now() -> datetime:
    """The time of the operator's zone."""
    return datetime.now().astimezone()


def clean(text: str) -> str:
    """One line of text without control, bidi or invisible characters; each becomes a replacement mark."""
    return UNSAFE.sub(REPLACEMENT, text)


def clean_lines(text: str) -> list[str]:
    """A block of text as cleaned lines; tabs become spaces, any line end separates."""
    return [clean(line.replace("\t", "    ")) for line in re.split("\r\n|\n|\r", text)]


def fit(text: str, width: int, align: Literal["left", "right"] = "left") -> str:
    """`text` in exactly `width` cells: cut or padded with spaces."""
    if width <= 0:
        return ""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width)
    pad = " " * (width - length)
    return pad + text if align == "right" else text + pad


def span_text(seconds: float) -> str:
    """A duration in at most three characters: `9s`, `5m`, `6h`, `3d`, `14w`."""
    whole = int(abs(seconds))
    if whole < 60:
        text = f"{whole}s"
    elif whole < 3600:
        text = f"{whole // 60}m"
    elif whole < 172_800:
        text = f"{whole // 3600}h"
    elif whole < 86_400 * 100:
        text = f"{whole // 86_400}d"
    else:
        text = f"{whole // 604_800}w"
    return f"-{text}" if seconds < 0 and whole else text


def age(at: datetime | None, now: datetime) -> str:
    """How long ago `at` was; `-` when unknown."""
    return "-" if at is None else span_text(max(0.0, (now - at).total_seconds()))


def until(at: datetime | None, now: datetime) -> str:
    """How long until `at`: `now` in the last second, `-2m` when it is overdue."""
    if at is None:
        return "-"
    seconds = (at - now).total_seconds()
    return "now" if -60 < seconds < 1 else span_text(seconds)


def ago_words(seconds: float) -> str:
    """A duration in words, for sentences: `12 days`, `3 h`, `40 min`."""
    whole = int(seconds)
    if whole >= 172_800:
        return f"{whole // 86_400} days"
    if whole >= 7200:
        return f"{whole // 3600} h"
    if whole >= 120:
        return f"{whole // 60} min"
    return f"{whole} s"


def size(count: int | None) -> str:
    """Bytes in at most five characters: `812`, `12k`, `3.1M`, `41G`."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("", "k", "M", "G", "T", "P"):
        if value < 1000 or unit == "P":
            if unit in {"", "k"} or value >= 10:
                return f"{value:.0f}{unit}"
            return f"{value:.1f}{unit}"
        value /= 1024
    return "-"


def size_words(count: int | None) -> str:
    """Bytes for sentences: `41.2 GB`; `-` when unknown."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "KB", "MB", "GB", "TB", "PB"):
        if value < 1000 or unit == "PB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return "-"


def count(number: int | None) -> str:
    """A number with thousands separated: `1,240`."""
    return "-" if number is None else f"{number:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """`1 recipient`, `2,310 recipients`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def clock(at: datetime | None, now: datetime) -> str:
    """A local time: `18:41` today, `21 Nov` before, `-` when unknown."""
    if at is None:
        return "-"
    local, today = at.astimezone(now.tzinfo), now
    return f"{local:%H:%M}" if local.date() == today.date() else f"{local.day:2d} {local:%b}"


def stamp(at: datetime | None, now: datetime) -> str:
    """A local date and time for details: `22 Nov 18:41:07`."""
    if at is None:
        return "-"
    local = at.astimezone(now.tzinfo)
    return f"{local.day:2d} {local:%b %H:%M:%S}"


def day(at: datetime | None, now: datetime) -> str:
    """A local date with its year: `22 Nov 2026`."""
    if at is None:
        return "-"
    local = at.astimezone(now.tzinfo)
    return f"{local.day} {local:%b %Y}"


def spark(history: Sequence[int], width: int, *, ascii_only: bool) -> str:
    """The last values as one line of `width` bars; wider spans are summed into one bar, zero is always the lowest."""
    if width <= 0:
        return ""
    levels = SPARK_ASCII if ascii_only else SPARK_UNICODE
    values = [max(0, int(value)) for value in history]
    if not values:
        return levels[0] * width
    bars = [
        sum(
            values[
                index * len(values) // width : max(index * len(values) // width + 1, (index + 1) * len(values) // width)
            ]
        )
        for index in range(width)
    ]
    top = max(bars)
    if top == 0:
        return levels[0] * width
    last = len(levels) - 1
    return "".join(levels[0 if bar == 0 else max(1, round(bar * last / top))] for bar in bars)


def bar(fraction: float, width: int, *, ascii_only: bool) -> tuple[str, str]:
    """A progress bar as its filled and its empty part."""
    filled = min(width, max(0, round(fraction * width)))
    if ascii_only:
        return "#" * filled, "-" * (width - filled)
    return "━" * filled, "─" * (width - filled)


KEY_NAMES = {"escape": "esc", "pageup": "pgup", "pagedown": "pgdn"}


def display_key(key: str) -> str:
    """A key's name for people: `^p`, `esc`, `pgdn`."""
    return f"^{key[5:]}" if key.startswith("ctrl+") else KEY_NAMES.get(key, key)


def display_keys(keys: Sequence[str]) -> str:
    """All keys of an action: `j down`."""
    return " ".join(display_key(key) for key in keys)


STATES = {"deferred": "DEFR", "active": "SEND", "held": "HOLD", "quarantined": "QUAR"}


def state_word(state: str, next_at: datetime | None, now: datetime) -> tuple[str, str]:
    """A recipient's state as four letters and the role it is drawn in; overdue rows say `late`."""
    if state == "deferred" and next_at is not None and (now - next_at).total_seconds() > 60:
        return "late", "bad"
    role = {"deferred": "warn", "active": "ok", "held": "mark", "quarantined": "bad"}.get(state, "dim")
    return STATES.get(state, fit(state.upper(), 4)), role


def health_role(state: str) -> str:
    """The role a health word (`ok`, `WARN`, `BAD!`, `info`) is drawn in."""
    return {"ok": "ok", "WARN": "warn", "BAD!": "bad", "info": "accent"}.get(state.strip(), "dim")
