"""Changing what holds mail up: one call each, told in the prompt row; what can be taken back is remembered with its inverse."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tui.client import CallError
from tui.desk import Desk
from tui.format import clean
from tui.models import text_of
from tui.screens.queue_filter import duration
from tui.spam_models import Allowance, Ban, Check, Waiting

MOST_REMEMBERED = 50
NEVER_SECONDS = 10 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class Change:
    """One call, and what is said when it is done."""

    method: str
    params: Mapping[str, Any]
    said: str


@dataclass(frozen=True, slots=True)
class Done:
    """What takes a change back; without it the reason why nothing does."""

    inverse: Change | None
    reason: str = ""


class SpamActions:
    """Carries changes out; `done` is called after each."""

    def __init__(self, desk: Desk, done: Callable[[], None]) -> None:
        self._desk = desk
        self._done = done
        self._inverses: list[Change] = []

    def let_in(self, row: Waiting) -> None:
        """End one wait."""
        said = f"{row.sender or '<>'} is let in at its next attempt"
        self._start(Change("greylist.let_in", {"greylist_id": row.greylist_id}, said), Done(None, "it is known now"))

    def allow(self, kind: str, value: str, note: str = "") -> None:
        """Never keep somebody waiting; without a kind the value tells."""
        params = {"value": value, **({"kind": kind} if kind else {}), **({"note": note} if note else {})}
        key = {"value": value, **({"kind": kind} if kind else {})}
        change = Change("greylist.allow", params, f"{f'The {kind} ' if kind else ''}{value} never waits from now on")
        self._start(change, Done(Change("greylist.disallow", key, f"{value} is no longer exempt")))

    def disallow(self, row: Allowance) -> None:
        """End an exemption."""
        key = {"kind": row.kind, "value": row.value, **({"recipient": row.recipient} if row.recipient else {})}
        inverse = Change("greylist.allow", {**key, "note": row.note}, f"The {row.kind} {row.value} is exempt again")
        self._start(Change("greylist.disallow", key, f"The {row.kind} {row.value} is no longer exempt"), Done(inverse))

    def ban(self, network: str, seconds: int, reason: str) -> None:
        """Keep a network out."""
        change = Change(
            "ban.add", {"network": network, "seconds": seconds, "reason": reason}, f"{network} may not connect now"
        )
        self._start(change, Done(Change("ban.remove", {"network": network}, f"{network} may come in again")))

    def unban(self, row: Ban, now: datetime) -> None:
        """Let a network in again."""
        left = 0 if row.expires_at is None else max(1, min(NEVER_SECONDS, int((row.expires_at - now).total_seconds())))
        again = {"network": row.network, "seconds": left, "reason": row.reason}
        inverse = Change("ban.add", again, f"{row.network} is banned again")
        self._start(Change("ban.remove", {"network": row.network}, f"{row.network} may come in again"), Done(inverse))

    def mode(self, row: Check, mode: str) -> None:
        """How a check is taken."""
        key = f"policy.checks.{row.name}"
        inverse = Change("config.set", {"key": key, "value": row.mode}, f"{row.name} is {row.mode} again")
        self._start(Change("config.set", {"key": key, "value": mode}, f"{row.name} is {mode} now"), Done(inverse))

    def undo(self) -> None:
        """Take the last change back."""
        if not self._inverses:
            self._desk.prompt.say("Nothing was changed here yet that could be taken back; 9 shows all changes.", "dim")
        else:
            self._start(self._inverses.pop(), Done(None, ""))

    def _start(self, change: Change, done: Done) -> None:
        self._desk.prompt.run_worker(self._run(change, done), group="apply")

    async def _run(self, change: Change, done: Done) -> None:
        prompt = self._desk.prompt
        if reason := self._desk.refuse_change():
            prompt.say(reason, "bad")
            return
        try:
            answer = await self._desk.client.call(change.method, dict(change.params))
        except CallError as error:
            prompt.say(error.sentence(), "bad")
        else:
            if done.inverse is not None:
                self._inverses = [*self._inverses[-MOST_REMEMBERED:], done.inverse]
            idle = " It is trusted, so this is without effect." if answer.get("without_effect") else ""
            later = " It holds after a restart." if text_of(answer, "applied") == "restart" else ""
            after = " - u undo" if done.inverse is not None else "; no way back." if done.reason else "."
            prompt.say(f"{clean(change.said)}{after}{idle}{later}", "ok")
        self._done()


def parse_ban(text: str) -> tuple[str, int, str]:
    """`192.0.2.0/24 7d guesses passwords` as network, seconds and reason; raises ValueError with a sentence."""
    words = text.split()
    if not words:
        raise ValueError("A ban is written like 192.0.2.0/24 7d reason. Nothing was changed.")
    network, *rest = words
    seconds = 0
    if rest and rest[0][:1].isdigit() and rest[0][-1:] in "smhdw":
        seconds = duration(rest[0])
        rest = rest[1:]
    return network, seconds, " ".join(rest)


def parse_allowance(text: str) -> tuple[str, str, str]:
    """`[recipient] example.org a note` as kind, value and note; raises ValueError with a sentence."""
    words = text.split()
    kind = words.pop(0) if words and words[0] in {"sender", "domain", "network", "recipient"} else ""
    if not words:
        raise ValueError(
            "Whom? An address, a domain or a network; `recipient` before one of ours. Nothing was changed."
        )
    return kind, words[0], " ".join(words[1:])


def shell_line(row: Waiting | Allowance | Ban | Check | None) -> str:
    """The command line of a row's first action."""
    if isinstance(row, Waiting):
        return f"mailbox greylist allow --now {row.greylist_id}"
    if isinstance(row, Allowance):
        whose = "--recipient " if row.kind == "recipient" else f"--for {row.recipient} " if row.recipient else ""
        return f"mailbox greylist allow --remove {whose}{shlex.quote(row.value)}"
    if isinstance(row, Ban):
        return f"mailbox ban remove {shlex.quote(row.network)}"
    if isinstance(row, Check):
        return f"mailbox config set policy.checks.{row.name} advisory"
    return ""
