"""The console's app: frame, key dispatch, switching between screens, and what happens when the daemon comes and goes.

One Textual screen holds title, tabs, body, prompt row and key hints; switching screens shows another widget in the body. Keys
go through one table (`tui.keys`); Textual's own bindings and palette are off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any, ClassVar

from textual import events
from textual.app import App, ComposeResult, SuspendNotSupported
from textual.containers import Container
from textual.filter import LineFilter
from textual.widget import Widget

from tui.attention import ASK_SECONDS, Attention
from tui.client import Client
from tui.command_line import shell_line
from tui.desk import Desk
from tui.feeds import Feeds
from tui.filters import TerminalSafe
from tui.format import local_now
from tui.frame import Hints, Tabs, TitleRow
from tui.keys import ACTIONS, Action, KeyTable, go_actions
from tui.models import Health
from tui.one_paint import OnePaintScreen
from tui.outside import show_outside
from tui.report import write_report
from tui.screens import SCREENS
from tui.screens.decision_log import LogScreen
from tui.screens.menu import MenuPage
from tui.screens.offline import OfflinePage
from tui.screens.trace import TracePage
from tui.screens.view import View
from tui.terminal import copy_message, osc52
from tui.theme import CONSOLE_THEME, Palette, PaletteName
from tui.widgets.lines import LineView
from tui.widgets.prompt_row import Entry, PromptRow, Question

MIN_WIDTH, MIN_HEIGHT = 60, 16
NOT_PERMITTED = 77
COVER_SECONDS = 0.06
"""How long the first paint waits for the first data: one screen on the wire instead of four half-empty ones."""


def set_display(widget: Widget, *, shown: bool) -> None:
    """Show or hide; setting what is already so would lay out and repaint the whole screen."""
    if widget.display != shown:
        widget.display = shown


class ConsoleApp(App[int], inherit_bindings=False):
    """The whole console."""

    ENABLE_COMMAND_PALETTE = False
    CSS: ClassVar[str] = """
    Screen { layout: vertical; overflow: hidden; }
    #body { width: 1fr; height: 1fr; overflow: hidden; }
    #small { display: none; height: 1fr; }
    """

    def __init__(
        self,
        socket_path: str,
        *,
        palette: PaletteName = "rich",
        ascii_only: bool = False,
        read_only: bool = False,
        now: Callable[[], datetime] = local_now,
    ) -> None:
        self._safe = TerminalSafe(ascii_only=ascii_only)
        super().__init__(ansi_color=palette != "rich")
        self.animation_level = "none"
        if palette == "rich":
            self.register_theme(CONSOLE_THEME)
            self.theme = CONSOLE_THEME.name
        else:
            self.theme = "ansi-dark"
        colours = Palette(palette)
        client = Client(socket_path, on_change=self._connection_changed)
        table = KeyTable((*go_actions((view.NAME, view.TITLE, view.DIGIT) for view in SCREENS), *ACTIONS))
        self.desk = Desk(
            client=client,
            feeds=Feeds(client),
            keys=table,
            palette=colours,
            prompt=PromptRow(colours, id="prompt"),
            shell=self,
            now=now,
            ascii_only=ascii_only,
            read_only=read_only,
            screens=[view.NAME for view in SCREENS],
            health=Health(),
        )
        self.complaint = ""
        """What to tell on stderr after the screen was restored."""
        self._title = TitleRow(self.desk)
        self._tabs = Tabs(self.desk, SCREENS)
        self._hints = Hints(self.desk)
        home = SCREENS[0](self.desk)
        # Home stands in the first layout already: mounting it later would paint the screen once more.
        self._body = Container(home, id="body")
        self._small = LineView(colours, id="small")
        self._views: dict[str, View] = {home.NAME: home}
        self._stack: list[View] = []
        self._previous = ""
        self._history: list[str] = []
        self._was_connected = False
        self._cover = ExitStack()
        self._attention = Attention(self.desk)
        self._ticks = 0

    def get_line_filters(self) -> Sequence[LineFilter]:
        """The terminal guard is the last filter."""
        return [*super().get_line_filters(), self._safe]

    def get_default_screen(self) -> OnePaintScreen:
        """The only screen there is."""
        return OnePaintScreen(id="_default")

    def compose(self) -> ComposeResult:
        """The frame."""
        yield self._title
        yield self._tabs
        yield self._body
        yield self.desk.prompt
        yield self._hints
        yield self._small

    def on_mount(self) -> None:
        """Home at once; the connection and the clock start beside it."""
        self._cover.enter_context(self.batch_update())
        self.set_timer(COVER_SECONDS, self._uncover)
        self.desk.feeds.always("health", self._on_health)
        self.run_worker(self.desk.client.run(), group="client", name="control client")
        self.set_interval(1.0, self._tick)
        self.set_interval(ASK_SECONDS, self._attention.ask)
        self.go(SCREENS[0].NAME)

    def _uncover(self) -> None:
        """Paint what has come together so far."""
        self._cover.close()
        if self.screen_stack:  # a closing console has none
            self.screen.check_idle()

    # Screens and pages

    @property
    def view(self) -> View:
        """What the body shows now."""
        return self._stack[-1]

    def go(self, name: str) -> None:
        """Show a top-level screen."""
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = next(kind for kind in SCREENS if name == kind.NAME)(self.desk)
        old, self._stack = self._stack, [view]
        if old and old[0] is not view:
            self._previous = old[0].NAME
        self._swap(old)

    def show_log(self, words: str) -> None:
        """The log of an address, a network or an id."""
        self.go("log")
        if isinstance(self.view, LogScreen):
            self.view.look_for(words)

    def open_page(self, page: View) -> None:
        """A page over the current screen."""
        old = list(self._stack)
        self._stack.append(page)
        self._swap(old[-1:])

    def close_page(self) -> None:
        """Back to what is below."""
        if len(self._stack) > 1:
            self._swap([self._stack.pop()])

    def _swap(self, old: Sequence[View]) -> None:
        view = self.view
        for gone in old:
            if gone is view:
                continue
            if gone in self._stack or gone in self._views.values():
                set_display(gone, shown=False)
            else:
                gone.remove()
        self.desk.prompt.close()
        if view.is_attached:
            set_display(view, shown=True)
        else:
            self._body.mount(view)
        self.call_after_refresh(self._settled, view)
        self.redraw_frame()

    def _settled(self, view: View) -> None:
        """The view has its size: let it load, follow its topics."""
        if view is not self.view:
            return
        view.set_stale(self._stale)
        self.desk.feeds.show(self._wants())
        view.shown()
        self.redraw_frame()

    def _wants(self) -> Sequence[Any]:
        """A page keeps the feeds of the screen it covers, and may have its own."""
        return [want for view in dict.fromkeys((*self._stack[:1], *self._stack[-1:])) for want in view.wants()]

    def redraw_frame(self) -> None:
        """Title, tabs and hints; only what changed is painted."""
        if not self._stack:
            return
        self._title.show()
        self._tabs.show(self.view, self._stack[0].NAME)
        self._hints.show(self.view)

    # Keys

    async def on_event(self, event: events.Event) -> None:
        """Keys, pasted text and focus are ours; everything else is Textual's."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            character = event.character if event.character and event.character.isprintable() else None
            key = character if character and character != " " else event.key
            self._attention.come()  # who types is there, whatever the terminal said
            self.press(key, character)
        elif isinstance(event, events.Paste) and not event.is_forwarded:
            self.desk.prompt.paste(event.text)
        elif isinstance(event, events.AppBlur):  # Textual would restyle every widget
            self._attention.leave()
        elif isinstance(event, events.AppFocus):
            self._attention.come()
        else:
            await super().on_event(event)

    def press(self, key: str, character: str | None = None) -> None:
        """One key: the prompt row first, then the view's scopes."""
        prompt = self.desk.prompt
        if prompt.active:
            prompt.press(key, character)
            return
        prompt.say("")
        action = self.desk.keys.find(key, self.view.SCOPES)
        if action is not None:
            self.perform(action)

    def perform(self, action: Action) -> None:
        """Run an action on the view, else on the app, unless there is a reason not to."""
        prompt = self.desk.prompt
        if action.changes and (reason := self.desk.refuse_change()):
            prompt.say(reason, "bad")
            return
        if reason := self.view.refuse(action):
            prompt.say(f"Not possible: {reason}.", "dim")
            return
        if action.id.startswith("go."):
            self.go(action.id[3:])
            return
        handler = getattr(self.view, action.handler, None) or getattr(self, action.handler, None)
        if handler is None:
            prompt.say(f"{action.label} is not available on this screen.", "dim")
        else:
            handler()

    def do_help(self) -> None:
        """All keys of the view, runnable."""
        below = self.view
        if not isinstance(below, MenuPage):
            self.open_page(MenuPage(self.desk, "help", self.desk.keys.within(below.SCOPES), below))

    def do_palette(self) -> None:
        """Find an action by typing."""
        below = self.view
        if not isinstance(below, MenuPage):
            self.open_page(MenuPage(self.desk, "palette", self.desk.keys.within(below.SCOPES), below, typing=True))

    def do_command(self) -> None:
        """The command line."""
        self.desk.prompt.read(Entry(":", submit=self._command, history=self._history))

    def _command(self, typed: str) -> None:
        typed = typed.strip()
        if not typed:
            return
        for view in SCREENS:
            if typed in {view.NAME, view.DIGIT}:
                self.go(view.NAME)
                return
        found = self.desk.keys.spelled(typed)
        if found is None:
            self.desk.prompt.say(f"No action is called {typed!r}; ? lists them.", "bad")
            return
        action, rest = found
        if action.id == "trace" and len(rest) == 1:
            self.open_page(TracePage(self.desk, rest[0]))
            return
        if rest:
            # Acting on ids that are not on the screen would hide what is done; the command line is made for that.
            shell = f"mailbox {typed.removeprefix('mailbox ')}"
            self.desk.prompt.say(f"In the console actions work on the marked rows. In a shell: {shell}", "warn")
            return
        if action.scope not in self.view.SCOPES:
            self.desk.prompt.say(f"{action.label} works on another screen ({action.scope}).", "bad")
            return
        self.perform(action)

    def do_cli(self) -> None:
        """The command line of the view's main action."""
        text = shell_line(self.view, self.desk.keys)
        self.desk.prompt.ask(Question(text, {"y": lambda: self._copy(text)}, "y copies", "text", ""))

    def _copy(self, text: str) -> None:
        self.desk.prompt.say(copy_message(text))
        self.write_terminal(osc52(text))

    def do_pause(self) -> None:
        """Live data on and off."""
        feeds = self.desk.feeds
        feeds.pause(paused=not feeds.paused)
        self.desk.prompt.say(
            "Live data is paused, p goes on." if feeds.paused else "Live again.", "warn" if feeds.paused else "ok"
        )
        self.redraw_frame()

    def do_resync(self) -> None:
        """Reload, or connect now."""
        if self.desk.client.connected:
            self.desk.feeds.show(())
            self.view.resync()
            self.desk.feeds.show(self._wants())
            self.desk.prompt.say("Reloaded.", "dim")
        else:
            self.desk.client.retry_now()

    def do_back(self) -> None:
        """The page below, else the screen before."""
        if len(self._stack) > 1:
            self.close_page()
        elif self._previous:
            self.go(self._previous)

    def do_escape(self) -> None:
        """Close the nearest thing."""
        if not self.view.escape() and len(self._stack) > 1:
            self.close_page()

    def do_plain(self) -> None:
        """The view's text where the terminal can select it."""
        text = self.view.plain_text()
        if text.strip():
            self.run_worker(self._plain(text), group="plain", exclusive=True)
        else:
            self.desk.prompt.say("There is no text to show here.", "dim")

    async def _plain(self, text: str) -> None:
        try:
            with self._attention.elsewhere():
                await show_outside(self, text)
        except SuspendNotSupported:
            self.desk.prompt.say("This terminal has no other page; o writes a file.", "warn")

    def do_suspend(self) -> None:
        """To the shell."""
        self.action_suspend_process()

    def do_quit(self) -> None:
        """Back; at the top level leave."""
        if len(self._stack) > 1 and not isinstance(self.view, OfflinePage):
            self.close_page()
        else:
            self.exit(0)

    # The daemon

    @property
    def _stale(self) -> bool:
        return self._was_connected and not self.desk.client.connected

    def _on_health(self, state: dict[str, Any]) -> None:
        self.desk.health = Health.read(state)
        self._title.show()
        self.view.health_changed()

    def _connection_changed(self) -> None:
        """Connected: reload and follow. Lost: keep what is there, grey."""
        if not self._stack:
            return
        client = self.desk.client
        if client.error_code == "control.not_permitted":
            reason = client.error or "not permitted"
            self.complaint = f"mailbox: {reason}. Run it as root or as a member of the group mailserver-admin."
            self.exit(NOT_PERMITTED, return_code=NOT_PERMITTED)
            return
        if client.connected:
            self._was_connected = True
            if isinstance(self.view, OfflinePage):
                self.close_page()
            self.view.set_stale(False)
            if not client.compatible:
                self.desk.prompt.say(
                    "The daemon speaks another protocol version, nothing can be changed. Restart the console.", "bad"
                )
            self.view.resync()
        elif not self._was_connected:
            if not isinstance(self.view, OfflinePage):
                self.open_page(OfflinePage(self.desk))
        else:
            self.view.set_stale(True)
        self.redraw_frame()

    def _tick(self) -> None:
        self._ticks += 1
        self._attention.judge()
        if self.desk.link != "fast" and self._ticks % 2:
            return
        self._title.show()
        self.view.tick(self.desk.now())

    # The terminal

    def on_cursor_position(self, event: events.CursorPosition) -> None:
        """The answer to the question that times the line."""
        self._attention.answered()

    def on_resize(self, event: events.Resize) -> None:
        """Below 60x16 there is one line instead of a broken screen."""
        small = event.size.width < MIN_WIDTH or event.size.height < MIN_HEIGHT
        for part in (self._title, self._tabs, self._body, self.desk.prompt, self._hints):
            set_display(part, shown=not small)
        set_display(self._small, shown=small)
        if small:
            self._small.set_lines(
                [((f"needs {MIN_WIDTH}x{MIN_HEIGHT}, have {event.size.width}x{event.size.height}", "warn"),)]
            )
        else:
            self.call_after_refresh(self.redraw_frame)

    def write_terminal(self, data: str) -> None:
        """An escape sequence of our own; never data."""
        if data and self._driver is not None and not self._driver.is_headless:
            self._driver.write(data)

    def _fatal_error(self) -> None:
        """Textual would print local variables, which may hold secrets; we keep a report without them."""
        self.complaint = write_report(self._exception)
        self._close_messages_no_wait()
