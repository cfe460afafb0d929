"""What the sender checks found, as values that policy, the decision log and reports use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    lookups: int = 0
    """Terms that asked DNS; ten are allowed."""
    void_lookups: int = 0
    """Look-ups that brought no answer; two are allowed."""
    helo: SpfResult | None = None
    """The result for the HELO name, when it was checked beside the envelope sender."""


@dataclass(frozen=True, slots=True)
class IprevResult:
    """Does the client's address have a name that leads back to it? RFC 8601 3."""

    result: Result
    """pass; fail: the names lead elsewhere; permerror: there is no name; temperror."""
    remote_ip: str = ""
    name: str = ""
    """The confirmed name in lower case; "" unless the result is pass."""
    claimed: Sequence[str] = ()
    """The names that were looked at."""
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
    """An l= tag was there: text after the signed part would not be covered."""
    testing: bool = False
    """The key record says t=y."""
    key_bits: int = 0
    """Of an RSA key; 0 for other kinds and where no key was read."""


class OverrideKind(StrEnum):
    """Why a message is not treated as its author's domain asks; words of DMARC aggregate reports."""

    FORWARDED = "forwarded"
    SAMPLED_OUT = "sampled_out"
    """The record's pct= spared this message."""
    TEST_MODE = "policy_test_mode"
    """The record says t=y."""
    TRUSTED_FORWARDER = "trusted_forwarder"
    """A sealer this server trusts saw it pass."""
    MAILING_LIST = "mailing_list"
    LOCAL_POLICY = "local_policy"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Override:
    """One reason with its details."""

    kind: OverrideKind
    comment: str = ""


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """What a domain owner published, and where. RFC 9989 4.7; pct of RFC 7489 6.3."""

    domain: str
    """Where the record stands."""
    policy: str = "none"
    subdomain_policy: str = ""
    """sp=; "" when not given."""
    missing_policy: str = ""
    """np=, for names that do not exist; "" when not given."""
    strict_dkim: bool = False
    strict_spf: bool = False
    percent: int = 100
    testing: bool = False
    public_suffix: str = "u"
    """psd=: y, n or u."""
    failure_options: Sequence[str] = ("0",)
    aggregate_reports: Sequence[str] = ()
    """The rua= addresses, URIs as published."""
    failure_reports: Sequence[str] = ()
    """The ruf= addresses."""


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
    disposition: str = "none"
    """none, quarantine or reject: what the owner asks for this message, after pct=, t= and overrides. "none" unless the
    result is fail."""
    overrides: Sequence[Override] = ()
    """Why `disposition` is milder than `policy`."""
    spf_aligned: bool = False
    """SPF passed for a domain of the author's organization."""
    dkim_aligned: bool = False
    """A signature of the author's organization is valid."""
    organization: str = ""
    """The author's organizational domain."""
    mailing_list: bool = False
    """The header looks like a mailing list's. Anyone can write that: a hint, never a proof."""
    record: DmarcRecord | None = None

    def overridden(self, kind: OverrideKind, disposition: str, comment: str = "") -> DmarcResult:
        """The same with another treatment and the reason for it."""
        return replace(self, disposition=disposition, overrides=(*self.overrides, Override(kind, comment)))


@dataclass(frozen=True, slots=True)
class ArcSet:
    """One hop of a chain."""

    instance: int
    domain: str
    """The sealer (d= of the seal)."""
    selector: str
    results: str
    """What the sealer says it found: the ARC-Authentication-Results field behind its instance, unfolded."""
    message_valid: bool | None = None
    """Whether its message signature still verifies; None when not looked at."""


@dataclass(frozen=True, slots=True)
class ArcResult:
    """The chain of forwarders. RFC 8617."""

    result: Result
    """none, pass, fail; temperror when a key could not be fetched."""
    sets: Sequence[ArcSet] = ()
    """Oldest first; only what could be read of a chain that failed."""
    oldest_pass: int = 0
    """The oldest instance from which on every message signature still verifies; 0: all of them."""
    reason: str = ""
    instance: int = 0
    """The highest instance found."""
    ended: bool = False
    """The newest seal says itself that the chain failed: nothing is added to it any more."""


_NO_CHAIN = ArcResult(Result.NONE)


@dataclass(frozen=True, slots=True)
class AuthResults:
    """All checks of one message."""

    field: bytes
    """The Authentication-Results field with its CRLF."""
    summary: str
    """One line for the log, such as `spf=pass dkim=pass dmarc=none`."""
    spf: SpfResult
    """Of the envelope sender (of the HELO name for the null sender); `spf.helo` has the one of the HELO name."""
    dkim: Sequence[DkimResult]
    """In the order of the signatures in the header; empty without any."""
    dmarc: DmarcResult
    arc: ArcResult = _NO_CHAIN
    iprev: IprevResult | None = None
    """None for clients of the local network."""
    remote_ip: str = ""

    @property
    def words(self) -> Mapping[str, str]:
        """Method to result word, for records and metrics; the best one of several signatures."""
        signatures = [result.result for result in self.dkim]
        best = Result.PASS if Result.PASS in signatures else signatures[0] if signatures else Result.NONE
        words = {"spf": self.spf.result, "dkim": best, "dmarc": self.dmarc.result, "arc": self.arc.result}
        return words | ({"iprev": self.iprev.result} if self.iprev is not None else {})
