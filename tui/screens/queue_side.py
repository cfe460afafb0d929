"""What the pages beside the queue share: a summary above one windowed list, fetched anew on demand, one call for a change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from tui.client import CallError
from tui.desk import Desk
from tui.keys import Action
from tui.screens.list_view import SummaryPage
from tui.screens.view import wrapped
from tui.theme import Line
from tui.widgets.lines import LineView
from tui.widgets.window_list import Column, Keyed, Page, WindowList

RowT = TypeVar("RowT", bound=Keyed)


class SidePage(SummaryPage[RowT]):
    """Subclasses fetch, name the columns, and say what stands above the list and in an empty one."""

    ROW_SCOPES: ClassVar[frozenset[str]] = frozenset({"copy", "open"})
    """Scopes whose actions need a row."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._summary = LineView(desk.palette, height=3)
        self.rows = WindowList(
            desk.palette, columns=self.columns, fetch=self.fetch, now=desk.now, empty=self.empty, on_move=self.draw
        )

    def columns(self, width: int) -> list[Column[RowT]]:
        """The list's columns."""
        raise NotImplementedError

    async def fetch(self, offset: int, limit: int) -> Page[RowT] | None:
        """One page from the daemon."""
        raise NotImplementedError

    def empty(self) -> list[Line]:
        """Why there is nothing, and which key changes that."""
        return []

    def sentence(self) -> str:
        """What stands above the list."""
        return ""

    def detail(self) -> str:
        """What is too long for the list's row under the cursor."""
        return ""

    def draw(self) -> None:
        """The sentence above the list, and below it what the row under the cursor has no room for."""
        if not self.is_mounted:
            return
        told = "Asking the daemon." if self.rows.total is None else self.sentence()
        self._summary.set_lines([((f" {told}", "strong"),), *wrapped(self.detail(), self.size.width, "accent")[:2]])

    def refuse(self, action: Action) -> str:
        """Row actions need a row."""
        return "there is no row" if action.scope in self.ROW_SCOPES and self.rows.row is None else ""

    def start(self, method: str, params: Mapping[str, Any], said: str) -> None:
        """Carry one change out; `said` is told when it is done."""
        self.desk.prompt.run_worker(self._change(method, params, said), group="apply")

    async def _change(self, method: str, params: Mapping[str, Any], said: str) -> None:
        prompt = self.desk.prompt
        if reason := self.desk.refuse_change():
            prompt.say(reason, "bad")
            return
        try:
            answer = await self.desk.client.call(method, dict(params))
        except CallError as error:
            prompt.say(error.sentence(), "bad")
        else:
            prompt.say(str(answer.get("effect") or said), "ok")
        self.rows.reload()
