"""Where links lead: domains on lists or denied here, addresses that show another place than they go to, misread names."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator, Sequence
from typing import ClassVar

from mailbox_app.policy.check import Mode
from mailbox_app.policy.content import Content, content_of
from mailbox_app.policy.dns_lists import DOMAIN_TEST, DnsLists
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.identity import of_facts, organisation_of
from mailbox_app.policy.links import hosts_of, is_mixed, misleading
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict

MAX_ASKED = 20
"""Domains of one message that lists are asked about."""


class UrlLists:
    """Scores, and Junk for denied domains."""

    name: ClassVar[str] = "url_lists"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"
    is_about_strangers: ClassVar[bool] = True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._lists = DnsLists(tools.resolver, tools.clock, tools.metrics, DOMAIN_TEST)

    def is_quick(self, facts: Facts) -> bool:
        """Without lists nobody is asked."""
        del facts
        return not self._tools.config().url_lists.lists

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """What the links of a message say."""
        message = facts.message
        if message is None:
            return ()
        content = await content_of(message, self._tools.offload)
        if not content.links and not content.urls:
            return ()
        hosts = hosts_of(content)
        findings = list(self._of_form(content, hosts, vouched=of_facts(facts).aligned))
        config = self._tools.config().url_lists
        for host in hosts:
            if is_below(host, config.deny):
                findings.append(Finding(self.name, f"links to {host}, which is denied here", 3.0, Verdict.JUNK))
                break
        self._lists.configure(config.lists)
        if config.lists:
            domains = dict.fromkeys(organisation_of(host) for host in hosts if not is_below(host, config.allow))
            names = [each for each in domains if not _is_address(each)][:MAX_ASKED]
            answers = await asyncio.gather(*map(self._lists.look_name, names))
            worst = {
                each.zone: (name, each)
                for name, listings in zip(names, answers, strict=True)
                for each in sorted(listings, key=lambda one: one.score)
            }
            for zone, (name, listing) in worst.items():
                inputs = {"zone": zone, "answer": listing.answer, "domain": name}
                reason = f"links to {name}, listed by {zone}: {listing.meaning}"
                findings.append(Finding(self.name, reason, listing.score, inputs=inputs))
        return findings

    def _of_form(self, content: Content, hosts: Sequence[str], *, vouched: bool) -> Iterator[Finding]:
        for shown, goes in misleading(content)[:1]:
            # newsletters count clicks through other hosts: little, when somebody vouches for them
            yield Finding(self.name, f"a link shows {shown} and goes to {goes}", 0.5 if vouched else 2.5)
        for host in hosts:
            if is_mixed(host):
                yield Finding(self.name, f"links to {host}, written to be misread as another", 3.0, Verdict.JUNK)
                break
        if any(_is_address(host) for host in hosts):
            yield Finding(self.name, "links to a number instead of a name", 1.0)


def is_below(host: str, domains: Sequence[str]) -> bool:
    """Whether a host is one of the domains or below one."""
    return any(host == each or host.endswith(f".{each}") for each in (name.lower().strip(".") for name in domains))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
