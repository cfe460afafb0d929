"""The filter typed after `/` in the log, turned into the search the daemon understands."""

from __future__ import annotations

import re
from typing import Any

from tui.screens.queue_filter import duration

OUTCOMES = {
    "accepted": "accepted",
    "ok": "accepted",
    "junk": "junk",
    "deferred": "deferred",
    "defr": "deferred",
    "refused": "refused",
    "deny": "refused",
}
WORD_FIELDS = ("user", "from", "to", "ip", "id", "qid", "msgid", "domain")
MOST_WORDS = 10
RECEIVED = re.compile(r"\bid\s+([A-Za-z0-9]{6,40})\b")
"""What `Received:` lines name the message by."""


def parse_filter(text: str) -> dict[str, Any]:
    """`ann@example.net @example.org 192.0.2.1 outcome:junk since:2h`; raises ValueError with a sentence for a person."""
    if text.lstrip().lower().startswith("received:") and (found := RECEIVED.search(text)):
        return {"words": [found[1]]}
    params: dict[str, Any] = {}
    words: list[str] = []
    for word in text.split():
        name, colon, value = word.partition(":")
        if word.lower() in OUTCOMES:
            params["outcome"] = OUTCOMES[word.lower()]
        elif not colon or name not in (*WORD_FIELDS, "outcome", "since", "until"):
            words.append(word)
        elif not value:
            raise ValueError(f"{name}: needs a value.")
        elif name == "outcome":
            if value.lower() not in OUTCOMES:
                raise ValueError("outcome: is accepted, junk, deferred or refused.")
            params["outcome"] = OUTCOMES[value.lower()]
        elif name in {"since", "until"}:
            params[f"{name}_seconds"] = duration(value)
        else:
            words.append(_word(name, value))
    if len(words) > MOST_WORDS:
        raise ValueError(f"The log takes {MOST_WORDS} words at most.")
    if words:
        params["words"] = words
    return params


def _word(name: str, value: str) -> str:
    if name == "domain":
        return "@" + value.lstrip("@")
    if name == "msgid":
        return f"<{value.strip('<>')}>"
    return value
