import string
from collections import defaultdict

from tui.app import ConsoleApp
from tui.keys import ACTIONS, SAME_DEED, SCREEN_VERBS, KeyTable, go_actions
from tui.screens import SCREENS
from tui.screens.account import AccountPage
from tui.screens.app_passwords import AppPasswordsPage
from tui.screens.audit import EntryPage
from tui.screens.deleted_mail import DeletedMailPage, DeletedMessagePage
from tui.screens.menu import MenuPage
from tui.screens.message import MessagePage
from tui.screens.offline import OfflinePage
from tui.screens.queue_history import HistoryPage
from tui.screens.queue_places import PlacesPage
from tui.screens.queue_rules import RulesPage
from tui.screens.rejects import RejectsPage
from tui.screens.signing_keys import SigningKeysPage
from tui.screens.suppressed import SuppressedPage
from tui.screens.trace import TracePage

TABLE = KeyTable((*go_actions((view.NAME, view.TITLE, view.DIGIT) for view in SCREENS), *ACTIONS))
PAGES = (
    MessagePage,
    EntryPage,
    AccountPage,
    AppPasswordsPage,
    DeletedMailPage,
    DeletedMessagePage,
    TracePage,
    RejectsPage,
    HistoryPage,
    RulesPage,
    PlacesPage,
    SigningKeysPage,
    SuppressedPage,
)
VIEWS = (*SCREENS, *PAGES, MenuPage, OfflinePage)


def test_a_key_means_the_same_everywhere() -> None:
    meanings: dict[str, set[str]] = defaultdict(set)
    for action in TABLE.actions:
        for key in action.keys:
            meanings[key].add(action.id)
    several = {key: ids for key, ids in meanings.items() if len(ids) > 1 and key not in SCREEN_VERBS}
    assert several == SAME_DEED


def test_no_key_is_bound_twice_within_a_view() -> None:
    for view in VIEWS:
        keys = [key for action in TABLE.within(view.SCOPES) for key in action.keys]
        assert len(keys) == len(set(keys)), view


def test_every_action_has_id_label_tooltip_and_unique_id() -> None:
    assert len({action.id for action in TABLE.actions}) == len(TABLE.actions)
    for action in TABLE.actions:
        assert action.label
        assert action.keys
        assert action.tooltip[:1].isupper()
        # Help shows it in full at 80 columns.
        assert len(action.tooltip) <= 48, action
        assert len(action.label) <= 14, action


def test_every_action_of_a_view_is_carried_out_by_view_or_app() -> None:
    for view in (*SCREENS, *PAGES):
        for action in TABLE.within(view.SCOPES):
            if not action.id.startswith("go."):
                assert hasattr(view, action.handler) or hasattr(ConsoleApp, action.handler), (view, action.id)


def test_lower_case_never_destroys_and_no_key_needs_a_special_keyboard() -> None:
    assert TABLE["queue.drop"].keys == ("D",)
    for action in TABLE.actions:
        for key in action.keys:
            assert not key.startswith(("alt+", "ctrl+shift+", "shift+", "super+"))
            assert key not in {"ctrl+m", "ctrl+i", "ctrl+h"}


def test_digits_go_to_screens() -> None:
    for digit in string.digits:
        found = TABLE.find(digit, ("any",))
        assert found is None or found.id.startswith("go.")


def test_actions_can_be_typed_by_id_label_and_command_line() -> None:
    for typed in ("queue.retry", "retry", "queue retry", "mailbox queue retry"):
        found = TABLE.spelled(typed)
        assert found is not None
        assert found[0].id == "queue.retry"
    found = TABLE.spelled("mailbox queue drop 4XK 4XL")
    assert found is not None
    assert (found[0].id, list(found[1])) == ("queue.drop", ["4XK", "4XL"])
    assert TABLE.spelled("no such thing") is None
