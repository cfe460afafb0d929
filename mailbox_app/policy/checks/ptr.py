"""What the client's names say: its host name, and what it called itself. Honest servers have both in order; few robots do.

Only scores: many small honest servers have no name of their own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import ClassVar

from mailbox_app.mailauth.checks import is_private
from mailbox_app.mailauth.iprev import iprev
from mailbox_app.mailauth.results import Result
from mailbox_app.policy.check import Mode, QuickCheck
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.names import is_generic, is_host_name
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding

NO_NAME_SCORE = 2.0
UNCONFIRMED_SCORE = 1.5
GENERIC_SCORE = 2.0
OUR_NAME_SCORE = 3.0
"""Nobody else has our name: only spam programs say it."""
WRONG_LITERAL_SCORE = 1.0
BARE_ADDRESS_SCORE = 1.5
"""An address without brackets is against the grammar, so no mail server says it."""
NO_FULL_NAME_SCORE = 0.5


class Ptr:
    """The client's host name (RFC 8601 3)."""

    name: ClassVar[str] = "ptr"
    stage: ClassVar[Stage] = Stage.SENDER
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._resolver = tools.resolver

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """Nothing for a confirmed name of its own, and nothing when DNS did not say."""
        if is_private(facts.remote_ip):
            return ()
        found = await (facts.iprev() if facts.iprev is not None else iprev(self._resolver, facts.remote_ip))
        inputs: dict[str, str | int | float] = {"remote_ip": facts.remote_ip, "names": " ".join(found.claimed)[:500]}
        match found.result:
            case Result.PASS if is_generic(found.name, facts.remote_ip):
                text = f"the host name {found.name} looks like one of a pool"
                return [Finding(self.name, text, GENERIC_SCORE, inputs=inputs | {"kind": "generic"})]
            case Result.FAIL:
                text = f"the host name {found.claimed[0]} does not lead back to {facts.remote_ip}"
                return [Finding(self.name, text, UNCONFIRMED_SCORE, inputs=inputs | {"kind": "unconfirmed"})]
            case Result.PERMERROR:
                return [
                    Finding(
                        self.name,
                        f"{facts.remote_ip} has no host name",
                        NO_NAME_SCORE,
                        inputs=inputs | {"kind": "none"},
                    )
                ]
            case _:
                return ()


class Helo(QuickCheck):
    """The name the client greeted with (RFC 5321 4.1.1.1)."""

    name: ClassVar[str] = "helo"
    stage: ClassVar[Stage] = Stage.SENDER
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._hostname = tools.hostname.lower().rstrip(".")

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """Nothing for a full host name that is not ours."""
        helo = facts.helo.lower().rstrip(".")
        if is_private(facts.remote_ip) or not helo:
            return ()
        score, text = self._judge(helo, facts.remote_ip)
        return [Finding(self.name, text, score, inputs={"helo": helo[:253]})] if score else ()

    def _judge(self, helo: str, remote_ip: str) -> tuple[float, str]:
        if helo == self._hostname:
            return OUR_NAME_SCORE, "the client calls itself by our name"
        if helo.startswith("["):
            literal = helo.strip("[]").removeprefix("ipv6:")
            if _same_address(literal, remote_ip):
                return 0.0, ""
            return WRONG_LITERAL_SCORE, f"the client calls itself {helo[:60]}, which is not its address"
        if _same_address(helo, helo):
            return BARE_ADDRESS_SCORE, "the client calls itself by an address without brackets"
        if not is_host_name(helo):
            return NO_FULL_NAME_SCORE, f"the client calls itself {helo[:60]}, which is no full host name"
        return 0.0, ""


def _same_address(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False
