"""How much a script may be and do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of reading and running; every one of them ends in an error that names it, never in a longer wait."""

    script_bytes: int = 1_048_576
    depth: int = 32
    """Blocks and tests within each other. RFC 5228 2.10.5 asks for 15."""
    words: int = 30_000
    """Commands and tests of one script: about a second of reading."""
    list_items: int = 1_024
    string_bytes: int = 65_536
    """Of one string of a script."""
    problems: int = 20
    """Reported of one script."""
    steps: int = 200_000
    """The budget of one run; a command or test is one step, long texts are more."""
    seconds: float = 2.0
    """Of processor time in one run."""
    actions: int = 32
    redirects: int = 4
    """RFC 5228 4.2: implementations should limit them."""
    variables: int = 256
    """RFC 5229 6 asks for 128."""
    variable_bytes: int = 4_096
    includes: int = 32
    """Scripts run by include, all together. RFC 6609 3.2."""
    include_depth: int = 10
    body_bytes: int = 1_048_576
    """Of a body that tests look at; the rest is not seen."""
    parts: int = 200
    """MIME parts that tests look at."""
    header_values: int = 1_000
    """Values that one test looks at."""
    header_edits: int = 100
    trace_steps: int = 500
    trace_characters: int = 200
    """Of one value in the trace."""
    duplicates: int = 16
    """Identities that one run may remember."""
    duplicate_seconds: int = 90 * 86_400
    vacation_seconds_least: int = 3_600
    vacation_seconds_most: int = 365 * 86_400
    protected_fields: frozenset[str] = frozenset({"received", "auto-submitted", "return-path", "delivered-to"})
    """Lower case; `deleteheader` leaves them alone. RFC 5293 7."""
    unaddable_fields: frozenset[str] = frozenset({"received", "return-path", "authentication-results"})
    """Lower case; `addheader` does nothing for them: others trust what they say."""
    disabled: frozenset[str] = frozenset()
    """Capabilities that this server does not offer to these scripts."""
