"""The shell's command line for what is on the screen: what `!` shows."""

from __future__ import annotations

from tui.keys import KeyTable
from tui.screens.view import View


def shell_line(view: View, keys: KeyTable) -> str:
    """The view's own, else its actions' with the selected ids."""
    own = view.command_line()
    words = [action.cli.removesuffix("{id}").split() for action in keys.within(view.SCOPES) if action.cli]
    if own or not words:
        return own or "mailbox status"
    verbs = " | ".join(dict.fromkeys(each[-1] for each in words if each[:-1] == words[0][:-1]))
    return " ".join(("mailbox", *words[0][:-1], verbs, view.command_ids())).strip()
