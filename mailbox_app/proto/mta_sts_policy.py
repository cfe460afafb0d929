"""MTA-STS as strangers publish it: the TXT record that says there is a policy, and the policy file. RFC 8461.

Pure readers. A record that is none, or one of several, counts as no record; a file that cannot be a policy is a `ProtocolError`
whose text says what is wrong. Unknown fields are passed over, as the standard wants for versions to come.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailbox_app.errors import ProtocolError

MAX_POLICY_BYTES = 65_536
MAX_AGE_SECONDS = 31_557_600
"""RFC 8461 3.2: about a year."""
_MAX_PATTERNS = 500
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_RECORD_VERSION = re.compile(r"v=STSv1[ \t]*(;|$)")
_FIELD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_AGE = re.compile(r"[0-9]{1,10}")


class StsMode(StrEnum):
    """What a policy asks of senders."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """One policy."""

    mode: StsMode
    max_age_seconds: int
    patterns: Sequence[str] = ()
    """Host names in lower case; "*." in front stands for one label."""

    def names(self, host: str) -> bool:
        """Whether the policy names this mail server. RFC 8461 4.1."""
        host = host.lower().rstrip(".")
        parent = host.partition(".")[2]
        return any(pattern == host or (pattern.startswith("*.") and pattern[2:] == parent) for pattern in self.patterns)

    def lines(self) -> list[str]:
        """Its fields as the file has them, for reports (RFC 8460 4.4)."""
        return [
            "version: STSv1",
            f"mode: {self.mode}",
            f"max_age: {self.max_age_seconds}",
            *(f"mx: {pattern}" for pattern in self.patterns),
        ]


def parse_record(texts: Sequence[str]) -> str | None:
    """The id of the one record among the TXT records of `_mta-sts`; None when there is no good one. RFC 8461 3.1."""
    records = [text for text in texts if _RECORD_VERSION.match(text)]
    if len(records) != 1:
        return None
    found = None
    for field in records[0].split(";")[1:]:
        name, equals, value = field.strip(" \t").partition("=")
        if name.strip(" \t") == "id" and equals and found is None:
            found = value.strip(" \t")
    return found if found is not None and _ID.fullmatch(found) else None


def parse_policy(data: bytes) -> StsPolicy:
    """The policy in a file. RFC 8461 3.2; the first of several equal fields counts, but each mx."""
    if len(data) > MAX_POLICY_BYTES:
        raise _bad("it is too long")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad("it is not text") from error
    fields: dict[str, str] = {}
    patterns: dict[str, None] = {}
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line.strip(" \t"):
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(" \t"), value.strip(" \t")
        if not colon or not _FIELD_NAME.fullmatch(name):
            raise _bad("it has a line that is no field")
        if name == "mx":
            patterns[_pattern(value)] = None
            if len(patterns) > _MAX_PATTERNS:
                raise _bad("it names too many hosts")
        else:
            fields.setdefault(name, value)
    return _assembled(fields, tuple(patterns))


def _assembled(fields: dict[str, str], patterns: Sequence[str]) -> StsPolicy:
    if fields.get("version") != "STSv1":
        raise _bad("its version is not STSv1")
    try:
        mode = StsMode(fields.get("mode", ""))
    except ValueError as error:
        raise _bad("its mode is neither enforce nor testing nor none") from error
    age = fields.get("max_age", "")
    if not _AGE.fullmatch(age):
        raise _bad("its max_age is not a number of seconds")
    if not patterns and mode is not StsMode.NONE:
        raise _bad("it names no host")
    return StsPolicy(mode, min(int(age), MAX_AGE_SECONDS), patterns)


def _pattern(value: str) -> str:
    pattern = value.lower().rstrip(".")
    if len(pattern) > 255 or not _PATTERN.fullmatch(pattern):
        raise _bad("it names a host that is no host name")
    return pattern


def _bad(why: str) -> ProtocolError:
    return ProtocolError("mta_sts.bad_policy", f"the MTA-STS policy is not valid: {why}")
