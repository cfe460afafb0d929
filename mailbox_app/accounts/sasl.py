"""Runs SASL exchanges against the accounts: the one way in for every protocol that speaks SASL.

`Sasl` is made once per process; `mechanisms` says what a session may advertise now, `begin` starts an exchange. What is
offered depends on the configuration and the channel only, never on a name, so it does not tell who exists. Every
mechanism ends in the same place (`PasswordAuthenticator`): same guard, log, metrics, refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from mailbox_app.accounts.addresses import canonical
from mailbox_app.accounts.interface import Authenticator
from mailbox_app.accounts.model import Account
from mailbox_app.proto.sasl.bearer import OAuthBearer, XOAuth2
from mailbox_app.proto.sasl.external import External
from mailbox_app.proto.sasl.mechanism import (
    CertificateClaim,
    Challenge,
    Channel,
    Mechanism,
    Outcome,
    PasswordClaim,
    ProofClaim,
    TokenClaim,
    malformed,
)
from mailbox_app.proto.sasl.negotiation import NAMES, Kind, offered
from mailbox_app.proto.sasl.plain import Login, Plain
from mailbox_app.proto.sasl.scram import Scram
from mailbox_app.proto.sasl.scram_keys import ScramKeys

_PLUS_UNSAID = frozenset({"smtp", "submission", "submissions"})
"""Where the PLUS forms are taken but not advertised: mutt picks them with a library that has no binding for TLS 1.3, and then
sends nothing at all. Its IMAP side tries the next one."""


class Why(Enum):
    """Reasons a login was refused that a client may know."""

    CREDENTIALS = auto()
    """Unknown, wrong, disabled, too many tries: never told apart."""
    IDENTITY = auto()
    """The client wanted to act for somebody else."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The exchange is over, the session acts for this account."""

    account: Account


@dataclass(frozen=True, slots=True)
class Refused:
    """The exchange is over."""

    why: Why


Step = Challenge | LoggedIn | Refused


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known about an attempt beside its credentials; for log and metrics."""

    mechanism: str
    protocol: str
    remote_ip: str


class Proofs(Protocol):
    """The accounts' side of mechanisms that send no password; `PasswordAuthenticator` is one."""

    def scram_keys(self, address: str, hash_name: str) -> ScramKeys:
        """Cheap, called on the loop; made up, but always the same, for a name that has none."""
        ...

    async def login_by_proof(self, address: str, keys: ScramKeys, attempt: Attempt, *, right: bool) -> Account | None:
        """End of a SCRAM exchange that used these keys: the account, or None for any kind of refusal."""
        ...

    async def is_limited(self, claimed: str, attempt: Attempt) -> bool:
        """Whether this client failed so often as the one it claims to be that nobody need be asked about it."""
        ...

    async def login_vouched(self, addresses: Sequence[str], attempt: Attempt, *, claimed: str = "") -> Account | None:
        """Somebody trusted (a CA, an OAuth server) says whose the client is; empty: not the one it claims to be."""
        ...


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """What the giver of a token says about it."""

    addresses: Sequence[str]


class TokenVerifier(Protocol):
    """Shows a bearer token to whoever gave it out."""

    scope: str
    """Told to a client whose token is refused; empty: nothing."""
    configuration_url: str
    """Where such a client finds the server that gives tokens; empty: nothing."""

    async def verify(self, token: str) -> TokenOwner | None:
        """None for a token that is not valid; a temporary error when that cannot be found out."""
        ...


