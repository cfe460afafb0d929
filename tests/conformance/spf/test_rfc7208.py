"""The public RFC 7208 test suite, run through our resolver seam. Its origin and licence stand beside the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.errors import ResolveError
from mailbox_app.mailauth.spf_check import check_spf
from mailbox_app.net.resolver import Answer

SUITE = json.loads(Path(__file__).with_name("rfc7208.json").read_text(encoding="utf-8"))
CASES = [
    pytest.param(scenario, case, id=f"{number}-{name}")
    for number, scenario in enumerate(SUITE["scenarios"])
    for name, case in scenario["tests"].items()
]


class SuiteResolver:
    """The suite's zones as they are meant: SPF records serve as TXT where a name has no TXT of its own, TIMEOUT is one."""

    def __init__(self, zone: dict[str, list[Any]]) -> None:
        self._zone = {name.lower(): records for name, records in zone.items()}

    async def query(self, name: str, rdtype: str) -> Answer:
        name = name.lower().rstrip(".")
        for _ in range(10):
            records = self._zone.get(name)
            if records is None:
                return Answer(exists=False)
            found, alias = self._read(records, rdtype)
            if found or alias is None:
                return Answer(tuple(found))
            name = alias.lower()
        raise ResolveError("dns.failed", "DNS lookup failed: an alias loop", temporary=True)

    @staticmethod
    def _read(records: list[Any], rdtype: str) -> tuple[list[str], str | None]:
        own_text = any(isinstance(record, dict) and "TXT" in record for record in records)
        found, alias, silent = [], None, False
        for record in records:
            if record == "TIMEOUT":
                silent = True
                continue
            for kind, value in record.items():
                kind = "TXT" if kind == "SPF" and not own_text else kind
                if kind == "CNAME":
                    alias = value
                if kind != rdtype or value in ("NONE", ["NONE"]):
                    continue
                if value == "TIMEOUT":
                    silent = True
                    continue
                found.append(_present(kind, value))
        if silent and not found:
            raise ResolveError("dns.failed", "DNS lookup failed: no DNS server answered in time", temporary=True)
        return found, alias


def _present(kind: str, value: Any) -> str:
    if kind == "MX":
        return f"{value[0]} {value[1]}."
    if kind == "TXT":
        text = "".join(value) if isinstance(value, list) else value
        return text.encode("utf-8").decode("latin-1")
    return str(value)


@pytest.mark.parametrize(("scenario", "case"), CASES)
async def test_case(scenario: dict[str, Any], case: dict[str, Any]) -> None:
    found = await check_spf(
        SuiteResolver(scenario["zone"]),
        remote_ip=case["host"],
        helo=case["helo"],
        sender=case["mailfrom"],
        receiver="mail.example.org",
    )
    assert str(found.result) in case["result"], found.reason


def test_the_suite_is_whole() -> None:
    assert len(CASES) == 203
