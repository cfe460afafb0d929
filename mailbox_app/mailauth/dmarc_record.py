"""DMARC records (RFC 9989 4.7, 4.8; pct= and the rest of RFC 7489 6.3), read as their rules for malformed ones say.

A tag that is wrong is as if absent; without a valid policy the record asks for nothing, or, when it wants reports, for
`none`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mailbox_app.mailauth.results import DmarcRecord

POLICIES = ("none", "quarantine", "reject")
_MAX_RECORD = 4_096
_MAX_ADDRESSES = 10
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s,;]{1,500}")
_NUMBER = re.compile(r"[0-9]{1,3}")
_TAG = re.compile(r"[A-Za-z]+")


def parse_tags(text: str) -> Mapping[str, str] | None:
    """The tags with their values as published; None when the text is no DMARC record."""
    if len(text) > _MAX_RECORD:
        return None
    first, *rest = [piece.partition("=") for piece in text.split(";")]
    if first[0].strip(" \t").lower() != "v" or first[2].strip(" \t") != "DMARC1":
        return None
    tags: dict[str, str] = {}
    for name, separator, value in rest:
        name = name.strip(" \t").lower()
        if separator and _TAG.fullmatch(name):
            tags.setdefault(name, value.strip(" \t"))
    return tags


def parse_record(domain: str, text: str) -> DmarcRecord | None:
    """The record found at `domain`; None when the text is none. Its policy is "" when it may not be acted on."""
    tags = parse_tags(text)
    if tags is None:
        return None
    reports = _addresses(tags.get("rua", ""))
    policies = [tags[name].lower() for name in ("p", "sp", "np") if name in tags]
    policy, below, missing = (tags.get(name, "").lower() for name in ("p", "sp", "np"))
    if not policy or any(each not in POLICIES for each in policies):
        # RFC 9989 4.10.1, RFC 7489 6.6.3 6: a record that cannot be obeyed still may want reports
        policy, below, missing = "none" if reports else "", "", ""
    percent = tags.get("pct", "")
    suffix = tags.get("psd", "").lower()
    return DmarcRecord(
        domain,
        policy,
        below,
        missing,
        strict_dkim=tags.get("adkim", "").lower() == "s",
        strict_spf=tags.get("aspf", "").lower() == "s",
        percent=min(int(percent), 100) if _NUMBER.fullmatch(percent) else 100,
        testing=tags.get("t", "").lower() == "y",
        public_suffix=suffix if suffix in ("y", "n") else "u",
        failure_options=_options(tags.get("fo", "")),
        aggregate_reports=reports,
        failure_reports=_addresses(tags.get("ruf", "")),
    )


def _addresses(value: str) -> Sequence[str]:
    pieces = [piece.strip() for piece in value.split(",", _MAX_ADDRESSES)[:_MAX_ADDRESSES]]
    return tuple(piece for piece in pieces if _URI.fullmatch(piece))


def _options(value: str) -> Sequence[str]:
    options = [option.strip().lower() for option in value.split(":", 8)]
    return tuple(dict.fromkeys(option for option in options if option in ("0", "1", "d", "s"))) or ("0",)
