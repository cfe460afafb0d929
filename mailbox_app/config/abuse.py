"""The section of the configuration about clients that behave badly; `schema.py` puts it into the whole."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from mailbox_app.config.section import Section

Count = Annotated[int, Meta(ge=0)]


class Abuse(Section, frozen=True):
    """Clients that behave badly. This machine, trusted_networks and the networks on the allow list are never held up. A client is
    an IPv4 address or an IPv6 /64, its network the /24 or /48 around it. 0 switches a limit off."""

    client_connections_per_minute: Count = 60
    """Connections of one client for mail from other servers."""
    network_connections_per_minute: Count = 300
    """The same of a whole network."""
    client_messages_per_hour: Count = 1000
    """Messages of one client; more must wait."""
    network_messages_per_hour: Count = 5000
    """The same of a whole network."""
    account_recipients_per_hour: Count = 500
    """Outside recipients one of our users may send to; mail beyond it is taken and held for an operator. 0: no limit. This and the
    next three, as long as they have their defaults, spare clients of this machine and of trusted networks."""
    account_recipients_per_day: Count = 2000
    """The same in a day."""
    account_new_recipients_per_day: Count = 300
    """Outside recipients in a day whom the account never wrote to before."""
    account_burst: Count = 150
    """More recipients than this within ten minutes, and more than three of the account's usual days, are a burst: all that the
    account sends from then on is held until an operator removes the hold rule."""
    greeting_delay_ms: Annotated[int, Meta(ge=0, le=10_000)] = 200
    """Clients that never brought mail before are greeted this much later: who talks before it is no mail server."""
    slow_down_seconds: Annotated[int, Meta(ge=0, le=60)] = 8
    """The longest wait for the answer to a client that makes one error after the other."""
    ban_unknown_recipients: Count = 40
    """So many unknown recipients within an hour are a search for addresses, unless as many were known: a ban."""
    ban_password_rounds: Count = 3
    """A client that tried ten different wrong passwords so many times in a day is banned, unless somebody logged in from there
    within a week."""
    ban_minutes: Annotated[int, Meta(ge=1, le=43_200)] = 60
    """How long such a ban holds. Banned clients are told to come back later."""
