"""The pages beside the queue and the keys that open them."""

from __future__ import annotations

from tui.screens.queue_history import HistoryPage
from tui.screens.queue_places import PlacesPage
from tui.screens.queue_rules import RulesPage
from tui.screens.signing_keys import SigningKeysPage
from tui.screens.suppressed import SuppressedPage
from tui.screens.view import View


class QueueViews(View):
    """A view from which they are a key away."""

    def do_queue_history(self) -> None:
        """What has left."""
        self.desk.shell.open_page(HistoryPage(self.desk))

    def do_queue_rules(self) -> None:
        """What is held from the start."""
        self.desk.shell.open_page(RulesPage(self.desk))

    def do_queue_places(self) -> None:
        """Pauses and hosts that are passed over."""
        self.desk.shell.open_page(PlacesPage(self.desk))

    def do_queue_keys(self) -> None:
        """What signs mail."""
        self.desk.shell.open_page(SigningKeysPage(self.desk))

    def do_queue_suppressed(self) -> None:
        """Whom nothing is sent to."""
        self.desk.shell.open_page(SuppressedPage(self.desk))
