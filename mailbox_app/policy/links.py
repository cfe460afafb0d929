"""Where the links of a message lead: host names, registered domains, and links that show another place than they go to.

Pure; names are compared in their ASCII form. What is no web address is passed over.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import urlsplit

from mailbox_app.policy.content import Content
from mailbox_app.policy.identity import is_registrable, organisation_of

MAX_HOSTS = 100
_HOST_CHARACTERS = 253
_SHOWN_HOST = re.compile(r"(?:https?://)?([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})(?=[/:?#\s]|$)", re.IGNORECASE)
_PLAIN_HOST = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){0,30}")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")


def host_of(url: str) -> str:
    """The host a web address leads to, lower case and ASCII; "" when it is no such address."""
    text = url.strip().replace("\\", "/")
    if text[:4].lower() == "www.":
        text = f"http://{text}"
    elif text.startswith("//"):
        text = f"http:{text}"
    if not text.lower().startswith(("http://", "https://")):
        return ""
    try:
        host = urlsplit(text).hostname or ""
    except ValueError:
        return ""
    return ascii_host(host)


def ascii_host(host: str) -> str:
    """A host name in its ASCII form, "" when it has none."""
    if len(host) > _HOST_CHARACTERS:
        return ""
    if _PLAIN_HOST.fullmatch(host):
        return host
    host = unicodedata.normalize("NFKC", host).lower().rstrip(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return ""
    return host if len(host) <= _HOST_CHARACTERS and all(_LABEL.fullmatch(label) for label in host.split(".")) else ""


def readable_host(host: str) -> str:
    """A host name with its international labels in their own letters."""
    if "xn--" not in host:
        return host
    try:
        return host.encode("ascii").decode("idna")
    except UnicodeError:
        return host


def hosts_of(content: Content) -> Sequence[str]:
    """The hosts all links lead to, each once, in order, at most `MAX_HOSTS`."""
    urls = dict.fromkeys([*(link.href for link in content.links), *content.urls])
    hosts = dict.fromkeys(host for url in urls if (host := host_of(url)))
    return list(hosts)[:MAX_HOSTS]


def domains_of(content: Content) -> Sequence[str]:
    """The registered domains of all links, each once."""
    return list(dict.fromkeys(organisation_of(host) for host in hosts_of(content)))


def misleading(content: Content) -> Sequence[tuple[str, str]]:
    """(shown host, host it goes to) of links whose text is an address of somebody else."""
    found = []
    for link in content.links:
        match = _SHOWN_HOST.match(link.shown)
        if match is None or ("." not in match[1]):
            continue
        shown, goes = ascii_host(match[1]), host_of(link.href)
        if not shown or not goes or shown.rpartition(".")[2].isdigit():
            continue
        if is_registrable(shown) and organisation_of(shown) != organisation_of(goes):
            found.append((shown, goes))
    return found


def scripts_of(label: str) -> set[str]:
    """The scripts a label's letters are of, as far as they can be taken for each other: LATIN, CYRILLIC, GREEK, ..."""
    return {unicodedata.name(letter, "UNKNOWN").partition(" ")[0] for letter in label if letter.isalpha()}


def is_mixed(host: str) -> bool:
    """Whether a label mixes Latin with Cyrillic, Greek, Armenian or Cherokee letters: made to be misread."""
    for label in readable_host(host).split("."):
        if not label.isascii():
            scripts = scripts_of(label)
            if len(scripts & _ALIKE) > 1:
                return True
    return False


_ALIKE = {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"}
