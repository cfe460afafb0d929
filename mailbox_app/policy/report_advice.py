"""What a source in received DMARC reports most likely is, and what to do about it, in a sentence for the administrator."""

from __future__ import annotations

from mailbox_app.journal.received_reports import Source
from mailbox_app.proto.dmarc_report import Row

MANY = 10
"""Failing messages from which on a source is worth a sentence of its own."""


def advice(source: Source) -> str:
    """One or two plain sentences."""
    failed = source.messages - source.passed
    if not failed:
        return "All of it proves that it is yours."
    row = source.example
    few = " It is little: wait and see." if failed < MANY else ""
    domain = row.header_from or "your domain"
    own, foreign = _signers(row)
    if forwarded := next((each.kind for each in row.reasons if each.kind in _PASSED_ON), ""):
        kind = "a mailing list" if forwarded == "mailing_list" else "a forwarder"
        return f"The reporter takes it for {kind}: nothing to do."
    if own or source.passed:
        who = f"Mail signed by {own} was changed on the way" if own else "Some of its mail passes and some does not"
        return f"{who}, as lists and forwarders do: nothing to do, unless this server is yours.{few}"
    if foreign:
        return (
            f"It is signed by {foreign}, not by {domain}: if you use that service, have it sign with a key of"
            f" {domain}; if not, it is a list or a forgery.{few}"
        )
    if envelope := _foreign_spf(row):
        return (
            f"SPF proves {envelope}, not {domain}: if you use that service, let it sign with a key of {domain} or send with"
            f" an envelope sender of yours; if not, it is a forwarder or a forgery.{few}"
        )
    told = _treatment(source)
    return (
        f"Nothing proves it. If it is a server or service of yours, add it to the SPF record of {domain} and let it sign;"
        f" otherwise these are forgeries, {told}.{few}"
    )


_PASSED_ON = frozenset({"mailing_list", "forwarded", "trusted_forwarder"})


def _signers(row: Row) -> tuple[str, str]:
    """A domain of the author whose signature is broken, and another one whose signature holds."""
    own = next((each.domain for each in row.signatures if _related(each.domain, row.header_from)), "")
    foreign = next(
        (
            each.domain
            for each in row.signatures
            if each.result == "pass" and each.domain and not _related(each.domain, row.header_from)
        ),
        "",
    )
    return own, foreign


def _foreign_spf(row: Row) -> str:
    return next(
        (
            each.domain
            for each in row.spf_results
            if each.result == "pass" and each.domain and not _related(each.domain, row.header_from)
        ),
        "",
    )


def _related(domain: str, author: str) -> bool:
    return bool(domain) and (domain == author or domain.endswith(f".{author}") or author.endswith(f".{domain}"))


def _treatment(source: Source) -> str:
    failed, stopped = source.messages - source.passed, source.quarantined + source.rejected
    if not stopped:
        return "and others let them through: ask them for p=quarantine or p=reject once your own mail passes"
    if source.rejected >= failed:
        return "and all of them were refused"
    return f"of which others refused {source.rejected} and put {source.quarantined} into junk"
