"""What became of TLS with other servers, session by session, in the words of RFC 8460: one call, any number of listeners.

`Witnesses` hands each `TlsSession` to every listener it was built with; tallies for reports, the log and the metrics are such
listeners. A listener must not block and must not raise; one that does is logged and the mail goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import structlog


class TlsResult(StrEnum):
    """RFC 8460 4.3; SUCCESS is what needs no result type there."""

    SUCCESS = ""
    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    HOST_MISMATCH = "certificate-host-mismatch"
    EXPIRED = "certificate-expired"
    NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION_FAILURE = "validation-failure"
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    DANE_REQUIRED = "dane-required"
    STS_FETCH_ERROR = "sts-policy-fetch-error"
    STS_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"


class PolicyType(StrEnum):
    """RFC 8460 4.2."""

    TLSA = "tlsa"
    STS = "sts"
    NONE = "no-policy-found"


@dataclass(frozen=True, slots=True)
class TlsSession:
    """One session that became encrypted or should have, or one policy that could not be had."""

    domain: str
    """The recipients' domain."""
    policy_type: PolicyType
    policy: Sequence[str]
    """The policy's text: the TLSA records, or the fields of the MTA-STS policy."""
    mx_host: str
    """"" when it did not come to a host."""
    address: str
    """Where the host was reached."""
    result: TlsResult
    reason: str = ""
    """A sentence for people."""
    enforced: bool = False
    """Whether mail was held up by it."""


class TlsWitness(Protocol):
    """Wants to hear of every session."""

    def saw(self, session: TlsSession) -> None:
        """Called on the loop; returns at once."""
        ...


class Witnesses:
    """All listeners as one."""

    def __init__(self, listeners: Sequence[TlsWitness] = ()) -> None:
        self._listeners = tuple(listeners)
        self._log = structlog.get_logger("outbound")

    def saw(self, session: TlsSession) -> None:
        """Tell everybody."""
        for listener in self._listeners:
            try:
                listener.saw(session)
            except Exception:  # noqa: BLE001 - a tally's trouble holds no mail up
                self._log.exception("tls_witness_failed", domain=session.domain)


class LoggedSessions:
    """Writes failures to the log: those that held mail up as warnings, the others for the curious."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("outbound")

    def saw(self, session: TlsSession) -> None:
        """One line for a failure; successes are in the mail log."""
        if session.result is TlsResult.SUCCESS:
            return
        write = self._log.warning if session.enforced else self._log.info
        write(
            "tls_failed",
            domain=session.domain,
            host=session.mx_host,
            policy=str(session.policy_type),
            result=str(session.result),
            reason=session.reason,
        )
