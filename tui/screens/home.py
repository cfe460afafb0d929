"""Home: does mail flow, what needs the operator, what happened last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from textual.app import ComposeResult

from tui.desk import Desk
from tui.feeds import Want
from tui.format import ago_words, bar, clock, count, fit, health_role, plural, size_words, spark
from tui.keys import Action
from tui.models import AuditEntry, LastMail, Service, Todo, Traffic, TrafficRow, rows_of
from tui.screens.trace import TracePage
from tui.screens.view import View, heading, text_of, wrapped
from tui.theme import Line, Span
from tui.widgets.lines import BLANK, LineView
from tui.workers import begin

WIDE = 110
BOTH = 80
TODO_ROWS = 3
ANSWER_ROWS = 3
RESULT_ROLES = {
    "ok": "ok",
    "delivered": "ok",
    "accepted": "ok",
    "deferred": "warn",
    "rejected": "bad",
    "failed": "bad",
    "bounced": "bad",
}


DIRECTIONS = {"submission": "sub"}


def took(seconds: float | None) -> str:
    """How long it took, in at most six characters; nothing when it was not measured."""
    if not seconds:
        return ""
    if seconds < 0.9995:
        return f"{max(1, round(seconds * 1000))} ms"
    return f"{seconds:.1f} s" if seconds < 1000 else f"{seconds / 60:.0f} m"


class HomeScreen(View):
    """Answer line, things to do, traffic, services, storage, last messages."""

    NAME: ClassVar[str] = "home"
    TITLE: ClassVar[str] = "Home"
    DIGIT: ClassVar[str] = "1"
    SCOPES: ClassVar[Sequence[str]] = ("home", "trace", "open", "move", "any")
    HINTS: ClassVar[Sequence[str]] = ("help", "command", "palette", "open", "trace", "pause", "quit")

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._lines = LineView(desk.palette)
        self._lines.styles.height = "1fr"
        self._traffic = Traffic()
        self._counted = False
        self._changes: Sequence[AuditEntry] = ()
        self._last_no: int | None = None
        self._cursor = 0
        """Over the things to do, then over the last messages on the screen."""
        self._mail_key: object = None
        """The message under the cursor: it is followed while new ones push it down."""
        self._mails_shown = 0

    def compose(self) -> ComposeResult:
        """One widget of lines."""
        yield self._lines

    def wants(self) -> Sequence[Want]:
        """Numbers once a second; the audit's end, to show new changes on a large screen."""
        return (Want("traffic", self._on_traffic), Want("audit", self._on_audit))

    def _on_traffic(self, state: dict[str, Any]) -> None:
        self._traffic = Traffic.read(state)
        self._counted = True
        self._follow()
        self.redraw()

    def _on_audit(self, state: dict[str, Any]) -> None:
        last = state.get("last_no")
        if last != self._last_no:
            self._last_no = last if isinstance(last, int) else None
            if self._roomy:
                begin(self, self._load_changes, "changes")

    async def _load_changes(self) -> None:
        answer = await self.desk.call("audit.list", offset=0, limit=8)
        if answer is not None:
            self._changes = [AuditEntry.read(row) for row in rows_of(answer, "entries")]
            self.redraw()

    @property
    def _roomy(self) -> bool:
        return self.size.height >= 32

    def health_changed(self) -> None:
        """Everything but traffic comes with `health`."""
        if self._mail_key is None:
            self._cursor = min(self._cursor, max(0, len(self.desk.health.todo) - 1))
        self._follow()
        self.redraw()

    def _follow(self) -> None:
        """Keep the cursor on its message; one that left the screen leaves it to the last."""
        if self._mail_key is None:
            return
        todo, mails = len(self.desk.health.todo), self._traffic.last[: max(1, self._mails_shown)]
        found = (number for number, mail in enumerate(mails) if mail.key == self._mail_key)
        self._go(todo + next(found, len(mails) - 1))

    def shown(self) -> None:
        """Draw what is known."""
        self.redraw()

    def resync(self) -> None:
        """Ask for the last changes again; the topics are opened anew by the frame."""
        self._last_no = None

    def tick(self, now: datetime) -> None:
        """Times that turn from a clock into a date."""
        self.redraw()

    def set_stale(self, stale: bool) -> None:
        """Grey the screen."""
        self._lines.set_stale(stale)

    def on_resize(self) -> None:
        """The layout follows the size."""
        if self._roomy and self._last_no is not None and not self._changes:
            begin(self, self._load_changes, "changes")
        self.redraw()

    def plain_text(self) -> str:
        """The lines on the screen."""
        return "\n".join(text_of(line).rstrip() for line in self._lines.lines)

    # Actions

    def do_move_down(self) -> None:
        """Next thing to do."""
        self._go(self._cursor + 1)

    def do_move_up(self) -> None:
        """Thing to do before."""
        self._go(self._cursor - 1)

    def do_move_first(self) -> None:
        """First thing to do."""
        self._go(0)

    def do_move_last(self) -> None:
        """The last message on the screen."""
        self._go(len(self.desk.health.todo) + self._mails_shown - 1)

    do_move_page_down = do_move_last
    do_move_page_up = do_move_first

    def _go(self, index: int) -> None:
        todo = len(self.desk.health.todo)
        mails = min(self._mails_shown, len(self._traffic.last))
        self._cursor = min(max(0, index), max(0, todo + mails - 1))
        mail = self._mail_under
        self._mail_key = None if mail is None else mail.key
        self.redraw()

    def do_trace(self) -> None:
        """The story of the message under the cursor."""
        if (mail := self._mail_under) is not None:
            self.desk.shell.open_page(TracePage(self.desk, mail.id))

    def do_open(self) -> None:
        """Go to the screen where the thing can be done."""
        todo = self._todo
        if self._mail_under is not None:
            self.do_trace()
        elif todo is None:
            self.desk.prompt.say("There is nothing to open: nothing needs you.", "dim")
        elif todo.screen in self.desk.screens:
            self.desk.shell.perform(self.desk.keys[f"go.{todo.screen}"])
        else:
            self.desk.prompt.say(f"{todo.text} - no screen for this yet; see `mailbox status`.", "dim")

    @property
    def _todo(self) -> Todo | None:
        todo = self.desk.health.todo
        return todo[self._cursor] if self._cursor < len(todo) else None

    @property
    def _mail_under(self) -> LastMail | None:
        index = self._cursor - len(self.desk.health.todo)
        return self._traffic.last[index] if 0 <= index < min(self._mails_shown, len(self._traffic.last)) else None

    def refuse(self, action: Action) -> str:
        """Opening needs something to open."""
        if action.id == "trace":
            return "move to one of the last messages first" if self._mail_under is None else ""
        return "nothing needs you" if action.id == "open" and self._todo is None and self._mail_under is None else ""

    def command_line(self) -> str:
        """The trace of the message under the cursor."""
        return f"mailbox trace {self._mail_under.id}" if self._mail_under is not None else "mailbox status"

    # Drawing

    def redraw(self) -> None:
        """All lines for the current size."""
        if not self.is_mounted or self.size.width == 0:
            return
        if not self._counted or not self.desk.health.state:
            self._lines.set_lines([((" Asking the daemon.", "dim"),)])
            return
        width, height = self.size
        answer = self._answer(width)
        lines = [
            *answer,
            *([BLANK] if len(answer) == 1 else []),
            *self._things(width),
            BLANK,
            *self._numbers(width),
            BLANK,
            *self._machine(width),
            BLANK,
        ]
        rest = max(1, height - len(lines))
        wanted = len(self._changes) + 2 if self._roomy and self._changes else 0
        last_room = min(13, rest - wanted) if wanted else rest
        lines += self._last(width, last_room)
        if wanted:
            lines += [BLANK, *self._recent_changes(width, height - len(lines) - 1)]
        self._lines.set_lines(lines[:height])

    def _answer(self, width: int) -> list[Line]:
        """The answer with the first thing to do; a later one under the cursor stands there whole instead."""
        health, todo = self.desk.health, self._todo
        role = "strong" if health.state == "ok" else health_role(health.state)
        if todo is None or not self._cursor:
            return wrapped(health.answer, width, role)[:ANSWER_ROWS]
        return wrapped(todo.text, width, health_role(todo.state))[:ANSWER_ROWS]

    def _things(self, width: int) -> list[Line]:
        todo = self.desk.health.todo
        rows = TODO_ROWS if not self._roomy else 6
        note = "" if not todo else "enter opens"
        title = (" THINGS TO DO", "head")
        lines: list[Line] = [(title, (fit(note, width - 15, "right"), "faint"))]
        if not todo:
            lines.append((("   ", "text"), ("ok  ", "ok"), (" Nothing needs you.", "dim")))
        first = min(max(0, self._cursor - rows + 1), max(0, len(todo) - rows))
        for index, item in enumerate(todo[first : first + rows], first):
            pointer = ">" if index == self._cursor else " "
            where = item.screen.capitalize() if item.screen in self.desk.screens else ""
            since = f"since {clock(item.since, self.desk.now())}" if item.since else ""
            text = fit(item.text, width - 9 - 9 - 14)
            lines.append(
                (
                    (f" {pointer} ", "key"),
                    (fit(item.state, 4), health_role(item.state)),
                    (f" {text} ", "text"),
                    (fit(where, 9), "accent"),
                    (fit(since, 13, "right"), "dim"),
                )
            )
        if len(todo) > rows:
            lines[0] = (
                title,
                (
                    fit(
                        f"{first + 1}-{min(len(todo), first + rows)} of {len(todo)}   enter opens", width - 15, "right"
                    ),
                    "faint",
                ),
            )
        return lines

    def _numbers(self, width: int) -> list[Line]:
        graph = 60 if width >= 120 else 30 if width >= 90 else 20
        left = 15 + graph + 6 + 7 + 2
        head: Line = (
            (fit(" TRAFFIC", 9), "head"),
            (fit("  last 60 min", left - 24), "faint"),
            (fit("now/h", 6, "right") + fit("day", 7, "right") + "  ", "faint"),
            *(
                ((" SERVICES", "head"), (fit("port", 14, "right") + fit("conn", 6, "right"), "faint"))
                if width >= BOTH
                else ()
            ),
        )
        lines = [head]
        services = self.desk.health.services if width >= BOTH else ()
        rows = max(len(self._traffic.rows), 5)
        for index in range(rows):
            traffic = self._traffic.rows[index] if index < len(self._traffic.rows) else None
            service = services[index] if index < len(services) else None
            more = len(services) - rows if index == rows - 1 else 0
            lines.append((*self._traffic_cells(traffic, graph, left), *self._service_cells(service, more)))
        return lines

    def _traffic_cells(self, row: TrafficRow | None, graph: int, left: int) -> Line:
        if row is None:
            return ((" " * left, "text"),)
        bad = row.name in {"in rejected", "out deferred"}
        return (
            (fit(f" {row.name}", 15), "text"),
            (
                spark(row.history, graph, ascii_only=self.desk.ascii_only),
                "warn" if bad and any(row.history) else "graph",
            ),
            (fit(count(row.now_per_hour), 6, "right"), "strong"),
            (fit(count(row.day), 7, "right"), "dim"),
            ("  ", "text"),
        )

    @staticmethod
    def _service_cells(service: Service | None, more: int) -> Line:
        if service is None:
            return ()
        if more > 0:
            return ((f" +{more + 1} more services", "dim"),)
        return (
            (" " + fit(service.state, 4), health_role(service.state)),
            (fit(f" {service.service}", 13), "text"),
            (fit(str(service.port or "-"), 5, "right"), "dim"),
            (fit(count(service.connections), 6, "right"), "text"),
        )

    def _machine(self, width: int) -> list[Line]:
        health = self.desk.health
        fraction = health.used_bytes / health.total_bytes if health.total_bytes else 0.0
        full, rest = bar(fraction, 30 if width >= WIDE else 18, ascii_only=self.desk.ascii_only)
        role = "bad" if fraction > 0.95 else "warn" if fraction > 0.85 else "graph"
        hello = self.desk.client.hello or {}
        storage: Line = (
            (" STORAGE  ", "head"),
            (full, role),
            (rest, "faint"),
            (f" {fraction * 100:.0f} %", "text"),
            (f"  {size_words(health.used_bytes)} of {size_words(health.total_bytes)}", "dim"),
            (f"   mail {size_words(health.mail_bytes)}", "dim"),
        )
        memory: Line = (
            (" MEMORY   ", "head"),
            (size_words(health.memory_bytes), "text"),
            ("   load ", "dim"),
            (f"{health.load:.2f}", "text"),
            ("   up ", "dim"),
            (ago_words(health.uptime_seconds), "text"),
            ("   version ", "dim"),
            (str(hello.get("version", "-")), "text"),
        )
        return [storage, memory, *self._held_up()]

    def _held_up(self) -> list[Line]:
        """One line about spam, when there is anything to tell."""
        health = self.desk.health
        spans: list[Span] = [(" SPAM    ", "head")]
        if health.waiting:
            spans += [(f" {count(health.waiting)}", "text"), (" put off by the greylist  ", "dim")]
        if health.bans:
            spans += [(f" {count(health.bans)}", "text"), (" banned  ", "dim")]
        if health.lists_off:
            spans.append((f" {plural(health.lists_off, 'DNS list')} off  ", "warn"))
        return [(*spans, (" 7 shows them", "faint"))] if len(spans) > 1 else []

    def _last(self, width: int, rows: int) -> list[Line]:
        if rows <= 0:
            return []
        last = self._traffic.last
        if not last:
            self._mails_shown = 0
            return [((" LAST     ", "head"), ("No message yet since the daemon started.", "dim"))]
        self._mails_shown = rows if rows < 8 else rows - 1
        if rows < 8:
            return [self._mail(mail, width, first=index == 0) for index, mail in enumerate(last[:rows])]
        title = heading("LAST MESSAGES")
        return [title, *(self._mail(mail, width, first=False, indent=1) for mail in last[: rows - 1])]

    def _mail(self, mail: LastMail, width: int, *, first: bool, indent: int = 10) -> Line:
        under = ">" if mail is self._mail_under else " "
        lead = fit(" LAST" if first else "", indent - 2) + f"{under} " if indent > 2 else under
        wide = width >= WIDE
        answer = 36 if wide else 8
        room = width - indent - len("18:41 ") - len("sub ") - len(" > ") - 1 - answer - 7 - 1
        shown = mail.result if mail.result in {"ok", "delivered", "accepted"} or not mail.text else mail.text
        return (
            (lead, "key" if under == ">" else "head"),
            (fit(clock(mail.at, self.desk.now()), 6), "dim"),
            (fit(DIRECTIONS.get(mail.direction, mail.direction), 3) + " ", "dim"),
            (fit(mail.sender or "<>", room // 2), "text"),
            (" > ", "faint"),
            (fit(mail.recipient, room - room // 2), "text"),
            (" " + fit(shown if wide else mail.result, answer), RESULT_ROLES.get(mail.result, "text")),
            (fit(took(mail.seconds), 7, "right") + " ", "dim"),
        )

    def _recent_changes(self, width: int, rows: int) -> list[Line]:
        title = heading("LAST CHANGES", plural(self._last_no or 0, "entry", "entries") + " in the audit, 9 shows them")
        return [title, *(self._change(entry, width) for entry in self._changes[: max(0, rows - 1)])]

    def _change(self, entry: AuditEntry, width: int) -> Line:
        return (
            (" " + fit(clock(entry.at, self.desk.now()), 7), "dim"),
            (fit(entry.who, 14) + " ", "text"),
            (fit(entry.via, 8) + " ", "dim"),
            (fit(entry.what, 18) + " ", "accent"),
            (fit(entry.subject, max(10, width - 62)) + " ", "text"),
            (fit(entry.result, 9), "ok" if entry.result == "ok" else "warn"),
        )
