"""The key table: every action of the console, once. Footer, help, palette, the `:` line and the tests read it from here.

An action has one id everywhere. Scopes say where its keys work; a view lists its scopes and the first match wins. Only
the letters in `SCREEN_VERBS` may mean different things on different screens. Lower case never destroys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tui.format import display_key

SCREEN_VERBS = frozenset("bcdfiwABCHKL")
SAME_DEED = {
    "x": frozenset({"queue.hold", "account.switch"}),
    "a": frozenset({"spam.add", "queue-rule.add", "queue-place.pause", "signing-key.rotate", "suppression.add"}),
    "e": frozenset({"account.quota", "spam.mode"}),
    "D": frozenset(
        {
            "queue.drop",
            "app-password.revoke",
            "spam.remove",
            "queue-rule.remove",
            "queue-place.end",
            "signing-key.retire",
            "suppression.remove",
        }
    ),
    "u": frozenset({"account.restore", "deleted.restore", "spam.undo"}),
}
"""Keys that do the same to different things: off and on, add, edit, destroy, take back."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing the console can do."""

    id: str
    keys: Sequence[str]
    label: str
    tooltip: str
    scope: str
    changes: bool = False
    """It changes the server: refused while disconnected, stale or read-only."""
    cli: str = ""
    """The same on the command line; `{id}` stands for the selected ids."""

    @property
    def handler(self) -> str:
        """The method that carries it out."""
        return "do_" + self.id.replace(".", "_").replace("-", "_")

    @property
    def shown(self) -> str:
        """Its first key as a person would write it."""
        return display_key(self.keys[0]) if self.keys else ""


