"""What an address and a domain of ours may look like, and the one canonical form they are compared in.

Canonical: the local part in lower case and NFC, the domain as lower-case A-labels. `canonical` is lenient and cheap, for
addresses that come from outside and are only looked up; `check_*` are strict, for what an operator adds, and raise
`account.bad_address` with the reason.
"""

from __future__ import annotations

import re
import unicodedata

from mailbox_app.errors import AccountError
from mailbox_app.proto.domain_names import a_labels

_SURROGATE = re.compile("[\ud800-\udfff]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_OWN_LOCALPART = re.compile(r"[a-z0-9._+\-=~'&%]+")
_OUTSIDE_LOCALPART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
_MAX_LOCALPART_BYTES = 64  # RFC 5321 4.5.3.1.1
_MAX_DOMAIN_BYTES = 253
SEPARATORS = "+-=_."
"""What a server may let stand between a name and its detail."""


def canonical(address: str) -> tuple[str, str]:
    """(local part, domain) for looking up; the domain is empty when there is none. Never raises."""
    plain = address.isascii()
    if not plain:  # a lone surrogate is no text, and no database takes it
        address = address.encode("utf-8", "replace").decode()
    localpart, at, domain = address.rpartition("@")
    if not at:
        localpart, domain = address, ""
    if plain:
        return localpart.lower(), domain.lower().rstrip(".")
    # RFC 6532 3.1: compared in NFC; lower case may take a letter apart, so it comes first
    localpart = unicodedata.normalize("NFC", unicodedata.normalize("NFC", localpart).lower())
    return localpart, (a_labels(domain) or domain).lower().rstrip(".")


def canonical_domain(domain: str) -> str:
    """A domain name in the form it is stored in. Never raises."""
    if not domain.isascii():
        domain = domain.encode("utf-8", "replace").decode()
        domain = a_labels(domain) or domain
    return domain.lower().rstrip(".")


def check_domain(name: str) -> str:
    """The canonical form of a domain that may be ours."""
    domain = canonical_domain(name.strip())
    labels = domain.split(".")
    if not domain or len(domain) > _MAX_DOMAIN_BYTES or not all(_LABEL.fullmatch(label) for label in labels):
        raise _bad(name, "is not a domain name")
    if labels[-1].isdigit():
        raise _bad(name, "is not a domain name: its last part is a number")
    return domain


def check_account_address(text: str) -> str:
    """The canonical form of an address that may be an account's: it also names a folder, so its characters are few."""
    localpart, domain = canonical(text.strip())
    if not localpart or not domain:
        raise _bad(text, "is not an address of the form name@domain")
    return f"{_check_own_localpart(localpart, text)}@{check_domain(domain)}"


def check_alias_address(text: str) -> str:
    """As for an account, or `@domain` for a catch-all."""
    text = text.strip()
    if text.startswith("@"):
        return f"@{check_domain(text[1:])}"
    return check_account_address(text)


def check_target(text: str) -> str:
    """Where an alias may lead: any well-formed address, here or outside."""
    if _SURROGATE.search(text):
        raise _bad(text, "holds bytes that are no text")
    localpart, _, domain = text.strip().rpartition("@")
    if not localpart or localpart.startswith(".") or localpart.endswith(".") or ".." in localpart:
        raise _bad(text, "is not an address of the form name@domain")
    if len(localpart.encode()) > _MAX_LOCALPART_BYTES:
        raise _bad(text, "has a part before the @ of more than 64 bytes")
    plain = localpart.isascii()
    if not (_OUTSIDE_LOCALPART.fullmatch(localpart) if plain else _is_word(localpart)):
        raise _bad(text, "has characters before the @ that an address cannot have")
    # RFC 5321 2.4: only the domain may be folded; the local part of somebody else's address is theirs
    return f"{localpart}@{check_domain(domain)}"


def without_detail(localpart: str, separators: str = "+") -> str:
    """`name` of `name+detail`; the same when there is no detail or no name."""
    return next((localpart[:at] for at in detail_starts(localpart, separators)), localpart)


def detail_starts(localpart: str, separators: str) -> list[int]:
    """Where a separator ends a name, the shortest name first."""
    return [at for at, character in enumerate(localpart) if at and character in separators]


def check_separators(text: str) -> str:
    """Characters that may stand between a name and its detail, each once; "" for none."""
    if any(character not in SEPARATORS for character in text):
        raise AccountError("account.bad_separators", f"separators are some of {SEPARATORS}")
    return "".join(dict.fromkeys(text))


def _check_own_localpart(localpart: str, text: str) -> str:
    if len(localpart.encode()) > _MAX_LOCALPART_BYTES:
        raise _bad(text, "has a part before the @ of more than 64 bytes")
    if localpart.startswith(".") or localpart.endswith(".") or ".." in localpart:
        raise _bad(text, "begins or ends with a dot, or has two in a row")
    if not (_OWN_LOCALPART.fullmatch(localpart) if localpart.isascii() else _is_word(localpart)):
        raise _bad(text, "may have only letters, digits and . _ + - = ~ ' & % before the @")
    return localpart


def _is_word(localpart: str) -> bool:
    return all(
        _OWN_LOCALPART.fullmatch(character) if character.isascii() else unicodedata.category(character)[0] in "LMN"
        for character in localpart.lower()
    )


def _bad(text: str, why: str) -> AccountError:
    shown = "".join(character if character.isprintable() else "?" for character in text[:100])
    return AccountError("account.bad_address", f"{shown!r} {why}")
