"""Commands of an SMTP client: verb and argument, MAIL and RCPT with their parameters, xtext.

Everything that does not follow the grammar raises a `Refusal` with the reply RFC 5321, 1870, 3461, 4954, 6152, 6531, 8689 ask.
Addresses come back as text without brackets; "" is the null sender, a bare `postmaster` stays bare.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.address import parse_path
from mailbox_app.proto.smtp.replies import Refusal

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_VALUE = re.compile(r"[!-<>-~\u0080-\U0010ffff][!-~\u0080-\U0010ffff]*")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_ESCAPE = re.compile(r"\+([0-9A-F]{2})")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_SECONDS = re.compile(r"[1-9][0-9]{0,8}")  # RFC 4865 3
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_MAX_ENVID = 100  # RFC 3461 4.4
_MAX_ORCPT = 500  # RFC 3461 4.2


@dataclass(frozen=True, slots=True)
class MailCommand:
    """MAIL FROM with its parameters."""

    sender: str
    size_bytes: int = 0
    """0: not declared."""
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    """xtext as received."""
    require_tls: bool = False
    """RFC 8689 REQUIRETLS: encrypted on the whole way, or not at all."""
    hold_for: int | None = None
    """RFC 4865 HOLDFOR in seconds; None: not said."""
    hold_until: datetime | None = None
    """RFC 4865 HOLDUNTIL; None: not said."""

    @property
    def release_request(self) -> str:
        """HOLDFOR or HOLDUNTIL as reports repeat it; "" for neither. RFC 4865 5.1.2"""
        if self.hold_for is not None:
            return f"for;{self.hold_for}"
        return f"until;{self.hold_until:%Y-%m-%dT%H:%M:%SZ}" if self.hold_until is not None else ""


@dataclass(frozen=True, slots=True)
class RcptCommand:
    """RCPT TO with its parameters."""

    address: str
    notify: str = ""
    orcpt: str = ""


def split_command(line: bytes) -> tuple[bytes, bytes]:
    """Verb in upper case and argument without spaces around, of a line without its CRLF."""
    verb, _, argument = line.partition(b" ")
    return verb.upper(), argument.strip(b" \t")


def parse_mail(argument: bytes) -> MailCommand:
    """The argument of MAIL, beginning with `FROM:`. RFC 5321 4.1.1.2."""
    text = _text(argument, "FROM:")
    address, rest = _path(text, "5.1.7")
    parameters = parse_parameters(rest)
    smtputf8 = _flag(parameters, "SMTPUTF8")
    if not smtputf8 and not address.isascii():
        raise Refusal(553, "5.6.7", "A non-ASCII address needs SMTPUTF8", reason="syntax")  # RFC 6531 3.5
    require_tls = _flag(parameters, "REQUIRETLS")
    size = parameters.pop("SIZE", "0")
    if not (size.isascii() and size.isdigit() and len(size) <= 20):  # RFC 1870 6.1
        raise _bad_parameter("SIZE")
    body = parameters.pop("BODY", "7BIT").upper()
    if body not in ("7BIT", "8BITMIME"):
        raise _bad_parameter("BODY")
    ret = parameters.pop("RET", "").upper()
    if ret not in ("", "FULL", "HDRS"):
        raise _bad_parameter("RET")
    envid = parameters.pop("ENVID", "")
    if len(envid) > _MAX_ENVID or not _XTEXT.fullmatch(envid):
        raise _bad_parameter("ENVID")
    # RFC 4954 5: accepted and not passed on, as if it were AUTH=<>
    if not _XTEXT.fullmatch(parameters.pop("AUTH", "")):
        raise _bad_parameter("AUTH")
    hold_for, hold_until = _hold(parameters)
    _nothing_left(parameters)
    return MailCommand(address, int(size), body, smtputf8, ret, envid, require_tls, hold_for, hold_until)


def parse_rcpt(argument: bytes, *, smtputf8: bool) -> RcptCommand:
    """The argument of RCPT, beginning with `TO:`. RFC 5321 4.1.1.3."""
    text = _text(argument, "TO:")
    address, rest = _path(text, "5.1.3")
    if not address:
        raise Refusal(501, "5.1.3", "A recipient needs an address", reason="syntax")
    if not smtputf8 and not address.isascii():
        raise Refusal(553, "5.6.7", "A non-ASCII address needs SMTPUTF8", reason="syntax")
    if not rest:
        return RcptCommand(address)
    parameters = parse_parameters(rest)
    notify = parameters.pop("NOTIFY", "").upper()
    if notify and not _is_notify(notify):
        raise _bad_parameter("NOTIFY")
    orcpt = parameters.pop("ORCPT", "")
    if orcpt and not _is_orcpt(orcpt, smtputf8=smtputf8):
        raise _bad_parameter("ORCPT")
    _nothing_left(parameters)
    return RcptCommand(address, notify, orcpt)


def parse_parameters(text: str) -> dict[str, str]:
    """`KEYWORD=value` pairs; a keyword without value has "". Keywords are in upper case. RFC 5321 4.1.2."""
    result: dict[str, str] = {}
    for parameter in text.split():
        keyword, equals, value = parameter.partition("=")
        keyword = keyword.upper()
        if not _KEYWORD.fullmatch(keyword) or (equals and not _VALUE.fullmatch(value)) or keyword in result:
            raise Refusal(501, "5.5.4", "A parameter is not well formed", reason="syntax")
        result[keyword] = value
    return result


def decode_xtext(text: str) -> str:
    """The text behind RFC 3461 xtext; bytes that are not UTF-8 become replacement characters."""
    if "+" not in text:
        return text
    return (
        _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text).encode("latin-1", "replace").decode("utf-8", "replace")
    )


def encode_xtext(text: str) -> str:
    """RFC 3461 xtext of a text."""
    return "".join(
        chr(byte) if 33 <= byte <= 126 and byte not in b"+=" else f"+{byte:02X}" for byte in text.encode("utf-8")
    )


def _text(argument: bytes, keyword: str) -> str:
    if argument[: len(keyword)].upper() != keyword.encode():
        raise Refusal(501, "5.5.2", f"The argument begins with {keyword}", reason="syntax")
    try:
        return argument[len(keyword) :].decode().lstrip(" ")
    except UnicodeDecodeError as error:
        raise Refusal(501, "5.5.2", "The argument is not UTF-8", reason="syntax") from error


def _path(text: str, enhanced: str) -> tuple[str, str]:
    try:
        address, rest = parse_path(text, smtputf8=True)
    except ProtocolError as error:
        raise Refusal(501, enhanced, "The address is not well formed", reason="syntax") from error
    return str(address) if address else "", rest


def _flag(parameters: dict[str, str], keyword: str) -> bool:
    value = parameters.pop(keyword, None)
    if value:
        raise _bad_parameter(keyword)
    return value is not None


def _hold(parameters: dict[str, str]) -> tuple[int | None, datetime | None]:
    """RFC 4865 4: one of the two, not both."""
    seconds, until = parameters.pop("HOLDFOR", None), parameters.pop("HOLDUNTIL", None)
    if seconds is None and until is None:
        return None, None
    if seconds is not None and until is not None:
        raise _bad_parameter("HOLDUNTIL")
    if until is None:
        assert seconds is not None
        if not _SECONDS.fullmatch(seconds):
            raise _bad_parameter("HOLDFOR")
        return int(seconds), None
    if not _DATE_TIME.fullmatch(until):  # RFC 3339 5.6
        raise _bad_parameter("HOLDUNTIL")
    try:
        return None, datetime.fromisoformat(until.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _bad_parameter("HOLDUNTIL") from error


def _is_notify(value: str) -> bool:
    words = value.split(",")
    return words == ["NEVER"] or (len(set(words)) == len(words) and {"SUCCESS", "FAILURE", "DELAY"}.issuperset(words))


def _is_orcpt(value: str, *, smtputf8: bool) -> bool:
    kind, _, address = value.partition(";")
    if len(value) > _MAX_ORCPT or not address or not _ADDRESS_TYPE.fullmatch(kind):
        return False
    if smtputf8 and kind.lower() == "utf-8":  # RFC 6533 3: \x{...} or UTF-8 itself
        return True
    return _XTEXT.fullmatch(address) is not None


def _bad_parameter(keyword: str) -> Refusal:
    return Refusal(501, "5.5.4", f"The parameter {keyword} has no such value", reason="syntax")


def _nothing_left(parameters: dict[str, str]) -> None:
    if parameters:
        raise Refusal(555, "5.5.4", "A parameter is not known here", reason="syntax")