class Sasl:
    """All mechanisms of a process. Those whose other side is missing (`proofs`, `tokens`) are not offered."""

    def __init__(
        self,
        authenticator: Authenticator,
        *,
        mechanisms: Sequence[str] = NAMES,
        require_tls: bool = True,
        proofs: Proofs | None = None,
        tokens: TokenVerifier | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._proofs = proofs
        self._tokens = tokens
        self._allowed: frozenset[str] = frozenset()
        self._require_tls = require_tls
        self.configure(mechanisms, require_tls=require_tls, tokens=tokens)

    def configure(self, mechanisms: Sequence[str], *, require_tls: bool, tokens: TokenVerifier | None) -> None:
        """New settings, for exchanges that begin from now on."""
        self._tokens = tokens
        self._require_tls = require_tls
        lacking = set() if self._proofs else {name for name in NAMES if name.startswith(("SCRAM", "EXTERNAL"))}
        lacking |= set() if tokens else {"OAUTHBEARER", "XOAUTH2"}
        self._allowed = frozenset(mechanisms) - lacking

    def mechanisms(self, channel: Channel, protocol: str = "") -> Sequence[str]:
        """Names to advertise, the best first. None without TLS unless the configuration allows that."""
        return [kind.name for kind in self._offered(channel) if not kind.plus or protocol not in _PLUS_UNSAID]

    def begin(self, mechanism: str, channel: Channel, *, protocol: str, remote_ip: str) -> Exchange | None:
        """An exchange; None for a mechanism that is not offered here."""
        kinds = self._offered(channel)
        kind = next((each for each in kinds if each.name == mechanism.upper()), None)
        if kind is None:
            return None
        plus_is_offered = protocol not in _PLUS_UNSAID and any(
            each.plus and each.hash_name == kind.hash_name for each in kinds
        )
        made = self._make(kind, channel, plus_is_offered)
        return Exchange(
            self._authenticator, self._proofs, self._tokens, made, channel, Attempt(kind.name, protocol, remote_ip)
        )

    def _offered(self, channel: Channel) -> Sequence[Kind]:
        if self._require_tls and not channel.is_tls:
            return ()
        return offered(channel, self._allowed)

    def _make(self, kind: Kind, channel: Channel, plus_is_offered: bool) -> Mechanism:
        if kind.hash_name:
            assert self._proofs is not None
            keys = self._proofs.scram_keys
            return Scram(kind.hash_name, keys, channel, plus=kind.plus, plus_is_offered=plus_is_offered)
        return _SIMPLE[kind.name]()


_SIMPLE: dict[str, Callable[[], Mechanism]] = {
    "PLAIN": Plain,
    "LOGIN": Login,
    "EXTERNAL": External,
    "OAUTHBEARER": OAuthBearer,
    "XOAUTH2": XOAuth2,
}


class Exchange:
    """One AUTH command. Raises `ProtocolError` for a malformed message and temporary errors for local trouble."""

    def __init__(
        self,
        authenticator: Authenticator,
        proofs: Proofs | None,
        tokens: TokenVerifier | None,
        mechanism: Mechanism,
        channel: Channel,
        attempt: Attempt,
    ) -> None:
        self._authenticator = authenticator
        self._proofs = proofs
        self._tokens = tokens
        self._mechanism = mechanism
        self._channel = channel
        self._attempt = attempt
        self._last_word: LoggedIn | Refused | None = None

    async def start(self, initial: bytes | None) -> Step:
        """With the client's initial response, or None when it sent none."""
        return Challenge(self._mechanism.prompt) if initial is None else await self.step(initial)

    async def step(self, response: bytes) -> Step:
        """The answer to the last challenge."""
        if self._last_word is not None:
            if isinstance(self._last_word, LoggedIn) and response:
                raise malformed("nothing more expected")
            return self._last_word
        reached = self._mechanism.step(response)
        return reached if isinstance(reached, Challenge) else await self._conclude(reached)

    @property
    def won(self) -> Account | None:
        """The account, once the challenge last given is what the mechanism says with its success: it needs no answer."""
        return self._last_word.account if isinstance(self._last_word, LoggedIn) else None

    async def _conclude(self, claim: Outcome) -> Step:
        match claim:
            case PasswordClaim():
                if not _acts_for_itself(claim.identity, claim.name):
                    return Refused(Why.IDENTITY)
                attempt = self._attempt
                account = await self._authenticator.login(
                    claim.name, claim.password, protocol=attempt.protocol, remote_ip=attempt.remote_ip
                )
                return _ended(account)
            case ProofClaim():
                return await self._by_proof(claim)
            case CertificateClaim():
                return await self._vouched(claim.identity, self._channel.client_addresses)
            case TokenClaim():
                return await self._by_token(claim)

    async def _by_proof(self, claim: ProofClaim) -> Step:
        assert self._proofs is not None
        assert isinstance(self._mechanism, Scram)
        if not _acts_for_itself(claim.identity, claim.name):
            return Refused(Why.IDENTITY)
        keys = self._mechanism.keys
        account = await self._proofs.login_by_proof(claim.name, keys, self._attempt, right=claim.right)
        if account is None:
            return Refused(Why.CREDENTIALS)
        self._last_word = LoggedIn(account)
        return Challenge(claim.final)  # ManageSieve sends it with the success, see `won`

    async def _by_token(self, claim: TokenClaim) -> Step:
        assert self._tokens is not None
        assert self._proofs is not None
        assert isinstance(self._mechanism, OAuthBearer | XOAuth2)
        if await self._proofs.is_limited(claim.identity, self._attempt):
            return Refused(Why.CREDENTIALS)
        owner = await self._tokens.verify(claim.token)
        reached = await self._vouched(claim.identity, () if owner is None else owner.addresses)
        if isinstance(reached, Refused):
            self._last_word = reached
            return Challenge(self._mechanism.refusal_challenge(self._tokens.scope, self._tokens.configuration_url))
        return reached

    async def _vouched(self, identity: str, addresses: Sequence[str]) -> Step:
        """`identity` must be one of the addresses; the first when it is empty."""
        assert self._proofs is not None
        if identity:
            addresses = [each for each in addresses if canonical(each) == canonical(identity)]
        return _ended(await self._proofs.login_vouched(addresses, self._attempt, claimed=identity))


def _acts_for_itself(identity: str, name: str) -> bool:
    return not identity or canonical(identity) == canonical(name)


def _ended(account: Account | None) -> LoggedIn | Refused:
    return Refused(Why.CREDENTIALS) if account is None else LoggedIn(account)
