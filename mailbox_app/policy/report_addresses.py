"""Which addresses reports go to and come from, as `[reports]` says; one place, so that DNS records, reader and sender agree."""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.accounts.addresses import canonical_domain
from mailbox_app.config.reports import Reports


def report_address(settings: Reports, domain: str) -> str:
    """Where others report about a domain of ours."""
    return settings.address if "@" in settings.address else f"{settings.address}@{domain}"


def report_addresses(settings: Reports, domains: Sequence[str]) -> Sequence[str]:
    """All of them, once each."""
    return list(dict.fromkeys(report_address(settings, domain).lower() for domain in domains))


def report_sender(settings: Reports, hostname: str, domains: Sequence[str]) -> str:
    """Who our reports are from; "" when there is no domain yet."""
    if settings.sender:
        return settings.sender
    labels = hostname.rstrip(".").lower().split(".")
    names = [".".join(labels[start:]) for start in range(len(labels))]
    domain = next((name for name in names if name in domains), next(iter(domains), ""))
    return f"noreply-dmarc@{domain}" if domain else ""


def is_skipped(settings: Reports, domain: str) -> bool:
    """Whether this domain, or one above it, gets no reports."""
    return any(domain == name or domain.endswith(f".{name}") for name in map(canonical_domain, settings.skip) if name)
