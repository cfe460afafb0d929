"""Domain names in other letters than ASCII: A-labels for the wire and for comparing, U-labels for people.

The rules are those of 2008 (RFC 5891) with the usual mapping before them: lower case, NFKC. The `idna` codec of the standard
library follows the rules of 2003, under which a sharp s becomes `ss` and a final sigma a sigma: somebody else's domain.
"""

from __future__ import annotations

import re
import unicodedata

_MAX_DOMAIN_BYTES = 253
_MAX_LABEL_BYTES = 63
_DOTS = re.compile("[\u3002\uff0e\uff61]")
"""What keyboards of East Asia write for a full stop."""
_LETTERS = frozenset({"Ll", "Lo", "Lm", "Mn", "Mc", "Nd"})
_JOINERS = "-\u00b7\u0375\u05f3\u05f4\u200c\u200d\u30fb"
"""RFC 5892 A: allowed in context; without the context nobody can have registered the name."""


def a_labels(domain: str) -> str | None:
    """A-labels of a domain in any form, else as written; None when a label cannot have one. RFC 5891 5"""
    mapped = _DOTS.sub(".", unicodedata.normalize("NFKC", "".join(map(_folded, domain))))
    if len(mapped) > _MAX_DOMAIN_BYTES:
        return None
    written = [label if label.isascii() else _a_label(label) for label in mapped.split(".")]
    return None if None in written else ".".join(label for label in written if label is not None)


def u_labels(domain: str) -> str:
    """The domain as people read it, when its A-labels are what its U-labels come to; else as it is. RFC 5890 2.3.2.1"""
    if "xn--" not in domain:
        return domain
    shown = []
    for label in domain.split("."):
        try:
            shown.append(label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label)
        except (UnicodeError, ValueError):
            return domain
    readable = ".".join(shown)
    return readable if readable.isprintable() and a_labels(readable) == domain else domain


def _folded(character: str) -> str:
    """Lower case, one letter at a time: no letter's form depends on its neighbours, and none becomes two."""
    lower = character.lower()
    return lower if len(lower) == 1 else character.casefold()


def _a_label(label: str) -> str | None:
    if label[0] == "-" or label[-1] == "-" or label[2:4] == "--" or unicodedata.category(label[0])[0] == "M":
        return None
    if not all(unicodedata.category(character) in _LETTERS or character in _JOINERS for character in label):
        return None
    written = "xn--" + label.encode("punycode").decode("ascii")
    return written if len(written) <= _MAX_LABEL_BYTES else None
