"""The columns of the queue's list at 80 and at 120 columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tui.format import age, count, size, state_word, until
from tui.queue_models import QueueRow
from tui.theme import Line, Span
from tui.widgets.window_list import Column


def state_cell(row: QueueRow, now: datetime) -> tuple[str, str]:
    """The state word; rows that left the queue say so until the list is shown anew."""
    return ("gone", "faint") if row.gone else state_word(row.state, row.next_at, now)


def answer_text(row: QueueRow) -> str:
    """Why it is not tried, or the last answer with its code, once."""
    if row.reason and row.state != "active":
        return row.reason
    return row.last if not row.code or row.last.startswith(str(row.code)) else f"{row.code} {row.last}"


def columns_for(width: int) -> Sequence[Column[QueueRow]]:
    """Columns of the list; a wide terminal adds id and remote host."""
    wide = width >= 110

    def dim(row: QueueRow, role: str) -> str:
        return "faint" if row.gone else role

    columns: list[Column[QueueRow]] = [
        Column("ST", 4, state_cell),
        Column(
            "NEXT",
            4,
            lambda row, now: (
                "-"
                if row.gone or row.state in {"held", "quarantined"}
                else "now"
                if row.state == "active"
                else until(row.next_at, now),
                dim(row, "text"),
            ),
            "right",
        ),
        Column("AGE", 4, lambda row, now: (age(row.arrived_at, now), dim(row, "dim")), "right"),
        Column("TRY", 3, lambda row, now: (str(row.attempts), dim(row, "dim")), "right"),
        Column("SIZE", 5, lambda row, now: (size(row.size_bytes) + " ", dim(row, "dim")), "right"),
        Column("FROM", 22 if wide else 16, lambda row, now: (row.sender or "<>", dim(row, "text"))),
        Column("TO", 24 if wide else 18, lambda row, now: (row.recipient, dim(row, "text"))),
        Column("LAST ANSWER", 0, lambda row, now: (answer_text(row) or "not tried yet", dim(row, "dim"))),
    ]
    if wide:
        columns.insert(0, Column("ID", 13, lambda row, now: (row.id, dim(row, "dim"))))
    return columns


def destinations_line(by_destination: Sequence[tuple[str, int]], width: int) -> Line:
    """The domains that most recipients wait for, as many as there is room for."""
    spans: list[Span] = [(" BY DESTINATION ", "head")]
    used = 17
    for domain, waiting in by_destination:
        text = f"  {domain} "
        if used + len(text) + 8 > width:
            break
        spans += [(text, "dim"), (count(waiting), "text")]
        used += len(text) + len(count(waiting))
    if len(spans) == 1:
        spans.append((" -", "faint"))
    return tuple(spans)