ACTIONS: tuple[Action, ...] = (
    # Moving, the same in every list and page.
    Action("move.down", ("j", "down"), "down", "Next row", "move"),
    Action("move.up", ("k", "up"), "up", "Row before", "move"),
    Action("move.first", ("g", "home"), "first", "First row", "move"),
    Action("move.last", ("G", "end"), "last", "Last row", "move"),
    Action("move.page-down", ("pagedown", "ctrl+d"), "page down", "One page down", "move"),
    Action("move.page-up", ("pageup", "ctrl+u"), "page up", "One page up", "move"),
    Action("open", ("enter",), "open", "Open what is under the cursor", "open"),
    # Lists.
    Action("list.filter", ("/",), "filter", "Filter a list or find in a text; empty ends it", "find"),
    Action("find.next", ("n",), "next match", "Go to the next line with the text found", "text"),
    Action("find.previous", ("N",), "match before", "Go to the line before with the text found", "text"),
    Action("list.mark", ("space",), "mark", "Mark the row; actions work on all marked rows", "mark"),
    Action("list.mark-range", ("V",), "range", "Mark from the last marked row to this one", "mark"),
    Action("list.mark-all", ("*",), "mark all", "Mark all listed rows, on the screen or not", "mark"),
    Action("list.sort", ("s",), "sort", "Sort by the next column", "sort"),
    Action("list.reverse", ("S",), "reverse", "Turn the order round", "sort"),
    Action("list.problems", ("P",), "problems", "Only what did not go well, on and off", "problems"),
    Action("list.show-new", (".",), "show new", "Show new and changed rows now", "list"),
    Action("list.menu", ("m",), "menu", "What can be done with this row, or why not", "list"),
    Action("export", ("o",), "export", "Write this view to a file: csv, json or text", "list"),
    Action("copy.record", ("y",), "copy", "Copy the record to the terminal's clipboard", "copy"),
    Action("copy.block", ("Y",), "copy all", "Copy the whole block on the screen", "copy"),
    Action("trace", ("t",), "trace", "What was decided about it, and all since then", "trace", cli="trace {id}"),
    Action("pane.next", ("l", "right"), "next pane", "The pane to the right", "pane"),
    Action("pane.previous", ("h", "left"), "pane before", "The pane to the left", "pane"),
    # Queue.
    Action(
        "queue.retry",
        ("r",),
        "retry",
        "Try again now instead of at the planned time",
        "queue",
        changes=True,
        cli="queue retry {id}",
    ),
    Action(
        "queue.hold",
        ("x",),
        "hold",
        "Hold so that nothing is tried, or release",
        "queue",
        changes=True,
        cli="queue hold {id}",
    ),
    Action(
        "queue.bounce",
        ("f",),
        "bounce",
        "Give up and tell the sender",
        "queue",
        changes=True,
        cli="queue bounce {id}",
    ),
    Action(
        "queue.drop",
        ("D",),
        "drop",
        "Delete without telling anybody; asks first",
        "queue",
        changes=True,
        cli="queue drop {id}",
    ),
    Action(
        "queue.route",
        ("w",),
        "way",
        "Send it by another route; asks which one",
        "queue",
        changes=True,
        cli="queue route ROUTE {id}",
    ),
    Action("queue.history", ("H",), "what left", "What has left the queue in the last 30 days", "queue-views"),
    Action("queue.rules", ("L",), "hold rules", "Rules that hold new mail from the start", "queue-views"),
    Action("queue.places", ("B",), "paused", "Where no mail goes for now, and why", "queue-views"),
    Action("queue.keys", ("K",), "signing keys", "Keys that sign mail, their records and next step", "queue-views"),
    Action("queue.suppressed", ("C",), "suppressed", "Outside addresses that nothing is sent to", "queue-views"),
    Action("signing-key.check", ("c",), "check", "Ask every name server for its record now", "signing-key"),
    Action(
        "signing-key.rotate", ("a",), "next keys", "Prepare the keys that follow; asks", "signing-key", changes=True
    ),
    Action(
        "signing-key.retire", ("D",), "retire", "It signs no more, for good; asks first", "signing-key", changes=True
    ),
    Action("suppression.add", ("a",), "add", "Send nothing to an address any more", "suppression", changes=True),
    Action(
        "suppression.remove", ("D",), "remove", "Send to this address again; asks first", "suppression", changes=True
    ),
    Action(
        "queue-rule.add", ("a",), "add", "Hold new mail of a sender, recipient, account", "queue-rule", changes=True
    ),
    Action("queue-rule.remove", ("D",), "remove", "End this rule; asks first", "queue-rule", changes=True),
    Action(
        "queue-place.pause",
        ("a",),
        "pause",
        "Deliver nothing to a domain, or nothing at all",
        "queue-place",
        changes=True,
    ),
    Action(
        "queue-place.end", ("D",), "end", "Resume it, or forget a host's failures; asks", "queue-place", changes=True
    ),
    Action("queue-place.probe", ("f",), "try now", "Let one message try this host now", "queue-place", changes=True),
    # Audit.
    Action(
        "audit.verify",
        ("c",),
        "verify",
        "Check that no entry was changed or removed",
        "audit",
        cli="audit verify",
    ),
    # Accounts.
    Action("account.deleted", ("d",), "deleted", "What was expunged and can still come back", "account"),
    Action("account.passwords", ("w",), "passwords", "App passwords of its programs; D makes one void", "account"),
    Action("account.rejects", ("f",), "refused", "Mail to it that was refused by its score", "account"),
    Action(
        "rejects.recover",
        ("f",),
        "deliver",
        "Put it into the inbox after all, and learn that",
        "rejects",
        changes=True,
    ),
    Action(
        "account.switch",
        ("x",),
        "off/on",
        "No login any more, or again; its mail is kept",
        "account",
        changes=True,
        cli="user disable {id}",
    ),
    Action(
        "account.suspend",
        ("H",),
        "suspend",
        "No login and all its mail held, or its end; asks",
        "account",
        changes=True,
        cli="user suspend {id}",
    ),
    Action(
        "account.quota",
        ("e",),
        "quota",
        "The most its mail may take",
        "account",
        changes=True,
        cli="user quota {id}",
    ),
    Action(
        "account.restore",
        ("u",),
        "take back",
        "Take a removed account out of the trash",
        "account",
        changes=True,
        cli="user restore {id}",
    ),
    Action(
        "app-password.revoke",
        ("D",),
        "revoke",
        "Make this password void; asks first",
        "app-password",
        changes=True,
        cli="user app-password revoke {id}",
    ),
    Action(
        "deleted.restore",
        ("u",),
        "restore",
        "Bring the marked messages or this one back; asks",
        "deleted",
        changes=True,
        cli="user restore {id}",
    ),
    # Spam.
    Action("spam.let-in", ("f",), "let in", "Let this one in at its next attempt", "spam", changes=True),
    Action("spam.allow", ("w",), "never delay", "Never keep this one waiting; asks whom exactly", "spam", changes=True),
    Action("spam.add", ("a",), "add", "Add to this pane by typing", "spam", changes=True),
    Action("spam.remove", ("D",), "remove", "End this ban or exemption; asks first", "spam", changes=True),
    Action("spam.ban", ("B",), "ban", "Keep this client out for a day; asks first", "spam", changes=True),
    Action("spam.mode", ("e",), "mode", "Take a check as off, advisory or enforce", "spam", changes=True),
    Action("spam.undo", ("u",), "undo", "Take your last change on this screen back", "spam", changes=True),
    # Without a daemon.
    Action("unit.start", ("b",), "begin", "Start the service: systemctl start mailserver", "offline"),
    # Everywhere.
    Action("help", ("?", "f1"), "help", "What the keys do here; enter runs one", "any"),
    Action("command", (":",), "command", "Type an action by its name", "any"),
    Action("palette", ("ctrl+p",), "palette", "Find any action by typing a part of it", "any"),
    Action("cli", ("!",), "as command", "Show the command line that does the same", "any"),
    Action("plain", ("v",), "plain text", "Show it outside the full screen, to select it", "any"),
    Action("pause", ("p",), "pause", "Stop live data, or go on", "any"),
    Action("resync", ("R",), "reload", "Load this screen again; when lost, connect now", "any"),
    Action("back", ("-",), "back", "Back to the last screen", "any"),
    Action("escape", ("escape",), "close", "Close prompt, marks, filter, page: the nearest", "any"),
    Action("suspend", ("ctrl+z",), "suspend", "Put the console to sleep; fg wakes it", "any"),
    Action("quit", ("q", "ctrl+c"), "quit", "Back; at the top level leave the console", "any"),
)


