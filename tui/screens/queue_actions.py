"""Changing the queue: plan, question with the counted effect, apply with the plan's hash.

Holding, releasing and one retry are reversible and ask nothing; a retry of many, a bounce and a drop ask in the prompt row; a drop
of more than twenty messages wants the count typed. Nothing is applied to rows that were not in the plan: the daemon refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tui.client import CallError
from tui.desk import Desk
from tui.format import plural
from tui.queue_models import Plan
from tui.screens.confirm import ConfirmPage
from tui.widgets.prompt_row import Entry, Question

TYPED_ABOVE_MESSAGES = 20
PLAN_SECONDS = 30.0

VERBS = {
    "retry": "Retry", "hold": "Hold", "release": "Release", "bounce": "Fail and bounce", "drop": "Drop", "route": "Reroute",
}  # fmt: skip
AFTER = {"hold": "x releases", "release": "x holds again", "retry": "R shows the result"}


@dataclass(frozen=True, slots=True)
class Target:
    """The rows an action is for: exact recipients, or the filter that lists them."""

    params: Mapping[str, Any]
    name: str


class QueueActions:
    """Carries out one action at a time; `done` is called after each that changed something or was outdated."""

    def __init__(self, desk: Desk, done: Callable[[], None]) -> None:
        self._desk = desk
        self._done = done

    def route(self, target: Target) -> None:
        """Ask by which way, then reroute."""

        def chosen(name: str) -> None:
            wanted = "" if name.strip() in {"", "-"} else name.strip()
            there = Target({**target.params, "route": wanted}, target.name)
            self._desk.prompt.run_worker(self.run("route", there), group="apply")

        self._desk.prompt.read(
            Entry("route (mx, smarthost or a route's name; empty: the configured one)", submit=chosen)
        )

    async def run(self, action: str, target: Target) -> None:
        """From key to effect."""
        prompt = self._desk.prompt
        try:
            answer = await self._desk.client.call(
                "queue.plan", {"action": action, **target.params}, timeout_seconds=PLAN_SECONDS
            )
        except CallError as error:
            prompt.say(error.sentence(), "bad")
            return
        plan = Plan.read(answer)
        if plan.count == 0:
            why = "it is being delivered right now" if plan.busy else "no waiting recipient matches any more"
            prompt.say(f"Nothing to {action}: {why}.", "warn")
            self._done()
            return
        if action in {"hold", "release"} or (action == "retry" and plan.count == 1):
            await self._apply(action, target, plan)
        elif action == "drop" and plan.messages > TYPED_ABOVE_MESSAGES:
            self._desk.shell.open_page(
                ConfirmPage(self._desk, plan, target.name, lambda: self._go(action, target, plan))
            )
        else:
            what = f"{VERBS[action]} {plural(plan.count, 'recipient')} of {plural(plan.messages, 'message')}?"
            prompt.ask(Question(what, {"y": lambda: self._go(action, target, plan)}))

    def _go(self, action: str, target: Target, plan: Plan) -> None:
        self._desk.prompt.run_worker(self._apply(action, target, plan), group="apply")

    async def _apply(self, action: str, target: Target, plan: Plan) -> None:
        prompt = self._desk.prompt
        if reason := self._desk.refuse_change():
            prompt.say(reason, "bad")
            return
        try:
            answer = await self._desk.client.call(
                "queue.apply", {"action": action, "plan": plan.plan, **target.params}, timeout_seconds=PLAN_SECONDS
            )
        except CallError as error:
            if error.code == "queue.changed":
                prompt.say("The queue changed since the question was asked; nothing was done. Look again.", "warn")
            else:
                prompt.say(error.sentence(), "bad")
            self._done()
            return
        effect = (
            str(answer.get("effect") or "") or f"{VERBS[action]}: {plural(int(answer.get('done') or 0), 'recipient')}."
        )
        after = AFTER.get(action, "")
        prompt.say(f"{effect.rstrip('.')}{' - ' + after if after else '.'}", "ok")
        self._done()


def exact(pairs: Sequence[tuple[str, str]], name: str) -> Target:
    """A target of exactly these (id, address) rows."""
    return Target({"recipients": [list(pair) for pair in pairs]}, name)
