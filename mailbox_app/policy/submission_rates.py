"""How many recipients one of our users may send to: a stolen password must not make this server a source of spam."""

from __future__ import annotations

from mailbox_app.accounts.model import Account
from mailbox_app.policy.state.rates import DAY, HOUR
from mailbox_app.policy.tools import Tools
from mailbox_app.proto.smtp.replies import Refusal


class SubmissionRates:
    """Counts recipients by account, at all processes together."""

    def __init__(self, tools: Tools) -> None:
        self._config = tools.config
        self._rates = tools.state.rates

    def check(self, account: Account, address: str) -> None:
        """Count one recipient; a `Refusal` names the limit that is reached."""
        limits = self._config().abuse
        for limit, window_seconds, text, word in (
            (limits.account_recipients_per_hour, HOUR, "an hour", "account_recipients_per_hour"),
            (limits.account_recipients_per_day, DAY, "a day", "account_recipients_per_day"),
        ):
            if limit and self._rates.count(f"send {account.account_id}", window_seconds) > limit:
                why = f"You may send to {limit} recipients in {text}, try again later"
                raise Refusal(450, "4.7.1", why, reason=word, address=address)
