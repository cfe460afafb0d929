"""Spam: who waits in the greylist, who never does, who is banned, which checks look at mail and which DNS lists are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from textual.app import ComposeResult

from tui.desk import Desk
from tui.export import Exporter
from tui.feeds import Want
from tui.format import count, plural
from tui.keys import Action
from tui.models import int_of, rows_of
from tui.screens.list_view import ListView
from tui.screens.spam_actions import SpamActions, parse_allowance, parse_ban, shell_line
from tui.screens.spam_panes import PANES, Pane, numbers_of, score_sentence
from tui.screens.view import wrapped
from tui.spam_models import Allowance, Ban, Check, Held, Waiting
from tui.theme import Line, Span
from tui.widgets.lines import BLANK, LineView
from tui.widgets.prompt_row import Entry, Question
from tui.widgets.window_list import Column, Page, WindowList

DETAIL_FROM_ROWS = 32
BAN_SECONDS = 86_400
WHOLE_ROWS = 10_000


def parse_filter(text: str) -> dict[str, Any]:
    """Words that occur in a row."""
    return {"text": " ".join(text.split())} if text.strip() else {}


class SpamScreen(ListView[Held]):
    """One list with several panes."""

    NAME: ClassVar[str] = "spam"
    TITLE: ClassVar[str] = "Spam"
    DIGIT: ClassVar[str] = "7"
    SCOPES: ClassVar[Sequence[str]] = ("spam", "trace", "pane", "find", "list", "copy", "move", "any")
    PARSE = staticmethod(parse_filter)

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._pane: Pane = PANES[0]
        self._summary = LineView(desk.palette, height=3)
        self.rows = self._list()
        self._detail = LineView(desk.palette, height=4)
        self._numbers: dict[str, int] = {}
        self._shown: int | None = None
        """How many the pane had when it was fetched."""
        self._scores = ""
        self._lists_all = 0
        self._actions = SpamActions(desk, self.resync)

    def _list(self) -> WindowList[Held]:
        return WindowList(
            self.desk.palette,
            columns=self._columns,
            fetch=self._fetch,
            now=self.desk.now,
            empty=self._empty,
            on_move=self._draw,
        )

    def _columns(self, width: int) -> Sequence[Column[Held]]:
        return self._pane.columns_for(width)

    def compose(self) -> ComposeResult:
        """Sentence and panes, list, the row under the cursor."""
        self._detail.styles.height = 8 if self.app.size.height - 4 >= DETAIL_FROM_ROWS else 4
        yield self._summary
        yield self.rows
        yield self._detail

    def on_resize(self) -> None:
        """A tall terminal tells more of the row."""
        self._detail.styles.height = 8 if self.size.height >= DETAIL_FROM_ROWS else 4
        self._draw()

    def hints(self) -> Sequence[str]:
        """What the pane can do."""
        verbs = [action.id for action in self.desk.keys.within(["spam"]) if action.id in self._pane.verbs]
        undo = ["spam.undo"] if self._pane.verbs else []
        return ["help", "list.filter", "pane.next", *verbs, *undo, "trace", "export", "list.menu"]

    # Data

    async def _fetch(self, offset: int, limit: int) -> Page[Held] | None:
        pane = self._pane
        params = {**self.filter, "offset": offset, "limit": limit} if pane.paged else {}
        answer = await self.desk.call(pane.method, **params)
        if answer is None or pane is not self._pane:
            return None
        found = [pane.read(row) for row in rows_of(answer, pane.rows)]
        if pane.method == "policy.show":
            self._scores, self._lists_all = score_sentence(answer), len(rows_of(answer, "lists"))
        total = int_of(answer, "total")
        if not pane.paged:
            found, total = self._fitting(found), 0
            found, total = found[offset : offset + limit], len(found)
        if pane.counted and pane.counted != "lists_off" and not self.filter:
            self._shown = self._numbers[pane.counted] = total  # newer than what the topic told last
        return Page(total, found)

    def _fitting(self, rows: Sequence[Held]) -> list[Held]:
        """The rows in which all words of the filter occur."""
        words = str(self.filter.get("text", "")).lower().split()
        titles, now = [title for title, _ in self._pane.columns], self.desk.now()
        texts = [(row, " ".join(row.cell(title, now)[0] for title in titles).lower()) for row in rows] if words else []
        return [row for row, text in texts if all(word in text for word in words)] if words else list(rows)

    def wants(self) -> Sequence[Want]:
        """Four numbers."""
        return (Want("spam", self._on_numbers),)

    def _on_numbers(self, state: dict[str, Any]) -> None:
        self._numbers = numbers_of(state)
        live = self._numbers.get(self._pane.counted)
        if self._shown is None:
            self._shown = live
        if self.rows.total == 0 and live and not self.filter and self._pane.counted != "lists_off":
            self.rows.reload()
        self._draw()

    def shown(self) -> None:
        """First look, or back from somewhere."""
        self.rows.reload()
        self._draw()

    def resync(self) -> None:
        """Fetch again, cursor kept."""
        self.rows.reload()

    def set_stale(self, stale: bool) -> None:
        """Grey the screen."""
        for part in (self._summary, self._detail, self.rows):
            part.set_stale(stale)

    # Drawing

    def crumb(self) -> tuple[str, str]:
        """The filter."""
        return self.filter_text, self._pane.name

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        self._summary.set_lines([self._sentence(), self._tabs(), self._news()])
        row = self.rows.row if self.rows.total else None
        story = row.story(self.desk.now()) if row is not None else ()
        self._detail.set_lines(
            [BLANK, *(line for text in story if text for line in wrapped(text, self.size.width, "text"))]
        )

    def _sentence(self) -> Line:
        total = self.rows.total
        if total is None:
            return ((" Asking the daemon.", "dim"),)
        if self.filter:
            return ((f" {count(total)} match {self.filter_text!r}. ", "strong"), ("esc shows all", "dim"))
        if self._pane.name == "lists" and total:
            off = self._numbers.get("lists_off", 0)
            wrong = (
                f" {plural(off, 'answers wrong and is', 'answer wrong and are')} switched off for now." if off else ""
            )
            return ((f" {plural(total, 'DNS list')}.{wrong}", "warn" if off else "strong"),)
        if not total:
            return ((f" {self._pane.empty[0]}", "strong"),)
        sentence = {
            "greylist": f"{plural(total, 'letter was', 'letters were')} put off; none waits over an hour.",
            "exempt": f"{plural(total, 'exemption')} from greylisting.",
            "bans": f"{plural(total, 'network')} may not connect.",
            "checks": f"{plural(total, 'check')}. {self._scores}",
        }
        return ((f" {sentence[self._pane.name]}", "strong"),)

    def _tabs(self) -> Line:
        spans: list[Span] = [(" ", "text")]
        for pane in PANES:
            here = pane is self._pane
            number = self._numbers.get(pane.counted, 0)
            told = f" {count(number)}{' off' if pane.counted == 'lists_off' else ''}" if number else ""
            name = f"[{pane.name}{told}]" if here else f" {pane.name}{told} "
            spans.append((name, "strong" if here else "warn" if pane.counted == "lists_off" and number else "dim"))
        return (*spans, ("  l next", "faint"))

    def _news(self) -> Line:
        live = self._numbers.get(self._pane.counted)
        if live is None or self._shown is None or live == self._shown or self.rows.total is None:
            return BLANK
        more = live - self._shown
        return ((f" {'+' if more > 0 else ''}{count(more)} since,", "accent"), (" . to show", "dim"))

    def _empty(self) -> Sequence[Line]:
        if self.filter:
            return [((f"   Nothing matches {self.filter_text!r} - esc shows all", "dim"),)]
        reason, key = self._pane.empty
        return [((f"   {reason}", "strong"),), ((f"   {key}", "dim"),)]

    # Panes

    def _turn(self, step: int) -> None:
        self._pane = PANES[(PANES.index(self._pane) + step) % len(PANES)]
        self.filter, self.filter_text = {}, ""
        self._shown = None
        self.rows.renew()
        self.rows.reload(keep=False)
        self._draw()
        self.desk.shell.redraw_frame()

    def do_pane_next(self) -> None:
        """The pane to the right."""
        self._turn(1)

    def do_pane_previous(self) -> None:
        """The pane to the left."""
        self._turn(-1)

    # Actions

    def refuse(self, action: Action) -> str:
        """What the pane cannot do, and what needs a row."""
        if action.scope == "spam" and action.id != "spam.undo" and action.id not in self._pane.verbs:
            return f"{action.label} does nothing in the pane {self._pane.name}; h and l go to others"
        if action.id == "trace" and self._words() == "" and self.rows.row is not None:
            return "the log does not know this"
        needs_row = action.scope in {"spam", "copy", "trace"} and action.id not in {"spam.add", "spam.undo"}
        return "there is no row" if needs_row and self.rows.row is None else ""

    def command_line(self) -> str:
        """The same in a shell."""
        row = self.rows.row if self.rows.total else None
        if isinstance(row, Waiting | Allowance | Ban | Check):
            return shell_line(row)
        return "mailbox policy" if self._pane.method == "policy.show" else "mailbox greylist list"

    def _words(self) -> str:
        """What the log finds the row by."""
        row = self.rows.row
        if isinstance(row, Waiting):
            return row.sender or row.remote_ip
        if isinstance(row, Allowance):
            return f"@{row.value}" if row.kind == "domain" else "" if "/" in row.value else row.value
        return row.network if isinstance(row, Ban) and "/" not in row.network else ""

    def do_trace(self) -> None:
        """The log of the row."""
        self.desk.shell.show_log(self._words())

    def do_spam_let_in(self) -> None:
        """End the wait."""
        if isinstance(row := self.rows.row, Waiting):
            self._actions.let_in(row)

    def do_spam_allow(self) -> None:
        """One key tells whom."""
        if not isinstance(row := self.rows.row, Waiting):
            return
        domain = row.sender.rpartition("@")[2]
        wanted = (
            ("s", "sender", row.sender),
            ("d", "domain", domain),
            ("n", "network", row.remote_ip),
            ("r", "recipient", row.recipient),
        )
        keys: dict[str, Callable[[], None]] = {
            key: partial(self._actions.allow, kind, value) for key, kind, value in wanted if value
        }
        told = ", ".join(f"{key} {kind}" for key, kind, value in wanted if value)
        self.desk.prompt.ask(Question("Never keep waiting:", keys, f"{told}, else cancels"))

    def do_spam_ban(self) -> None:
        """Keep the client out for a day."""
        if isinstance(row := self.rows.row, Waiting):
            address, reason = row.remote_ip, f"banned from the greylist: {row.sender or '<>'}"
            run = {"y": lambda: self._actions.ban(address, BAN_SECONDS, reason)}
            self.desk.prompt.ask(Question(f"Keep {address} out for a day, by every protocol?", run))

    def do_spam_add(self) -> None:
        """Type what to add to this pane."""
        if self._pane.name == "bans":
            self.desk.prompt.read(Entry("ban (network 7d reason)", submit=self._add_ban))
        else:
            self.desk.prompt.read(Entry("never delay (address, domain, network)", submit=self._add_allowance))

    def _add_ban(self, text: str) -> None:
        try:
            network, seconds, reason = parse_ban(text)
        except ValueError as error:
            self.desk.prompt.say(str(error), "bad")
        else:
            self._actions.ban(network, seconds, reason)

    def _add_allowance(self, text: str) -> None:
        try:
            kind, value, note = parse_allowance(text)
        except ValueError as error:
            self.desk.prompt.say(str(error), "bad")
        else:
            self._actions.allow(kind, value, note)

    def do_spam_remove(self) -> None:
        """End a ban or an exemption."""
        row, actions = self.rows.row, self._actions
        if isinstance(row, Ban):
            run: dict[str, Callable[[], None]] = {"y": partial(actions.unban, row, self.desk.now())}
            self.desk.prompt.ask(Question(f"Let {row.network} in again?", run))
        elif isinstance(row, Allowance):
            run = {"y": partial(actions.disallow, row)}
            self.desk.prompt.ask(Question(f"May {row.value} be kept waiting again?", run))

    def do_spam_mode(self) -> None:
        """One key tells how the check is taken."""
        if isinstance(row := self.rows.row, Check):
            modes = (("o", "off"), ("a", "advisory"), ("e", "enforce"))
            keys: dict[str, Callable[[], None]] = {
                key: partial(self._actions.mode, row, mode) for key, mode in modes if mode != row.mode
            }
            told = ", ".join(f"{key} {mode}" for key, mode in modes if mode != row.mode)
            self.desk.prompt.ask(Question(f"{row.name} is {row.mode}, make it:", keys, f"{told}, else cancels"))

    def do_spam_undo(self) -> None:
        """Take the last change back."""
        self._actions.undo()

    def filter_changed(self) -> None:
        """Fetch with the new filter."""
        self.rows.reload(keep=False)

    def do_list_show_new(self) -> None:
        """Fetch again."""
        self.rows.reload()

    def escape(self) -> bool:
        """The filter."""
        if not self.filter:
            return False
        self.set_filter("")
        return True

    def do_export(self) -> None:
        """Write the pane to a file."""
        pane, where = self._pane, dict(self.filter)

        async def fetch(offset: int, limit: int) -> dict[str, Any]:
            if pane.paged:
                return await self.desk.client.call(pane.method, {**where, "offset": offset, "limit": limit})
            answer = await self.desk.client.call(pane.method)
            return {pane.rows: rows_of(answer, pane.rows)[offset : offset + limit]}

        Exporter(self.desk, pane.name, pane.fields).ask(fetch, pane.rows)

    def record_text(self) -> str:
        """The row under the cursor, with its story."""
        row = self.rows.row
        return "" if row is None else "\n".join([self._row_text(row), *filter(None, row.story(self.desk.now()))])

    def block_text(self) -> str:
        """The rows on the screen, tabs between the cells."""
        return "\n".join(self._row_text(row) for row in self.rows.rows_shown())

    def _row_text(self, row: Held) -> str:
        now = self.desk.now()
        return "\t".join(row.cell(title, now)[0] for title, _ in self._pane.wide_columns)
