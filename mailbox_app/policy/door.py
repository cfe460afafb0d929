"""Everything of the policy that an SMTP service needs, made together."""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.policy.gate import Gate
from mailbox_app.policy.offences import Offences
from mailbox_app.policy.pipeline import Pipeline
from mailbox_app.policy.tools import Tools


@dataclass(frozen=True, slots=True)
class Door:
    """One per process."""

    tools: Tools
    gate: Gate
    pipeline: Pipeline
    offences: Offences

    @classmethod
    def build(cls, tools: Tools, gate: Gate | None = None) -> Door:
        """With every check there is; `gate` is the one the other protocols of the process ask."""
        gate = gate or Gate(tools.state.bans, tools.config, tools.clock)
        return cls(tools, gate, Pipeline.build(tools), Offences(tools, gate))
