"""Under which names a sender's reputation is kept, the most telling first.

An address and its domain count only when the domain vouches for the message (DMARC, or SPF or DKIM of the same
organisation): anybody can write a From field. The client's address and network count always. `of_facts` reads a message on
its way in, `of_stored` the same from the header that was stored with it, which is what learning has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.ids import AccountId
from mailbox_app.mailauth.checks import is_private
from mailbox_app.mailauth.organizations import is_below_suffix, listed_organization
from mailbox_app.mailauth.results import AuthResults, Result
from mailbox_app.policy.facts import Facts, MessageFacts
from mailbox_app.policy.settings import address_of, wide_network
from mailbox_app.proto.address_list import AUTHOR_BYTES, parse_address_items
from mailbox_app.proto.authres import Method, parse_authres
from mailbox_app.proto.header import Header

MAX_ACCOUNTS_ASKED = 50
"""Of one message: more recipients of their own opinion than this get everybody's."""
_MAX_DKIM = 3
_NAME_CHARACTERS = 320
_RECEIVED_FROM = re.compile(rb"from [^\s()]{1,255} \(\[(?:IPv6:)?([0-9A-Fa-f:.]{2,45})\]\)")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sent a message, as far as it is known."""

    address: str = ""
    """Of the From field, lower case; "" when there is not exactly one."""
    domain: str = ""
    organisation: str = ""
    aligned: bool = False
    """The domain vouches for the message."""
    dkim_domains: Sequence[str] = ()
    """With valid signatures."""
    remote_ip: str = ""

    @property
    def senders(self) -> Sequence[str]:
        """Keys of the tallies, the most telling first: `address:`, `domain:`, `organisation:`, `dkim:`, `ip:`, `network:`."""
        keys: list[str] = []
        if self.aligned and self.address:
            keys += [f"address:{self.address}", f"domain:{self.domain}"]
            if self.organisation and self.organisation != self.domain:
                keys.append(f"organisation:{self.organisation}")
        keys += [f"dkim:{domain}" for domain in self.dkim_domains[:_MAX_DKIM]]
        if self.remote_ip and not is_private(self.remote_ip):
            keys.append(f"ip:{self.remote_ip}")
            keys.append(f"network:{wide_network(self.remote_ip)}")
        return [key[:_NAME_CHARACTERS] for key in keys]


def of_facts(facts: Facts) -> Identity:
    """Of a message on its way in; made once."""
    message = facts.message
    if message is None:
        return Identity(remote_ip=_canonical(facts.remote_ip))
    found = message.derived.get("identity")
    if not isinstance(found, Identity):
        found = message.derived["identity"] = _of_message(facts, message)
    return found


def _of_message(facts: Facts, message: MessageFacts) -> Identity:
    address, domain = author_of(message.header)
    auth = message.auth
    if auth is None:
        return Identity(address, domain, organisation_of(domain), False, (), _canonical(facts.remote_ip))
    signers = list(
        dict.fromkeys(each.domain.lower() for each in auth.dkim if each.result is Result.PASS and each.domain)
    )
    return _identity(
        address, domain, auth.dmarc.result is Result.PASS, _spf_domain(auth), signers, _canonical(facts.remote_ip)
    )


def of_stored(header: Header, hostname: str) -> Identity:
    """Of a stored message: our own Authentication-Results and the Received field of the server that took it."""
    address, domain = author_of(header)
    received = header.first(b"received") or b""
    match = _RECEIVED_FROM.match(received)
    remote_ip = _canonical(match[1].decode("ascii")) if match and hostname.encode() in received else ""
    passed = [each for each in own_results(header, hostname) if each.result == "pass"]
    spf_domain = next((_property(each, "smtp.mailfrom") for each in passed if each.name == "spf"), "")
    names = [_property(each, "header.d") for each in passed if each.name == "dkim"]
    dmarc = any(each.name == "dmarc" for each in passed)
    return _identity(
        address, domain, dmarc, spf_domain.rpartition("@")[2], list(dict.fromkeys(filter(None, names))), remote_ip
    )


def account_ids(facts: Facts) -> Sequence[AccountId]:
    """The local accounts a message goes to, each once."""
    found = dict.fromkeys(account.account_id for recipient in facts.recipients for account in recipient.accounts)
    return list(found)[:MAX_ACCOUNTS_ASKED]


def author_of(header: Header) -> tuple[str, str]:
    """(address, domain) of the one author in From, lower case; empty when there is none or several."""
    values = header.all(b"from")
    if len(values) != 1 or len(values[0]) > AUTHOR_BYTES:
        return "", ""
    found = [item for item in parse_address_items(values[0], limit=3) if item.domain]
    if len(found) != 1:
        return "", ""
    domain = (found[0].domain or b"").decode("utf-8", "replace").lower().rstrip(".")
    local = (found[0].localpart or b"").decode("utf-8", "replace").lower()
    return f"{local}@{domain}"[:_NAME_CHARACTERS], domain[:255]


def organisation_of(domain: str) -> str:
    """The registered domain above a name; the name itself when the list of public suffixes does not tell."""
    return (listed_organization(domain) or domain) if domain else ""


def is_registrable(name: str) -> bool:
    """Whether a name lies below a suffix that the list knows: the end of a sentence ("end.Then") does not."""
    return bool(name) and is_below_suffix(name)


def _identity(
    address: str, domain: str, dmarc: bool, spf_domain: str, signers: Sequence[str], remote_ip: str
) -> Identity:
    organisation = organisation_of(domain)
    vouched = dmarc or (
        bool(domain) and any(organisation_of(each) == organisation for each in (spf_domain, *signers) if each)
    )
    return Identity(address, domain, organisation, vouched, tuple(signers), remote_ip)


def _spf_domain(auth: AuthResults) -> str:
    return auth.spf.domain.lower() if auth.spf.result is Result.PASS and auth.spf.identity == "mailfrom" else ""


def own_results(header: Header, hostname: str) -> Sequence[Method]:
    """The results in the topmost field of our own name, by their grammar: what they quote of a stranger is no result."""
    for value in header.all(b"authentication-results"):
        service, methods = parse_authres(value)
        if service == hostname.lower().rstrip("."):
            return methods
    return ()


def _property(method: Method, name: str) -> str:
    return next((value.lower()[:_NAME_CHARACTERS] for key, value in method.properties if key == name), "")


def _canonical(text: str) -> str:
    address = address_of(text)
    return str(address) if address is not None else ""
