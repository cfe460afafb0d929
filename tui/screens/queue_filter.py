"""The filter typed after `/` in the queue, turned into the filter the daemon understands."""

from __future__ import annotations

import re
from typing import Any

FIELDS = ("from", "to", "submitter", "domain", "state", "older", "id")
STATES = {
    "defr": "deferred",
    "deferred": "deferred",
    "send": "active",
    "active": "active",
    "hold": "held",
    "held": "held",
    "quar": "quarantined",
    "quarantined": "quarantined",
}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_filter(text: str) -> dict[str, Any]:
    """`from:ann domain:example.net state:held older:2h words`; raises ValueError with a sentence for a person."""
    params: dict[str, Any] = {}
    words: list[str] = []
    for word in text.split():
        name, colon, value = word.partition(":")
        if not colon or name not in FIELDS:
            if word.startswith(("!", "~")):
                raise ValueError("The queue cannot be filtered by ! or ~; fields: " + ", ".join(FIELDS) + ".")
            words.append(word)
        elif not value:
            raise ValueError(f"{name}: needs a value.")
        elif name == "state":
            if value.lower() not in STATES:
                raise ValueError("state: is deferred, active, held or quarantined.")
            params["state"] = STATES[value.lower()]
        elif name == "older":
            params["older_than_seconds"] = duration(value)
        elif name == "id":
            params["ids"] = value.split(",")
        else:
            params[name] = value
    if words:
        params["text"] = " ".join(words)
    return params


def duration(text: str) -> int:
    """`90`, `5m`, `2h`, `3d` in seconds; raises ValueError with a sentence."""
    found = re.fullmatch(r"(\d{1,7})([smhdw]?)", text)
    if not found:
        raise ValueError("older: takes a duration such as 30m, 2h or 3d.")
    return int(found[1]) * UNITS[found[2] or "s"]
