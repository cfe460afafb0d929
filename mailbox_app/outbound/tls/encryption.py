"""Goes over to TLS with a host that has greeted us, as its `Demand` wants, and tells what became of it.

The one place where a session is judged: certificates by OpenSSL in the handshake where a valid one is demanded, by DANE right
after it where the host's DNS vouches for keys; where nothing is demanded, whether the certificate would have been valid is only
noted. Every end is told to the witnesses and remembered as the domain's level. A host that fails its demand is `HostTrouble`
whose text names the policy; `wants_clear` says whether this message may go to it in clear all the same.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import sha256

import structlog

from mailbox_app.clock import Clock
from mailbox_app.outbound.smtp_client import HostTrouble, SmtpConnection, TlsTrouble
from mailbox_app.outbound.tls import dane
from mailbox_app.outbound.tls.certificate_paths import built_chain, leads_to, sent_chain
from mailbox_app.outbound.tls.levels import TlsLevels
from mailbox_app.outbound.tls.memory import Level
from mailbox_app.outbound.tls.policy import Demand, Proof, unsafe
from mailbox_app.outbound.tls.witness import PolicyType, TlsResult, TlsSession, Witnesses

Check = Callable[[ssl.SSLObject], None]
_JUDGED_SECONDS = 3_600.0
_JUDGED_KEPT = 2_000


class Encryption:
    """Carries demands out."""

    def __init__(
        self, levels: TlsLevels, witnesses: Witnesses, clock: Clock, proving: ssl.SSLContext, ca_file: str
    ) -> None:
        """`proving` is for servers that must show who they are: `client_context`, with the same `ca_file`."""
        self._levels = levels
        self._witnesses = witnesses
        self._clock = clock
        self._proving = proving
        self._taking = client_context(ca_file, prove=False)
        self._judged: OrderedDict[bytes, tuple[float, bool]] = OrderedDict()
        self._log = structlog.get_logger("outbound")

    async def secure(self, connection: SmtpConnection, demand: Demand, hostname: str, address: str) -> None:
        """After the greeting: TLS, or a good reason for none. `TlsTrouble`, `HostTrouble`: the host is of no use."""
        if "STARTTLS" in connection.extensions:
            await self._judged_session(
                connection, demand, address,
                lambda context, check: connection.start_tls(context, hostname, demand.server_name, check),
            )  # fmt: skip
        else:
            await self._stay_clear(connection, demand, address)
        self.check_extension(connection, demand)

    async def wrap(self, connection: SmtpConnection, demand: Demand, address: str) -> None:
        """Before the greeting, to a host that speaks TLS from the first byte. `check_extension` follows the greeting."""
        await self._judged_session(
            connection, demand, address,
            lambda context, check: connection.begin_tls(context, demand.server_name, check),
        )  # fmt: skip

    def check_extension(self, connection: SmtpConnection, demand: Demand) -> None:
        """REQUIRETLS goes on only to who promises the same. RFC 8689 4.2.1"""
        if demand.needs_extension and "REQUIRETLS" not in connection.extensions:
            raise unsafe(connection.host, "does not promise encryption on the rest of the way (REQUIRETLS)")

    async def wants_clear(self, demand: Demand, trouble: TlsTrouble) -> bool:
        """After a failure: whether this message may go to the host in clear."""
        if demand.proof is not Proof.NOTHING:
            return False
        allowed = await self._levels.failed(demand.domain, trouble.public_text)
        if allowed or demand.clear_after_failure:
            self._log.warning("tls_given_up", domain=demand.domain, reason=trouble.public_text)
            return True
        return False

    async def _stay_clear(self, connection: SmtpConnection, demand: Demand, address: str) -> None:
        text = f"{connection.host} offers no encryption"
        if demand.proof is not Proof.NOTHING:
            self._saw(demand, connection, address, TlsResult.STARTTLS_NOT_SUPPORTED, text, enforced=True)
            text = f"{text}, which {demand.because} asks for"
            if demand.needs_extension:  # RFC 8689 4.2.1: the sender hears of it at once
                raise HostTrouble(550, "5.7.10", text)
            raise HostTrouble(451, "4.7.10", text)
        if demand.guards_level and (held := await self._levels.missing(demand.domain)) is not None:
            since, until = (_day(each) for each in (held.since_seconds, held.holds_until_seconds))
            text += (
                f", but {demand.domain} has taken mail encrypted since {since}: somebody may be listening."
                f" It waits until {until} UTC at the latest"
            )
            self._saw(demand, connection, address, TlsResult.STARTTLS_NOT_SUPPORTED, text, enforced=True)
            raise HostTrouble(451, "4.7.10", text)
        self._saw(demand, connection, address, TlsResult.STARTTLS_NOT_SUPPORTED, text)
        if demand.guards_level:
            await self._levels.went_in_clear(demand.domain)

    async def _judged_session(
        self,
        connection: SmtpConnection,
        demand: Demand,
        address: str,
        shake: Callable[[ssl.SSLContext, Check], Awaitable[None]],
    ) -> None:
        proving = demand.proof is Proof.CERTIFICATE
        verified = proving

        def check(shaken: ssl.SSLObject) -> None:
            nonlocal verified
            if demand.proof is Proof.DANE:
                self._check_dane(connection, demand, shaken)
            verified = proving or self._is_valid(shaken, connection.host)

        try:
            await shake(self._proving if proving else self._taking, check)
        except TlsTrouble as trouble:
            enforced = demand.proof is not Proof.NOTHING
            self._saw(demand, connection, address, trouble.result, trouble.public_text, enforced=enforced)
            if demand.because:
                raise trouble.because(demand.because) from trouble
            raise
        self._note_proof(connection, demand, verified=verified)
        failure = demand.mismatch
        if not failure and demand.tested and not verified:
            failure = f"{demand.tested}: the certificate of {connection.host} is not valid for its name"
        if failure:
            result = TlsResult.VALIDATION_FAILURE if demand.mismatch else TlsResult.NOT_TRUSTED
            self._saw(demand, connection, address, result, failure)
        else:
            self._saw(demand, connection, address, TlsResult.SUCCESS)
        await self._levels.encrypted(demand.domain, Level.VERIFIED if verified else Level.ENCRYPTED)

    def _check_dane(self, connection: SmtpConnection, demand: Demand, shaken: ssl.SSLObject) -> None:
        assert demand.dane is not None
        reason = dane.verify(demand.dane, sent_chain(shaken), self._clock.now())
        if reason:
            text = f"the certificate of {connection.host} is not the one its DNS vouches for: {reason}"
            raise TlsTrouble(text, TlsResult.VALIDATION_FAILURE)

    def _is_valid(self, shaken: ssl.SSLObject, host: str) -> bool:
        """Whether the certificate would have been taken if it had been asked for; looked at once an hour for each."""
        leaf = shaken.getpeercert(True) or b""
        key = sha256(leaf + host.encode()).digest()
        now = self._clock.monotonic_seconds()
        known = self._judged.get(key)
        if known is not None and known[0] > now:
            return known[1]
        chain = built_chain(shaken)
        valid = False
        if len(chain) and chain[-1] in set(shaken.context.get_ca_certs(True)):
            valid = not leads_to(chain, chain[-1], (host,), self._clock.now())
        self._judged[key] = (now + _JUDGED_SECONDS, valid)
        self._judged.move_to_end(key)
        if len(self._judged) > _JUDGED_KEPT:
            self._judged.popitem(last=False)
        return valid

    @staticmethod
    def _note_proof(connection: SmtpConnection, demand: Demand, *, verified: bool) -> None:
        """What the mail log and `queue show` tell of the session."""
        if demand.proof is Proof.DANE:
            connection.tls += " (DANE)"
        elif demand.proof is Proof.CERTIFICATE and demand.policy_type is PolicyType.STS:
            connection.tls += " (MTA-STS)"
        elif verified:
            connection.tls += " (verified)"

    def _saw(
        self,
        demand: Demand,
        connection: SmtpConnection,
        address: str,
        result: TlsResult,
        reason: str = "",
        *,
        enforced: bool = False,
    ) -> None:
        kind, lines = demand.policy_type, demand.policy
        self._witnesses.saw(
            TlsSession(demand.domain, kind, lines, connection.host, address, result, reason, enforced=enforced)
        )


def client_context(ca_file: str, *, prove: bool) -> ssl.SSLContext:
    """`prove`: only a server with a valid certificate for its name, by the system's and our extra trust; else any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not prove:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.load_default_certs()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
