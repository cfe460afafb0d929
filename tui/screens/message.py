"""One queued message: recipients, attempts, header, and why it still waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from tui.client import CallError
from tui.desk import Desk
from tui.format import age, ago_words, clock, fit, plural, size_words, stamp, state_word, until
from tui.keys import Action
from tui.queue_models import Attempt, Finished, Message, QueueRow
from tui.screens.queue_actions import QueueActions, exact
from tui.screens.queue_columns import answer_text
from tui.screens.trace import TracePage
from tui.screens.view import PageView, facts, heading, wrapped
from tui.terminal import copy_message, osc52
from tui.theme import Line
from tui.widgets.lines import BLANK
from tui.workers import begin

FATE_ROLES = {"delivered": "ok", "deferred": "warn", "failed": "bad", "loop": "bad"}
RELOAD_SECONDS = 5
BRIEF_RECIPIENTS = 3
BRIEF_ATTEMPTS = 3
GONE = "queue.no_such_id"


def sentence(text: str) -> str:
    """A daemon's text as a sentence of its own."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def recipient_line(row: QueueRow, now: datetime, width: int) -> Line:
    """State, next try, tries, address, last answer."""
    word, role = state_word(row.state, row.next_at, now)
    when = "-" if row.state in {"held", "quarantined"} else "now" if row.state == "active" else until(row.next_at, now)
    address = min(34, width // 3)
    answer = answer_text(row)
    return (
        ("   " + word, role),
        (fit(when, 6, "right"), "text"),
        (fit(str(row.attempts), 4, "right") + "  ", "dim"),
        (fit(row.recipient, address) + " ", "text"),
        (fit(answer or "not tried yet", max(0, width - address - 21)), "dim"),
    )


def finished_line(row: Finished, now: datetime, width: int) -> Line:
    """When it left, how, after how many tries, the address, the answer."""
    address = min(34, width // 3)
    answer = row.text if not row.code or row.text.startswith(str(row.code)) else f"{row.code} {row.text}"
    return (
        ("   " + fit(row.fate, 10), FATE_ROLES.get(row.fate, "text")),
        (fit(clock(row.finished_at, now), 6, "right"), "text"),
        (fit(str(row.attempts), 4, "right") + "  ", "dim"),
        (fit(row.recipient, address) + " ", "text"),
        (fit(f"{answer}{f' ({row.host})' if row.host else ''}", max(0, width - address - 26)), "dim"),
    )


def attempt_line(attempt: Attempt, now: datetime, width: int) -> Line:
    """When, how long, where, how it ended."""
    wide = width >= 110
    host = 28 if wide else 18
    used = 3 + 16 + 7 + 2 + host + 1 + (30 if wide else 0) + 2
    return (
        ("   " + fit(stamp(attempt.at, now), 16), "dim"),
        (fit(f"{attempt.seconds:.1f} s", 7, "right") + "  ", "dim"),
        (fit((attempt.host if wide else attempt.host.partition(" [")[0]) or "no host", host) + " ", "text"),
        *(((fit(attempt.tls or ("in clear" if attempt.host else "-"), 29) + " ", "dim"),) if wide else ()),
        (
            fit(f"{attempt.code or ''} {attempt.text}".strip(), max(0, width - used)),
            FATE_ROLES.get(attempt.fate, "text"),
        ),
    )


def message_lines(message: Message, now: datetime, width: int, *, brief: bool = False) -> list[Line]:
    """A message as lines; `brief` is the pane below the list."""
    lines: list[Line] = []
    if brief:
        lines.append(
            (
                (f" {message.id} ", "head"),
                (f" {message.sender or '<>'}  {size_words(message.size_bytes)}  {message.message_id}", "dim"),
            )
        )
    lines += wrapped(message.why, width, "strong")[: 2 if brief else 6] if message.why else []
    if not brief:
        left = (
            ""
            if message.expires_at is None
            else f", given up in {ago_words((message.expires_at - now).total_seconds())}"
        )
        lines += [
            BLANK,
            *facts(
                (
                    ("from", message.sender or "<> (a bounce)"),
                    ("account", message.submitter),
                    ("id", message.id),
                    ("header id", message.message_id),
                    ("size", size_words(message.size_bytes)),
                    ("arrived", f"{stamp(message.arrived_at, now)}  ({age(message.arrived_at, now)} ago{left})"),
                )
            ),
            BLANK,
        ]
    for piece in () if brief else message.advice:
        lines += [*wrapped(piece, width, "accent"), BLANK]
    recipients = message.recipients[:BRIEF_RECIPIENTS] if brief else message.recipients
    if message.recipients or not message.finished:
        lines.append(heading("RECIPIENTS", plural(len(message.recipients), "recipient")))
    lines += [recipient_line(row, now, width) for row in recipients]
    if message.finished and not brief:
        lines += [BLANK] if message.recipients else []
        lines.append(heading("LEFT THE QUEUE", plural(len(message.finished), "recipient")))
        lines += [finished_line(row, now, width) for row in message.finished]
    attempts = list(message.attempts)[-BRIEF_ATTEMPTS:] if brief else list(message.attempts)
    if not brief:
        lines.append(BLANK)
    lines.append(heading("ATTEMPTS", plural(len(message.attempts), "attempt") if message.attempts else "none yet"))
    lines += [attempt_line(attempt, now, width) for attempt in reversed(attempts)]
    if not brief:
        lines += [
            BLANK,
            heading("HEADER", "" if any(message.header) else "is not kept after the end"),
            *(((f"   {text}", "dim"),) for text in message.header),
        ]
    return lines


class MessagePage(PageView):
    """The page behind enter in the queue."""

    NAME: ClassVar[str] = "message"
    TITLE: ClassVar[str] = "message"
    SCOPES: ClassVar[Sequence[str]] = ("queue", "trace", "open", "find", "text", "copy", "move", "any")
    HINTS: ClassVar[Sequence[str]] = (
        "help",
        "queue.retry",
        "queue.hold",
        "queue.bounce",
        "queue.drop",
        "queue.route",
        "trace",
        "copy.record",
        "plain",
        "escape",
    )

    def __init__(self, desk: Desk, name: str) -> None:
        super().__init__(desk)
        self._queue_id = name
        self._message: Message | None = None
        self._gone: Sequence[str] = ()
        self._trouble = ""
        self._ticks = 0
        self._actions = QueueActions(desk, self.resync)

    def crumb(self) -> tuple[str, str]:
        """The queue id."""
        return self._queue_id, ""

    def shown(self) -> None:
        """Load at once."""
        self.resync()

    def resync(self) -> None:
        """Ask again."""
        begin(self, self._load, "message")

    def tick(self, now: datetime) -> None:
        """Ages every second; a running attempt shows within a few."""
        self._ticks += 1
        if self._ticks % RELOAD_SECONDS == 0 and self.desk.client.connected and self.desk.feeds.live:
            self.resync()
        self.redraw()

    async def _load(self) -> None:
        try:
            self._message = Message.read(await self.desk.client.call("queue.show", {"id": self._queue_id}))
            self._gone, self._trouble = (), ""
        except CallError as error:
            if error.code == GONE:
                self._gone = (sentence(error.text), error.remedy)
            elif self._message is None:
                self._trouble = error.sentence()
        self.redraw()

    def content(self) -> Sequence[Line]:
        """Everything known about it; when it has left the queue first how, then what was known."""
        width = self.size.width
        if not self._gone:
            if self._message is None:
                return wrapped(self._trouble or "Asking the daemon.", width, "bad" if self._trouble else "dim")
            return message_lines(self._message, self.desk.now(), width)
        lines = [
            *(line for text in self._gone if text for line in wrapped(text, width, "strong")),
            *wrapped("esc or enter closes this page.", width, "dim"),
        ]
        if self._message is not None:
            before = message_lines(replace(self._message, why=""), self.desk.now(), width)
            lines += [BLANK, heading("BEFORE THAT", "as it was while it waited")]
            lines += [tuple((text, "faint") for text, _ in line) for line in before]
        return lines

    def do_open(self) -> None:
        """There is nothing below: a message that has left is closed like it was opened."""
        if self._gone:
            self.desk.shell.close_page()

    def do_trace(self) -> None:
        """Why it is here, also when it has left."""
        self.desk.shell.open_page(TracePage(self.desk, self._queue_id))

    def refuse(self, action: Action) -> str:
        """A message that left the queue cannot be changed."""
        if action.scope == "open" and not self._gone:
            return "there is nothing below this page"
        if action.scope == "queue" and (self._message is None or self._gone or not self._message.recipients):
            return "it has left the queue"
        return ""

    def command_ids(self) -> str:
        """Its queue id."""
        return self._queue_id

    def _change(self, action: str) -> None:
        if self._message is not None:
            target = exact(
                [(self._message.id, row.recipient) for row in self._message.recipients], f"message {self._queue_id}"
            )
            self.run_worker(self._actions.run(action, target), group="apply")

    def do_queue_retry(self) -> None:
        """Try all recipients now."""
        self._change("retry")

    def do_queue_hold(self) -> None:
        """Hold all recipients, or release them when all are held."""
        held = self._message is not None and all(row.state == "held" for row in self._message.recipients)
        self._change("release" if held else "hold")

    def do_queue_bounce(self) -> None:
        """Fail all recipients and tell the sender."""
        self._change("bounce")

    def do_queue_drop(self) -> None:
        """Delete the message silently."""
        self._change("drop")

    def do_queue_route(self) -> None:
        """Another way for all its recipients."""
        if self._message is not None:
            pairs = [(self._message.id, row.recipient) for row in self._message.recipients]
            self._actions.route(exact(pairs, f"message {self._queue_id}"))

    def do_copy_record(self) -> None:
        """The facts without the header."""
        text = self.as_text().partition("\n HEADER")[0]
        self.desk.prompt.say(copy_message(text))
        self.desk.shell.write_terminal(osc52(text))

    def do_copy_block(self) -> None:
        """The whole page."""
        text = self.as_text()
        self.desk.prompt.say(copy_message(text))
        self.desk.shell.write_terminal(osc52(text))
