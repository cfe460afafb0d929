"""What SPF, DKIM, DMARC and ARC come to: the wish of the author's domain is done, the rest only scores.

A domain that asks for rejection is refused at SMTP, so nobody gets a bounce for it; one that asks for quarantine goes to Junk; a
trusted forwarder's seal that saw DMARC pass is believed instead. What DNS did not say is nobody's fault: at most mail of a domain
that asks for rejection is put off, and for no longer than an hour (RFC 7489 6.6.3). An error in a record is a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mailbox_app.config.schema import Config
from mailbox_app.mailauth.results import AuthResults, DmarcResult, OverrideKind, Result
from mailbox_app.policy.check import Mode
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.names import is_same_owner
from mailbox_app.policy.settings import Settings, wide_network
from mailbox_app.policy.state.greylist import Attempt, Rule
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict
from mailbox_app.proto.smtp.replies import Reply

SPF_FAIL_SCORE = 2.0
SPF_SOFTFAIL_SCORE = 1.0
SPF_PERMERROR_SCORE = 0.5
"""Implementations count the limits differently, so an honest domain may have one here and not elsewhere."""
DMARC_FAIL_SCORE = 1.0
"""The domain asks for nothing, or less than it could."""
DMARC_PERMERROR_SCORE = 1.5
DKIM_BROKEN_SCORE = 0.5
DKIM_POLICY_SCORE = 0.3
OUR_NAME_SCORE = 6.5
"""A stranger in the name of one of our own domains: its owner is here and can say who else may send for it."""
OUR_NAME_BY_LIST_SCORE = 1.0
UNCHECKED_SECONDS = 3_600
"""Mail that could not be checked is put off for so long in all."""
UNVOUCHED_POOL_SCORE = 2.5
UNVOUCHED_NAMELESS_SCORE = 1.0
"""Neither SPF nor a signature, from a client that has no host name of its own either: hardly any server is kept like that."""
_WAIT = Rule(UNCHECKED_SECONDS, 2 * UNCHECKED_SECONDS, UNCHECKED_SECONDS, 1_000_000, 0)


class SenderAuthentication:
    """Reads `AuthResults`."""

    name: ClassVar[str] = "sender_authentication"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._config: Config | None = None
        self._settings = Settings(tools.config().policy)

    def is_quick(self, facts: Facts) -> bool:
        """Only what DNS did not say may ask how long the sender waits already."""
        auth = facts.message.auth if facts.message is not None else None
        return auth is None or auth.dmarc.result is not Result.TEMPERROR

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """Nothing for mail that is vouched for, and nothing when the checks are switched off."""
        auth = facts.message.auth if facts.message is not None else None
        if auth is None:
            return ()
        config = self._tools.config()
        if config is not self._config:
            self._settings, self._config = Settings(config.policy), config
        findings = list(await self._dmarc(facts, auth, config))
        if auth.dmarc.result is not Result.PASS:
            findings.extend(self._spf(auth))
            findings.extend(self._dkim(auth))
            findings.extend(self._in_our_name(facts, auth))
            findings.extend(self._unvouched(facts, auth))
        return findings

    async def _dmarc(self, facts: Facts, auth: AuthResults, config: Config) -> Sequence[Finding]:
        dmarc = auth.dmarc
        inputs: dict[str, str | int | float] = {"domain": dmarc.domain, "policy": dmarc.policy, **auth.words}
        match dmarc.result:
            case Result.FAIL:
                return [self._failed(facts, auth, config, inputs)]
            case Result.TEMPERROR if dmarc.policy == "reject" and config.policy.dmarc == "enforce":
                return await self._unchecked(facts, dmarc, inputs)
            case Result.PERMERROR:
                text = f"DMARC cannot be checked: {dmarc.reason or 'the record is broken'}"
                return [Finding(self.name, text, DMARC_PERMERROR_SCORE, inputs=inputs)]
            case _:
                return ()

    def _failed(self, facts: Facts, auth: AuthResults, config: Config, inputs: dict[str, str | int | float]) -> Finding:
        """The domain's wish, unless somebody we trust vouches or the administrator wants it milder."""
        dmarc = auth.dmarc
        text = f"{dmarc.domain} does not vouch for it: DMARC fails, policy {dmarc.policy or 'none'}"
        if excuse := self._excuse(facts, auth):
            return Finding(self.name, f"{text}, but {excuse}", inputs=inputs)
        wish = dmarc.disposition
        for each in dmarc.overrides:
            text += f", {each.kind.value}"
        if wish not in ("reject", "quarantine") or config.policy.dmarc == "report":
            return Finding(self.name, text, DMARC_FAIL_SCORE, inputs=inputs)
        if wish == "reject" and _may_be_passed_on(auth):
            text += "; it may be a list's or a forwarder's"
        elif wish == "reject" and config.policy.dmarc == "enforce":
            reply = Reply(550, "5.7.1", f"{dmarc.domain} asks to refuse mail that fails its DMARC policy, as this does")
            return Finding(self.name, text, DMARC_FAIL_SCORE, Verdict.REJECT, reply, inputs=inputs)
        return Finding(self.name, text, DMARC_FAIL_SCORE, Verdict.JUNK, inputs=inputs)

    def _excuse(self, facts: Facts, auth: AuthResults) -> str:
        """Why the domain's wish is not done; "": there is no reason. A name in the message alone proves nothing."""
        if self._settings.trusts(facts.remote_ip):
            return "the client is ours"
        if entry := self._settings.allows_client(facts.remote_ip):
            return f"{entry} is on the allow list"
        if auth.spf.result is Result.PASS and (entry := self._settings.allows_sender(facts.sender)):
            return f"{entry} is on the allow list"
        vouched = (each for each in auth.dmarc.overrides if each.kind is OverrideKind.TRUSTED_FORWARDER)
        if override := next(vouched, None):
            return f"{override.comment or 'a trusted forwarder'} saw it pass and sealed it"
        return ""

    async def _unchecked(
        self, facts: Facts, dmarc: DmarcResult, inputs: dict[str, str | int | float]
    ) -> Sequence[Finding]:
        """Put off what could not be checked, for an hour in all."""
        if self._settings.is_exempt(facts.remote_ip):
            return ()
        text = f"the DMARC policy of {dmarc.domain} cannot be checked now"
        recipient = facts.recipients[0].canonical.lower() if facts.recipients else ""
        network = wide_network(facts.remote_ip)
        attempt = Attempt(f"dmarc:{network}", facts.sender.lower(), dmarc.domain, recipient, facts.remote_ip, text)
        decision = await self._tools.offload.run(self._tools.state.greylist.decide, attempt, _WAIT)
        if decision.word != "waits":
            return [Finding(self.name, f"{text}; it waited long enough", DMARC_FAIL_SCORE, inputs=inputs)]
        reply = Reply(451, "4.7.24", f"The DMARC policy of {dmarc.domain} cannot be checked now, try again later")
        return [Finding(self.name, text, 0.0, Verdict.DEFER, reply, inputs=inputs)]

    def _spf(self, auth: AuthResults) -> Sequence[Finding]:
        spf = auth.spf
        scores = {
            Result.FAIL: SPF_FAIL_SCORE,
            Result.SOFTFAIL: SPF_SOFTFAIL_SCORE,
            Result.PERMERROR: SPF_PERMERROR_SCORE,
        }
        score = scores.get(spf.result)
        if score is None:
            return ()
        text = f"SPF of {spf.domain or 'the sender'} says {spf.result.value}"
        return [Finding(self.name, text, score, inputs={"spf": spf.result.value, "domain": spf.domain})]

    def _in_our_name(self, facts: Facts, auth: AuthResults) -> Sequence[Finding]:
        """A domain of ours in From that neither SPF nor a signature proves."""
        author = auth.dmarc.domain
        if not author or self._settings.is_exempt(facts.remote_ip) or not self._tools.directory.is_local_domain(author):
            return ()
        results = [(auth.spf.result, auth.spf.domain), *((each.result, each.domain) for each in auth.dkim)]
        passed = [domain for result, domain in results if result is Result.PASS]
        # of a check that DNS kept back, only what could have proved the name excuses: a stranger's DNS may fail at will
        unsure = [domain or author for result, domain in results if result is Result.TEMPERROR]
        if any(is_same_owner(each.lower().rstrip("."), author) for each in (*passed, *unsure)):
            return ()
        score = OUR_NAME_BY_LIST_SCORE if auth.dmarc.mailing_list and passed else OUR_NAME_SCORE
        text = f"a stranger writes in the name of {author}, which is ours"
        return [Finding(self.name, text, score, inputs={"domain": author, **auth.words})]

    def _unvouched(self, facts: Facts, auth: AuthResults) -> Sequence[Finding]:
        """Nobody answers for it, and the client's host name (what `ptr` found) does not either."""
        words = {auth.spf.result, *(each.result for each in auth.dkim)}
        if not words.isdisjoint({Result.PASS, Result.TEMPERROR}):
            return ()
        found = [each for each in facts.findings if each.check == "ptr" and not each.advisory and each.score > 0]
        if not found:
            return ()
        is_pool = found[0].inputs.get("kind") == "generic"
        if not is_pool and auth.spf.result in (Result.FAIL, Result.SOFTFAIL):
            return ()  # a server that moved and forgot its records: that SPF fails has its score
        score = UNVOUCHED_POOL_SCORE if is_pool else UNVOUCHED_NAMELESS_SCORE
        return [Finding(self.name, "neither SPF nor a signature nor a host name tells whose mail it is", score)]

    def _dkim(self, auth: AuthResults) -> Sequence[Finding]:
        results = [each.result for each in auth.dkim]
        if not results or Result.PASS in results or Result.TEMPERROR in results:
            return ()
        first = auth.dkim[0]
        inputs = {"dkim": first.result.value, "domain": first.domain}
        if Result.POLICY in results:
            text = f"the signature of {first.domain} is too weak: {first.reason}"
            return [Finding(self.name, text, DKIM_POLICY_SCORE, inputs=inputs)]
        text = f"the signature of {first.domain} does not hold: {first.reason or first.result.value}"
        return [Finding(self.name, text, DKIM_BROKEN_SCORE, inputs=inputs)]


def _may_be_passed_on(auth: AuthResults) -> bool:
    """Whether somebody else answers for a message that a list or a forwarder may have changed on its way.

    RFC 9989 7.4: nothing is refused for the policy alone; without other knowledge "reject" counts as "quarantine". Whoever forges a
    name has no domain that answers for it, or neither the marks of a list nor the author's signature.
    """
    dmarc, passed = auth.dmarc, [each for each in auth.dkim if each.result is Result.PASS]
    if auth.spf.result is not Result.PASS and not passed:
        return False
    owners = dmarc.organization or dmarc.domain
    return dmarc.mailing_list or any(
        each.result is Result.FAIL and is_same_owner(each.domain.lower().rstrip("."), owners) for each in auth.dkim
    )