def go_actions(screens: Iterable[tuple[str, str, str]]) -> tuple[Action, ...]:
    """The digit keys of the screens that exist: (name, title, digit)."""
    return tuple(Action(f"go.{name}", (digit,), title, f"Go to {title}", "any") for name, title, digit in screens)


class KeyTable:
    """Finds actions by key, by id, by words."""

    def __init__(self, actions: Sequence[Action]) -> None:
        self.actions = tuple(actions)
        self._by_id = {action.id: action for action in self.actions}
        self._by_key = {(action.scope, key): action for action in self.actions for key in action.keys}

    def __getitem__(self, name: str) -> Action:
        return self._by_id[name]

    def find(self, key: str, scopes: Sequence[str]) -> Action | None:
        """What a key does in these scopes, the first scope first."""
        for scope in scopes:
            if found := self._by_key.get((scope, key)):
                return found
        return None

    def within(self, scopes: Sequence[str]) -> list[Action]:
        """All actions of these scopes, in the scopes' order."""
        return [action for scope in scopes for action in self.actions if action.scope == scope]

    def spelled(self, typed: str) -> tuple[Action, Sequence[str]] | None:
        """An action typed by id, by label or as on the command line, and the words after it."""
        words = typed.removeprefix("mailbox ").split()
        best: tuple[int, Action] | None = None
        for action in self.actions:
            for spelling in (action.id, action.label, action.cli.replace("{id}", "")):
                wanted = spelling.split()
                if wanted and words[: len(wanted)] == wanted and (best is None or len(wanted) > best[0]):
                    best = (len(wanted), action)
        return None if best is None else (best[1], words[best[0] :])
