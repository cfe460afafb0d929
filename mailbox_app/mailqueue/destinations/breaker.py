"""When a host is not worth a connection: one host's circuit breaker, as values and pure steps. Time comes in.

Closed: everybody may connect; five failures in a row open it. Open: nobody connects until the time of the probe. Half-open: exactly
one message at a time may try (it holds `probe`); two successes in a row close, a failure opens again.
What counts is the caller's knowledge: trouble with the connection and a temporary refusal in the greeting, never an answer
about a sender, a recipient or a message. A result of somebody who was let in earlier (closed, or a probe whose time ran
out) never moves a breaker that is half-open. However the machine's clock jumps, a probe is due within `OPEN_SECONDS`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

FAILURES_TO_OPEN = 5
SUCCESSES_TO_CLOSE = 2
OPEN_SECONDS = 300.0
PROBE_SECONDS = 960.0
"""How long a probing message may take before another one may try: longer than a transport works on one."""
_REASON_CHARACTERS = 300


class Condition(StrEnum):
    """The three states of the textbook."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one host; times are seconds since 1970, 0 where there is none."""

    host: str
    """`name:port`."""
    condition: Condition = Condition.CLOSED
    failures: int = 0
    """In a row."""
    successes: int = 0
    """In a row, while half-open."""
    since_seconds: float = 0.0
    """When this condition began."""
    opened_seconds: float = 0.0
    """When it opened first since it was closed."""
    probe_at_seconds: float = 0.0
    """While open: when the next message may try."""
    probe: str = ""
    """While half-open: the token of the message that tries."""
    probe_until_seconds: float = 0.0
    """When that message's right ends, should nothing be heard of it."""
    reason: str = ""
    """The last failure, a sentence without a full stop."""


def may_pass(breaker: Breaker, now_seconds: float) -> bool:
    """Whether a message may connect; when the breaker is not closed it must `start_probe` first."""
    match breaker.condition:
        case Condition.CLOSED:
            return True
        case Condition.OPEN:
            return _is_due(breaker.probe_at_seconds, now_seconds)
        case Condition.HALF_OPEN:
            return not breaker.probe or _is_due(breaker.probe_until_seconds, now_seconds)


def start_probe(breaker: Breaker, token: str, now_seconds: float) -> Breaker:
    """The message with this token tries, if `may_pass`; whether it may: `probe == token`."""
    if breaker.condition is Condition.CLOSED or not may_pass(breaker, now_seconds):
        return breaker
    began = now_seconds if breaker.condition is Condition.OPEN else breaker.since_seconds
    return replace(
        breaker,
        condition=Condition.HALF_OPEN,
        since_seconds=began,
        probe=token,
        probe_until_seconds=now_seconds + PROBE_SECONDS,
    )


def note_failure(breaker: Breaker, token: str, now_seconds: float, reason: str) -> Breaker:
    """A message could not connect; `token` is its probe's, "" when it came in while the breaker was closed."""
    reason = reason[:_REASON_CHARACTERS]
    match breaker.condition:
        case Condition.CLOSED:
            breaker = replace(breaker, failures=breaker.failures + 1, reason=reason)
            return breaker if breaker.failures < FAILURES_TO_OPEN else _opened(breaker, now_seconds)
        case Condition.HALF_OPEN if token and token == breaker.probe:
            return _opened(replace(breaker, failures=breaker.failures + 1, reason=reason), now_seconds)
        case _:
            return breaker


def note_success(breaker: Breaker, token: str, now_seconds: float) -> Breaker:
    """The host greeted a message; `token` as in `note_failure`."""
    match breaker.condition:
        case Condition.CLOSED:
            return Breaker(breaker.host)
        case Condition.HALF_OPEN if token and token == breaker.probe:
            successes = breaker.successes + 1
            if successes >= SUCCESSES_TO_CLOSE:
                return replace(Breaker(breaker.host), since_seconds=now_seconds)
            return replace(breaker, successes=successes, probe="", probe_until_seconds=0.0)
        case Condition.OPEN:  # somebody came through after all: worth a probe at once
            return replace(breaker, probe_at_seconds=now_seconds)
        case _:
            return breaker


def give_back(breaker: Breaker, token: str) -> Breaker:
    """The probing message ended without a verdict on the host: the next one may try."""
    if breaker.condition is Condition.HALF_OPEN and token and token == breaker.probe:
        return replace(breaker, probe="", probe_until_seconds=0.0)
    return breaker


def probe_now(breaker: Breaker, now_seconds: float) -> Breaker:
    """An operator wants one message to try at once."""
    return replace(breaker, probe_at_seconds=now_seconds) if breaker.condition is Condition.OPEN else breaker


def next_try_seconds(breaker: Breaker, now_seconds: float) -> float:
    """When it is worth asking again."""
    if breaker.condition is Condition.OPEN:
        return min(breaker.probe_at_seconds, now_seconds + OPEN_SECONDS)
    return min(breaker.probe_until_seconds, now_seconds + PROBE_SECONDS)


def _is_due(at_seconds: float, now_seconds: float) -> bool:
    """Also when the time is further away than any we set: the clock was turned back."""
    return now_seconds >= at_seconds or at_seconds - now_seconds > max(OPEN_SECONDS, PROBE_SECONDS)


def _opened(breaker: Breaker, now_seconds: float) -> Breaker:
    return replace(
        breaker,
        condition=Condition.OPEN,
        successes=0,
        since_seconds=now_seconds,
        opened_seconds=breaker.opened_seconds or now_seconds,
        probe_at_seconds=now_seconds + OPEN_SECONDS,
        probe="",
        probe_until_seconds=0.0,
    )
