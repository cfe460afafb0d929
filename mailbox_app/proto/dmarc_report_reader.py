"""Reads DMARC aggregate reports of both forms (RFC 9990, RFC 7489 Appendix C) as a stream, forgiving and bounded.

Reports come from anybody: a document type, entities, endless names or texts, and deep trees are refused; of very many rows
the first are kept. Namespaces and unknown elements are ignored, missing values get the schema's defaults. Without a policy
domain, a period, an id and a reporter it is no report.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from xml.parsers import expat

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.dmarc_report import (
    MAX_SIGNATURES,
    NAMESPACE,
    DkimLine,
    DmarcReport,
    Published,
    Reason,
    Row,
    SpfLine,
)

MAX_ROWS = 20_000
_MAX_ELEMENTS = 1_000_000
_MAX_DEPTH = 16
_MAX_TEXT = 500
_MAX_NAME = 64
"""Of an element; the path of all open ones is put together for each of a million elements."""
_MAX_VALUES = 100
"""Beside the rows."""
_MAX_LINES = 10
"""SPF results, reasons and errors of one place."""
_MAX_TOKEN_BYTES = 262_144
"""Longer, a name or attribute would be read again and again until it ends."""
_FEED_BYTES = 65_536
_MAX_SECONDS = 253_402_300_799
_NUMBER = re.compile(r"[0-9]{1,15}")
_BLANKS = re.compile(r"\s+")
_DISPOSITIONS = frozenset({"none", "pass", "quarantine", "reject"})
_METADATA, _POLICY, _RECORD = "report_metadata", "policy_published", "record"


def read_report(pieces: Iterable[bytes]) -> DmarcReport:
    """The report in these pieces of XML; raises `ProtocolError` (`report.*`)."""
    reader = _Reader()
    reader.feed(pieces)
    return reader.report()


def _error(code: str, text: str) -> ProtocolError:
    return ProtocolError(f"report.{code}", text)


class _Reader:
    """Collects while the elements go by; a path names a place, such as record/row/count."""

    def __init__(self) -> None:
        self._parser = parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.ExternalEntityRefHandler = self._refuse
        self._path: list[str] = []
        self._text: list[str] = []
        self._length = 0
        self._elements = 0
        self._is_newer = False
        self._values: dict[str, str] = {}
        self._errors: list[str] = []
        self._rows: list[Row] = []
        self._is_cut = False
        self._begin_record()

    def feed(self, pieces: Iterable[bytes]) -> None:
        fed = 0
        try:
            for piece in pieces:
                for start in range(0, len(piece), _FEED_BYTES):
                    part = piece[start : start + _FEED_BYTES]
                    self._parser.Parse(part, False)
                    fed += len(part)
                    if fed - self._parser.CurrentByteIndex > _MAX_TOKEN_BYTES:
                        raise _error("bad_xml", "the report has an endless element")
            self._parser.Parse(b"", True)
        except (expat.ExpatError, ValueError, LookupError) as error:  # an encoding nobody knows
            raise _error("bad_xml", "the report is not well-formed XML") from error

    def report(self) -> DmarcReport:
        """What was read, if it is a report."""
        value = self._values.get
        domain = _domain(value(f"{_POLICY}/domain", ""))
        report_id = value(f"{_METADATA}/report_id", "")
        organization = value(f"{_METADATA}/org_name", "") or value(f"{_METADATA}/email", "").rpartition("@")[2]
        begin = _number(value(f"{_METADATA}/date_range/begin", ""), -1, _MAX_SECONDS)
        end = _number(value(f"{_METADATA}/date_range/end", ""), -1, _MAX_SECONDS)
        if not domain or not report_id or not organization or begin < 0 or end < begin:
            raise _error("no_report", "the document is not a DMARC aggregate report")
        return DmarcReport(
            organization,
            value(f"{_METADATA}/email", ""),
            report_id,
            begin,
            end,
            self._policy(domain),
            tuple(self._rows),
            value(f"{_METADATA}/extra_contact_info", ""),
            value(f"{_METADATA}/generator", ""),
            tuple(self._errors),
            self._is_newer,
            self._is_cut,
        )

    def _policy(self, domain: str) -> Published:
        def value(name: str) -> str:
            return self._values.get(f"{_POLICY}/{name}", "")

        policy = value("p").lower() or "none"
        percent = value("pct")
        return Published(
            domain,
            policy,
            value("sp").lower() or policy,
            value("np").lower(),
            "s" if value("adkim").lower() == "s" else "r",
            "s" if value("aspf").lower() == "s" else "r",
            _number(percent, 100, 100) if percent else None,
            value("testing").lower() == "y",
            value("fo"),
            value("discovery_method"),
        )

    # handlers

    def _refuse(self, *_arguments: object) -> int:
        raise _error("bad_xml", "the report has a document type or entities")

    def _start(self, name: str, _attributes: object) -> None:
        self._elements += 1
        if self._elements > _MAX_ELEMENTS or len(self._path) >= _MAX_DEPTH:
            raise _error("too_large", "the report has too many or too deep elements")
        space, _, local = name.rpartition(" ")
        if not self._path:
            if local != "feedback":
                raise _error("no_report", "the document is not a DMARC aggregate report")
            self._is_newer = space == NAMESPACE
        elif len(self._path) == 1 and local == _RECORD:
            self._begin_record()
        self._path.append(local[:_MAX_NAME])
        self._text.clear()
        self._length = 0

    def _characters(self, text: str) -> None:
        if self._length < _MAX_TEXT * 2:
            self._text.append(text[: _MAX_TEXT * 2])
            self._length += len(text)

    def _end(self, _name: str) -> None:
        path = "/".join(self._path[1:])
        self._path.pop()
        text = _BLANKS.sub(" ", "".join(self._text)).strip()[:_MAX_TEXT].strip()
        self._text.clear()
        self._length = 0
        if path.startswith(f"{_RECORD}/"):
            self._take_record(path[len(_RECORD) + 1 :], text)
        elif path == _RECORD:
            self._end_record()
        elif path == f"{_METADATA}/error":
            if text and len(self._errors) < _MAX_LINES:
                self._errors.append(text)
        elif text and len(self._values) < _MAX_VALUES and path.startswith((f"{_METADATA}/", f"{_POLICY}/")):
            self._values.setdefault(path, text)

    def _begin_record(self) -> None:
        self._record: dict[str, str] = {}
        self._part: dict[str, str] = {}
        self._reasons: list[Reason] = []
        self._signatures: list[DkimLine] = []
        self._spf: list[SpfLine] = []

    def _take_record(self, path: str, text: str) -> None:
        part = self._part
        match path:
            case "row/policy_evaluated/reason":
                if len(self._reasons) < _MAX_LINES:
                    self._reasons.append(Reason(part.get("type", "other").lower(), part.get("comment", "")))
                self._part = {}
            case "auth_results/dkim":
                if len(self._signatures) < MAX_SIGNATURES:
                    line = DkimLine(
                        _domain(part.get("domain", "")), part.get("selector", ""), part.get("result", "none").lower()
                    )
                    self._signatures.append(line)
                self._part = {}
            case "auth_results/spf":
                if len(self._spf) < _MAX_LINES:
                    scope = "helo" if part.get("scope", "").lower() == "helo" else "mfrom"
                    self._spf.append(
                        SpfLine(_domain(part.get("domain", "")), part.get("result", "none").lower(), scope)
                    )
                self._part = {}
            case _ if path.startswith(("row/policy_evaluated/reason/", "auth_results/dkim/", "auth_results/spf/")):
                if len(part) < _MAX_LINES:
                    part.setdefault(path.rpartition("/")[2], text)
            case _ if text and len(self._record) < 50:
                self._record.setdefault(path, text)

    def _end_record(self) -> None:
        value = self._record.get
        source, count = _address(value("row/source_ip", "")), _number(value("row/count", ""), 0, 10**12)
        if not source or not count:
            return
        if len(self._rows) >= MAX_ROWS:
            self._is_cut = True
            return
        disposition = value("row/policy_evaluated/disposition", "none").lower()
        self._rows.append(
            Row(
                source,
                count,
                disposition if disposition in _DISPOSITIONS else "none",
                _verdict(value("row/policy_evaluated/dkim", "")),
                _verdict(value("row/policy_evaluated/spf", "")),
                _domain(value("identifiers/header_from", "")),
                _domain(value("identifiers/envelope_from", "")),
                _domain(value("identifiers/envelope_to", "")),
                tuple(self._reasons),
                tuple(self._signatures),
                tuple(self._spf),
            )
        )


def _verdict(text: str) -> str:
    return "pass" if text.lower() == "pass" else "fail"


def _domain(text: str) -> str:
    return text.lower().rstrip(".")[:253]


def _number(text: str, otherwise: int, most: int) -> int:
    return min(int(text), most) if _NUMBER.fullmatch(text) else otherwise


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
