"""SPF (RFC 7208) by pyspf, with DNS asked through our resolver and no thread waiting for it.

pyspf is synchronous. It is run over the answers known so far; where one is missing it stops, the answer is fetched, and
it runs again. A run takes about a tenth of a millisecond and the protocol bounds the look-ups, so this costs less
than a thread that waits, and a slow DNS can never use up the threads the store needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import spf

from mailbox_app.errors import ResolveError
from mailbox_app.mailauth.results import Result, SpfResult
from mailbox_app.net.resolver import Resolver
from mailbox_app.proto.domain_names import a_labels

Question = tuple[str, str]
Value = str | bytes | tuple[int, str] | tuple[bytes]

# RFC 7208 4.6.4 allows 10 terms with look-ups, of which mx may ask 10 more each: far above what real records need.
_MAX_QUESTIONS = 60
# Each is compared anew in every run; a sender of honest size has a few dozen addresses.
_MAX_RECORDS = 1_000
# Longer TXT records are no SPF that anyone publishes, and pyspf's expressions are not made for them.
_MAX_TXT = 4_096
_LABELS = re.compile(r"[^.]{1,63}(?:\.[^.]{1,63})*")


class _Missing(Exception):
    """An answer that is not there yet; not an error, it carries the next question."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question


class _Query(spf.query):  # type: ignore[misc]
    """pyspf's evaluation over a table of answers."""

    def __init__(self, answers: Mapping[Question, list[Value] | None], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._answers = answers
        self.missing: Question | None = None

    def dns(self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False) -> list[Value]:
        """The records of a name; an alias was followed by the resolver already."""
        name = str(name).rstrip(".").lower()
        if len(name) > 253 or not _LABELS.fullmatch(name):
            return []
        question = (name, qtype)
        if question not in self._answers:
            # kept as well: pyspf drops any exception while it looks for an explanation text
            self.missing = self.missing or question
            raise _Missing(question)
        values = self._answers[question]
        if values is None:
            raise spf.TempError("DNS could not answer")
        if not values and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError("too many look-ups without an answer")
        return list(values)


def _values(records: list[str], rdtype: str) -> list[Value]:
    """Presentation form to what pyspf wants."""
    if rdtype == "TXT":
        return [(record.encode("latin-1", "replace"),) for record in records if len(record) <= _MAX_TXT]
    if rdtype == "MX":
        exchanges: list[Value] = []
        for record in records:
            preference, _, host = record.partition(" ")
            if preference.isdigit() and host:
                exchanges.append((int(preference), host.strip().rstrip(".")))
        return exchanges
    if rdtype == "PTR":
        return [record.rstrip(".") for record in records]
    return list(records)


async def check_spf(resolver: Resolver, *, remote_ip: str, helo: str, sender: str, receiver: str) -> SpfResult:
    """Evaluate the envelope sender's domain, or the HELO name for the null sender. The caller sets the deadline."""
    identity = "mailfrom" if sender else "helo"
    domain = sender.rpartition("@")[2] if sender else helo
    if not domain.isascii():
        labels = a_labels(domain)
        if labels is None:  # RFC 7208 4.3: a malformed domain has no policy to look up
            return SpfResult(Result.NONE, domain, identity, sender or helo, "the domain is malformed")
        domain = labels
        local, at, _ = sender.rpartition("@")
        sender = f"{local}{at}{domain}" if sender else ""
        helo = domain if not sender else helo
    answers: dict[Question, list[Value] | None] = {}
    if "." in domain and len(domain) <= 253 and _LABELS.fullmatch(domain):
        await _fetch(resolver, (domain.lower(), "TXT"), answers)  # the first question of any evaluation: a run less
    for _ in range(_MAX_QUESTIONS):
        query = _Query(answers, i=remote_ip, s=sender, h=helo, receiver=receiver)
        try:
            word, _, text = query.check()
        except _Missing as missing:
            await _fetch(resolver, missing.question, answers)
            if sum(len(values) for values in answers.values() if values) > _MAX_RECORDS:
                return SpfResult(Result.PERMERROR, domain, identity, sender or helo, "too many DNS records")
            continue
        result = Result(word) if word in Result.__members__.values() else Result.PERMERROR
        reason = text if result in (Result.TEMPERROR, Result.PERMERROR) else ""
        return SpfResult(result, domain, identity, sender or helo, reason, query.lookups, query.void_lookups)
    return SpfResult(Result.PERMERROR, domain, identity, sender or helo, "too many DNS look-ups")


async def _fetch(resolver: Resolver, question: Question, answers: dict[Question, list[Value] | None]) -> None:
    try:
        answer = await resolver.query(*question)
    except ResolveError:
        answers[question] = None
    else:
        answers[question] = _values(list(answer.records), question[1])


async def check_helo(resolver: Resolver, *, remote_ip: str, helo: str, receiver: str) -> SpfResult:
    """Evaluate the HELO name by itself; an address literal or a bare word has no policy. RFC 7208 2.3."""
    name = helo.rstrip(".")
    if "." not in name or name.startswith("[") or name.replace(".", "").isdigit():
        return SpfResult(Result.NONE, helo, "helo", helo, "not a domain name")
    return await check_spf(resolver, remote_ip=remote_ip, helo=name, sender="", receiver=receiver)
