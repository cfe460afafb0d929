"""The console's screens. A new screen is one file here and one line in `SCREENS`, in the order of its digits.

A screen is a `View`: it names its digit, the key scopes it listens to and the topics it follows while visible, and draws
with `LineView` and `WindowList`. Pages (message, help, dialogs) are views without a digit, opened over a screen.
"""

from tui.screens.accounts import AccountsScreen
from tui.screens.audit import AuditScreen
from tui.screens.decision_log import LogScreen
from tui.screens.home import HomeScreen
from tui.screens.queued_mail import QueueScreen
from tui.screens.spam import SpamScreen

SCREENS = (HomeScreen, QueueScreen, LogScreen, AccountsScreen, SpamScreen, AuditScreen)
