"""The panes of the screen Spam: what each asks the daemon, how its rows look, what an empty one says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tui.models import int_of
from tui.spam_models import Allowance, Ban, Cell, Check, DnsList, Held, Waiting
from tui.widgets.window_list import Column

WIDE = 110


@dataclass(frozen=True, slots=True)
class Pane:
    """One of them."""

    name: str
    method: str
    rows: str
    """The key of the rows in the method's answer."""
    read: Callable[[Mapping[str, Any]], Held]
    columns: Sequence[tuple[str, int]]
    """Title and width; 0 takes what is left."""
    wide_columns: Sequence[tuple[str, int]]
    fields: Sequence[str]
    """What an export writes."""
    verbs: frozenset[str]
    """Actions of the scope `spam` that mean something here, beside undo."""
    empty: tuple[str, str]
    counted: str = ""
    """Its number in the topic `spam`."""
    paged: bool = False
    """The daemon gives pages and filters; else one answer holds all."""

    def columns_for(self, width: int) -> Sequence[Column[Held]]:
        """The list's columns."""

        def cell(title: str) -> Callable[[Held, datetime], Cell]:
            return lambda row, now: row.cell(title, now)

        chosen = self.wide_columns if width >= WIDE else self.columns
        right = {"SINCE", "TRY", "PASSES", "LEFT"}
        return [
            Column(title, size, cell(title), "right" if size and title in right else "left") for title, size in chosen
        ]


PANES: Sequence[Pane] = (
    Pane(
        "greylist",
        "greylist.list",
        "waiting",
        Waiting.read,
        (("SINCE", 5), ("TRY", 3), ("PASSES", 6), ("FROM", 0), ("TO", 0), ("WHY", 0)),
        (("SINCE", 5), ("TRY", 3), ("PASSES", 6), ("CLIENT", 18), ("FROM", 0), ("TO", 0), ("WHY", 0)),
        (
            "greylist_id",
            "sender",
            "recipient",
            "remote_ip",
            "origin",
            "reason",
            "first_at",
            "last_at",
            "attempts",
            "passes_at",
        ),
        frozenset({"spam.let-in", "spam.allow", "spam.ban"}),
        ("Nobody waits.", "Strangers that look risky are asked to come back; they appear here."),
        "waiting",
        paged=True,
    ),
    Pane(
        "exempt",
        "greylist.allowed",
        "allowed",
        Allowance.read,
        (("KIND", 9), ("WHO", 0), ("SINCE", 11), ("NOTE", 0)),
        (("KIND", 9), ("WHO", 0), ("SINCE", 11), ("NOTE", 0)),
        ("kind", "value", "note", "created_at"),
        frozenset({"spam.add", "spam.remove"}),
        ("Nobody is exempt from greylisting by hand.", "a adds a sender, domain, network or recipient."),
        "allowed",
    ),
    Pane(
        "bans",
        "ban.list",
        "bans",
        Ban.read,
        (("NETWORK", 20), ("BY", 8), ("SINCE", 5), ("LEFT", 5), ("WHY", 0)),
        (("NETWORK", 30), ("BY", 10), ("SINCE", 5), ("LEFT", 5), ("WHY", 0)),
        ("network", "source", "reason", "made_at", "expires_at", "without_effect"),
        frozenset({"spam.add", "spam.remove"}),
        ("Nobody is banned.", "a bans a network; guessing passwords and hopeless clients bring bans by themselves."),
        "bans",
        paged=True,
    ),
    Pane(
        "checks",
        "policy.show",
        "checks",
        Check.read,
        (("CHECK", 22), ("MODE", 9), ("LOOKS AT", 18), ("WHAT", 0)),
        (("CHECK", 24), ("MODE", 9), ("LOOKS AT", 20), ("WHAT", 0)),
        ("name", "stage", "mode", "default_mode", "doc"),
        frozenset({"spam.mode"}),
        ("There are no checks.", "R asks again."),
    ),
    Pane(
        "lists",
        "policy.show",
        "lists",
        DnsList.read,
        (("ST", 4), ("ZONE", 0), ("USE", 6), ("ANSWERS", 0)),
        (("ST", 4), ("ZONE", 0), ("USE", 6), ("ANSWERS", 0)),
        ("zone", "use", "off", "meanings"),
        frozenset(),
        ("No DNS list is asked.", "docs/dns-lists.md tells how to name one in the configuration."),
        "lists_off",
    ),
)


def score_sentence(answer: Mapping[str, Any]) -> str:
    """What scores do, from `policy.show`."""
    junk, reject = answer.get("junk_score"), answer.get("reject_score")
    refuses = f"refused from {reject:g}" if isinstance(reject, int | float) and reject else "no score alone refuses"
    return f"Junk from score {junk:g}, {refuses}." if isinstance(junk, int | float) else ""


def numbers_of(state: Mapping[str, Any]) -> dict[str, int]:
    """The topic `spam`."""
    return {pane.counted: int_of(state, pane.counted) for pane in PANES if pane.counted}
