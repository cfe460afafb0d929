"""Bringing deleted messages back: the plan, the question with where they would go, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from tui.account_models import Restoring
from tui.client import CallError
from tui.desk import Desk
from tui.format import count, fit, plural, size_words
from tui.models import int_of, rows_of, text_of
from tui.screens.view import PageView, heading, wrapped
from tui.theme import Line
from tui.widgets.lines import BLANK
from tui.widgets.prompt_row import Question

PLAN_SECONDS = 60.0
RESTORE_SECONDS = 3600.0
NAMED = 3


class Undelete:
    """Carries out one restore at a time; `done` is called when something changed or was outdated."""

    def __init__(self, desk: Desk, done: Callable[[], None]) -> None:
        self._desk = desk
        self._done = done

    async def run(self, target: Mapping[str, Any]) -> None:
        """From key to question."""
        prompt = self._desk.prompt
        prompt.say("Counting what would come back.", "dim")
        try:
            answer = await self._desk.client.call("retained.plan", target, timeout_seconds=PLAN_SECONDS)
        except CallError as error:
            prompt.say(error.sentence(), "bad")
            return
        plan = Restoring.read(answer)
        if not plan.messages:
            prompt.say("Nothing to restore: it is not kept any more.", "warn")
            self._done()
        elif not plan.fits:
            prompt.say(
                f"The quota has no room for {plural(plan.messages, 'message')}, {size_words(plan.size_bytes)}: "
                "mark fewer, or e on the account.",
                "bad",
            )
        else:
            question = Question(
                f"Restore {plural(plan.messages, 'message')}, {size_words(plan.size_bytes)}, {going(plan)}?",
                {"y": lambda: self._go(target)},
            )
            if len(plan.targets) == 1 and plan.targets[0][2]:
                prompt.ask(question)
            else:
                self._desk.shell.open_page(RestorePage(self._desk, plan, question))

    def _go(self, target: Mapping[str, Any]) -> None:
        self._desk.prompt.run_worker(self._restore(target), group="apply")

    async def _restore(self, target: Mapping[str, Any]) -> None:
        prompt = self._desk.prompt
        if reason := self._desk.refuse_change():
            prompt.say(reason, "bad")
            return

        def progress(done: int, total: int) -> None:
            if not prompt.active:
                prompt.say(f"Restoring, {count(done)} of {plural(total, 'message')} are looked at.")

        try:
            answer = await self._desk.client.call(
                "retained.restore", target, timeout_seconds=RESTORE_SECONDS, progress=progress
            )
        except CallError as error:
            prompt.say(error.sentence(), "bad")
        else:
            prompt.say(told(answer), "ok" if int_of(answer, "restored") else "warn")
        self._done()


class RestorePage(PageView):
    """The question with all places, when they are several or one has to be made again. Any key but y cancels."""

    NAME: ClassVar[str] = "restore"
    TITLE: ClassVar[str] = "Restore?"
    HINTS: ClassVar[Sequence[str]] = ("escape",)

    def __init__(self, desk: Desk, plan: Restoring, question: Question) -> None:
        super().__init__(desk)
        self._plan = plan
        go = question.keys["y"]
        self._question = replace(
            question,
            text=f"Restore {plural(plan.messages, 'message')}, {size_words(plan.size_bytes)}?",
            keys={"y": lambda: self._close(go)},
            cancel=desk.shell.close_page,
        )

    def _close(self, go: Callable[[], None]) -> None:
        self.desk.shell.close_page()
        go()

    def shown(self) -> None:
        """Ask at once."""
        self.redraw()
        self.desk.prompt.ask(self._question)

    def content(self) -> Sequence[Line]:
        """How many, and where to."""
        plan, width = self._plan, self.size.width
        lines: list[Line] = [
            BLANK,
            ((f" Restore {plural(plan.messages, 'message')}, {size_words(plan.size_bytes)}", "head"),),
            BLANK,
            *wrapped(
                "They keep dates and flags and count against the quota again; mail programs fetch them anew.", width
            ),
            *(wrapped(f"{plural(plan.left_out, 'is', 'are')} not kept any more.", width) if plan.left_out else []),
            BLANK,
            heading("WHERE TO"),
        ]
        for name, number, exists in plan.targets:
            note = "" if exists else "gone, made again"
            lines.append(
                (
                    (f"{fit(count(number), 9, 'right')}  ", "strong"),
                    (f"{fit(name, min(40, width - 30))} ", "text"),
                    (note, "warn"),
                )
            )
        if (rest := plan.messages - sum(number for _, number, _ in plan.targets)) > 0:
            lines.append(((f"{fit(count(rest), 9, 'right')}  in further mailboxes", "faint"),))
        return lines


def going(plan: Restoring) -> str:
    """Where they would go, most messages first."""
    places = [
        f"{count(number) + ' ' if len(plan.targets) > 1 else ''}to {name}{'' if exists else ' (made again)'}"
        for name, number, exists in plan.targets[:NAMED]
    ]
    return listed(places, len(plan.targets))


def told(answer: Mapping[str, Any]) -> str:
    """How many came back, and where to."""
    restored, left_out = int_of(answer, "restored"), int_of(answer, "left_out")
    missing = f" {plural(left_out, 'is', 'are')} not kept any more." if left_out else ""
    if not restored:
        return f"Nothing came back.{missing}"
    where = Counter(text_of(each, "mailbox") for each in rows_of(answer, "messages"))
    if len(where) == 1:
        return f"{plural(restored, 'message')} {'is' if restored == 1 else 'are'} back in {next(iter(where))}.{missing}"
    # Only the first thousand are told one by one.
    some = " of the first thousand" if restored > where.total() else ""
    places = [f"{count(number)}{some} in {name}" for name, number in where.most_common(NAMED)]
    return f"{plural(restored, 'message')} are back: {listed(places, len(where))}.{missing}"


def listed(places: Sequence[str], total: int) -> str:
    """Some names, and how many more there are."""
    more = [f"{plural(total - len(places), 'more mailbox', 'more mailboxes')}"] if total > len(places) else []
    return ", ".join([*places, *more])
