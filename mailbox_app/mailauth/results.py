"""What the sender checks found, as values that policy and the decision log use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """Result words of RFC 8601 2.7; each check uses some of them."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 - a result word
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class SpfResult:
    """May this host send for this domain? RFC 7208."""

    result: Result
    domain: str = ""
    """The domain that was asked."""
    identity: str = "mailfrom"
    """mailfrom, or helo for the null sender."""
    sender: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DkimResult:
    """One signature. RFC 6376."""

    result: Result
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    identity: str = ""
    """The i= tag, or "@" and the domain."""
    signature: str = ""
    """The first characters of b=, which tell several signatures apart."""
    reason: str = ""
    body_limited: bool = False
    """An l= tag was there: text after the signed part is not covered."""
    testing: bool = False
    """The key record says t=y."""


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """Does the visible author's domain vouch for the message?"""

    result: Result
    domain: str = ""
    """Of the From field."""
    policy: str = ""
    """none, quarantine or reject, as it applies to this domain; "" without a record."""
    record_domain: str = ""
    """Where the record was found: the domain itself or one above it."""
    reason: str = ""
    testing: bool = False
    """The record says t=y: the owner asks for a milder treatment."""


@dataclass(frozen=True, slots=True)
class AuthResults:
    """All checks of one message."""

    field: bytes
    """The Authentication-Results field with its CRLF."""
    summary: str
    """One line for the log, such as `spf=pass dkim=pass dmarc=none`."""
    spf: SpfResult
    dkim: Sequence[DkimResult]
    """In the order of the signatures in the header; empty without any."""
    dmarc: DmarcResult
