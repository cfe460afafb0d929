"""The whole story of one message: outcome and reply first, then who brought it, what each check said, where every copy went, and
what happened to it since."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from tui.client import CallError
from tui.decision_models import MailCopy, MailEvent, Said, Why, outcome_word, some
from tui.desk import Desk
from tui.format import age, clean, fit, plural, size_words, stamp
from tui.keys import Action
from tui.models import rows_of
from tui.screens.view import PageView, facts, heading, wrapped
from tui.terminal import copy_message, osc52
from tui.theme import Line
from tui.widgets.lines import BLANK
from tui.workers import begin

RELOAD_SECONDS = 5
MOST_RECIPIENTS = 10
EVENT_ROLES = {
    "delivered": "ok",
    "accepted": "ok",
    "attempt": "warn",
    "rejected": "bad",
    "failed": "bad",
    "bounced": "bad",
}
VERDICT_ROLES = {"reject": "bad", "defer": "warn", "junk": "mark"}


def decision_lines(why: Why, now: datetime, width: int) -> list[Line]:
    """One decision from its outcome to its copies."""
    row = why.row
    word, role = outcome_word(row.outcome)
    reply = f"{row.code or ''} {row.text}".strip()
    lines: list[Line] = [
        ((f" {fit(word, 4)} ", role), (f"{row.outcome}{f' at {why.stage}' if why.stage else ''}", "strong")),
        *wrapped(f"answered: {reply}" if reply else "No answer is recorded.", width, "text", indent=6),
        BLANK,
        *_facts(why, now),
        BLANK,
    ]
    if why.authentication:
        lines += [heading("WHO IT IS"), *wrapped(why.authentication, width, "text", indent=3), BLANK]
    if why.findings:
        lines += [
            heading("CHECKS", _score(why)),
            *(line for said in why.findings for line in _said(said, width)),
            BLANK,
        ]
    if why.copies:
        lines.append(heading("COPIES", plural(len(why.copies), "copy", "copies")))
        lines += [*(line for copy in why.copies for line in _copy(copy, width)), BLANK]
    return lines


def _facts(why: Why, now: datetime) -> list[Line]:
    row = why.row
    to = ", ".join(row.recipients[:MOST_RECIPIENTS])
    if len(row.recipients) > MOST_RECIPIENTS:
        to += f" and {plural(len(row.recipients) - MOST_RECIPIENTS, 'other')}"
    took = f", took {why.seconds:.1f} s" if why.seconds >= 0.05 else ""
    client = f"{row.remote}  {why.remote_name or 'without a confirmed name'}" if row.remote else ""
    queued = f"queued as {', '.join(why.queue_ids)}" if why.queue_ids else ""
    ids = "  ".join(filter(None, (why.trace_id, f"session {why.session_id}" if why.session_id else "", queued)))
    return facts(
        (
            ("when", f"{stamp(row.at, now).strip()}  ({age(row.at, now)} ago{took})"),
            ("client", client),
            ("greeting", why.helo),
            ("by", f"{why.service}  {why.tls or 'in clear'}".strip()),
            ("account", why.account),
            ("from", row.sender or "<>"),
            ("to", to),
            ("subject", row.subject),
            ("header id", row.message_id),
            ("size", size_words(why.size_bytes) if why.size_bytes else ""),
            ("ids", ids),
        )
    )


def _score(why: Why) -> str:
    refuses = f", refused from {why.reject_score:g}" if why.reject_score else ""
    junk = f" (junk from {why.junk_score:g}{refuses})" if why.junk_score else ""
    return f"score {why.row.score:.1f}{junk}"


def _said(said: Said, width: int) -> list[Line]:
    """The score, the check, what it said; a verdict or a limit of its word before that."""
    role = "faint" if said.advisory else VERDICT_ROLES.get(said.verdict, "text")
    marks = [said.verdict if said.verdict != "accept" else "", "advisory only" if said.advisory else ""]
    marks.append(f"for {said.account}" if said.account else "")
    told = ", ".join(filter(None, marks))
    first, *rest = wrapped(f"{told + ': ' if told else ''}{said.reason}", width, role, indent=31)
    score = f"{said.score:+.1f}" if said.score else ""
    head: Line = ((fit(score, 8, "right") + "  ", role), (fit(said.check, 21), "dim"))
    return [(*head, *_unindented(first, 31)), *rest]


def _copy(copy: MailCopy, width: int) -> list[Line]:
    where = f"{copy.action} {copy.target}".strip()
    reason = f" - {copy.reason}" if copy.reason else ""
    lines: list[Line] = [((f"   {copy.address}", "text"),), *wrapped(f"{where}{reason}", width, "strong", indent=6)]
    return [*lines, *(line for step in copy.steps for line in wrapped(step, width, "dim", indent=9))]


def _event(event: MailEvent, now: datetime, width: int) -> list[Line]:
    """When and what; the host and its answer below each other on a narrow terminal."""
    role = EVENT_ROLES.get(event.verb, "text")
    head: Line = (
        (f"   {stamp(event.at, now)}  ", "dim"),
        (fit(event.verb, 10), role),
        (f" {some(event.recipients)}", "text"),
    )
    code = "" if not event.code or event.text.startswith(str(event.code)) else str(event.code)
    answer = " ".join(filter(None, (event.remote, code, event.text)))
    took = f"  {event.seconds:.1f} s" if event.seconds >= 0.05 else ""
    return [head, *(wrapped(f"{answer}{took}", width, "dim", indent=20) if answer else [])]


def _unindented(line: Line, indent: int) -> Line:
    return tuple((text[indent:] if number == 0 else text, role) for number, (text, role) in enumerate(line))


class TracePage(PageView):
    """The page behind enter in the log, and behind `t` wherever a message is under the cursor."""

    NAME: ClassVar[str] = "trace"
    TITLE: ClassVar[str] = "trace"
    SCOPES: ClassVar[Sequence[str]] = ("find", "text", "copy", "move", "any")
    HINTS: ClassVar[Sequence[str]] = ("help", "list.filter", "copy.record", "copy.block", "plain", "resync", "escape")

    def __init__(self, desk: Desk, identifier: str, *, no: int = 0) -> None:
        super().__init__(desk)
        self._identifier = identifier
        self._no = no
        self._decisions: Sequence[Why] = ()
        self._events: Sequence[MailEvent] = ()
        self._trouble = ""
        self._ticks = 0

    def crumb(self) -> tuple[str, str]:
        """Its id."""
        return clean(self._identifier), ""

    def shown(self) -> None:
        """Load at once."""
        self.resync()

    def resync(self) -> None:
        """Ask again."""
        begin(self, self._load, "trace")

    def tick(self, now: datetime) -> None:
        """Ages; what waits in the queue is asked for every few seconds, what is over is not."""
        self._ticks += 1
        waits = any(why.queue_ids for why in self._decisions) or not self._decisions
        if waits and self._ticks % RELOAD_SECONDS == 0 and self.desk.client.connected and self.desk.feeds.live:
            self.resync()
        self.redraw()

    async def _load(self) -> None:
        try:
            answer = await self.desk.client.call("trace.show", {"id": self._identifier})
        except CallError as error:
            if not self._decisions and not self._events:
                self._trouble = error.sentence()
        else:
            # A session may hold several: the one that was opened comes first.
            found = [Why.read(row) for row in rows_of(answer, "decisions")]
            self._decisions = sorted(found, key=lambda why: why.row.no != self._no)
            self._events = [MailEvent.read(row) for row in rows_of(answer, "events")]
            self._trouble = ""
        self.redraw()

    def content(self) -> Sequence[Line]:
        """The decisions, then the events in time order."""
        width, now = self.size.width, self.desk.now()
        if not self._decisions and not self._events:
            return wrapped(self._trouble or "Asking the daemon.", width, "bad" if self._trouble else "dim")
        lines: list[Line] = []
        for number, why in enumerate(self._decisions):
            if number == 1:
                others = len(self._decisions) - 1
                lines += [heading("OF THE SAME SESSION OR MESSAGE", plural(others, "more decision")), BLANK]
            lines += decision_lines(why, now, width)
        if self._events:
            lines.append(heading("SINCE THEN" if self._decisions else "WHAT HAPPENED", "in the order of time"))
            lines += [line for event in self._events for line in _event(event, now, width)]
        return lines

    def refuse(self, action: Action) -> str:
        """Nothing to copy before there is something."""
        return "nothing is known of it" if action.scope == "copy" and not (self._decisions or self._events) else ""

    def command_line(self) -> str:
        """The same in a shell."""
        return f"mailbox trace {clean(self._identifier)}"

    def do_copy_record(self) -> None:
        """The first decision without the history."""
        lines = (
            decision_lines(self._decisions[0], self.desk.now(), self.size.width) if self._decisions else self.content()
        )
        self._copied("\n".join("".join(text for text, _ in line).rstrip() for line in lines) + "\n")

    def do_copy_block(self) -> None:
        """The whole page."""
        self._copied(self.as_text())

    def _copied(self, text: str) -> None:
        self.desk.prompt.say(copy_message(text))
        self.desk.shell.write_terminal(osc52(text))
