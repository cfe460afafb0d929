"""Aggregate reports: both forms, both ways, and what is no report."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto import dmarc_report_reader, report_container
from mailbox_app.proto.dmarc_report import (
    NAMESPACE,
    DkimLine,
    DmarcReport,
    Published,
    Reason,
    Row,
    SpfLine,
    compose,
)
from mailbox_app.proto.dmarc_report_reader import read_report
from mailbox_app.proto.report_container import pack_gzip, unpack

ROW = Row(
    "192.0.2.1",
    3,
    "quarantine",
    "fail",
    "fail",
    "a.example",
    "bounce.a.example",
    "",
    (Reason("local_policy", "less & <more>"),),
    (DkimLine("list.example", "s1", "pass"), DkimLine("a.example", "s2", "fail")),
    (SpfLine("bounce.a.example", "softfail"),),
)
REPORT = DmarcReport(
    "mail.example.org",
    "noreply-dmarc@example.org",
    "0123abcd",
    1_767_571_200,
    1_767_657_599,
    Published("a.example", "reject", "quarantine", "reject", "s", "r", None, True, "1:d", "treewalk"),
    (ROW, replace(ROW, source_ip="2001:db8::1", count=1, disposition="pass", dkim="pass", reasons=())),
    "https://example.org/dmarc",
    "Mailbox 1",
    ("a word", "another"),
)
OLDER = replace(
    REPORT,
    published=Published("a.example", "reject", "none", "", "r", "s", 50, failure_options="0"),
    generator="",
    is_newer=False,
    rows=(
        replace(ROW, reasons=(Reason("sampled_out", "pct=50"),), spf_results=(SpfLine("h.example", "pass", "helo"),)),
    ),
)
# as large reporters write it: a declaration of an old charset, a namespace of its own, no version, attributes
IN_THE_WILD = b"""<?xml version="1.0" encoding="windows-1252" ?>
<ns1:feedback xmlns:ns1='http://dmarc.org/dmarc-xml/0.1' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'
 xsi:schemaLocation='http://dmarc.org/dmarc-xml/0.1 x.xsd'>
 <report_metadata><org_name>R\xe9seau</org_name><email>postmaster@reporter.example</email>
  <extra_contact_info lang="en">x</extra_contact_info><report_id>a.example_1</report_id>
  <date_range><begin>1504742400</begin><end>1504828800</end></date_range></report_metadata>
 <policy_published><domain>A.Example.</domain><p>reject</p><pct>100</pct></policy_published>
 <extension><x:y xmlns:x="urn:x">z<domain>no.example</domain></x:y></extension>
 <record><row><source_ip> 192.0.2.9 </source_ip><count>7</count><policy_evaluated><disposition>None</disposition>
   <dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
  <identifiers><header_from>a.example</header_from></identifiers>
  <auth_results><dkim><domain>a.example</domain><result>pass</result></dkim>
   <spf><domain>b.example</domain><scope>mfrom</scope><result>none</result></spf></auth_results></record>
 <record><row><source_ip>nonsense</source_ip><count>7</count></row></record>
 <record><row><source_ip>192.0.2.10</source_ip><count>-1</count></row></record>
</ns1:feedback>"""


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def code_of(data: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        read_report(unpack(data))
    return caught.value.code


@pytest.mark.parametrize("report", [REPORT, OLDER], ids=["RFC 9990", "RFC 7489"])
def test_what_is_composed_reads_back_the_same(report: DmarcReport) -> None:
    assert read_report(unpack(pack_gzip(compose(report)))) == report
    assert pack_gzip(compose(report)) == pack_gzip(compose(report))


def test_the_newer_form_has_its_namespace_and_the_older_one_its_pct() -> None:
    newer, older = compose(REPORT), compose(OLDER)
    assert f'<feedback xmlns="{NAMESPACE}">'.encode() in newer
    assert b"<pct>" not in newer
    assert b"<np>reject</np>" in newer
    assert b"<feedback>" in older
    assert b"<pct>50</pct>" in older
    assert b"<generator>" not in older


def test_reasons_and_dispositions_that_a_form_does_not_know_are_told_in_its_words() -> None:
    newer = read_report([compose(replace(OLDER, is_newer=True))])
    assert newer.rows[0].reasons == (Reason("other", "sampled_out pct=50"),)
    older = read_report([compose(replace(REPORT, is_newer=False))])
    assert older.rows[1].disposition == "none"


def test_reports_as_they_come() -> None:
    report = read_report(unpack(IN_THE_WILD))
    assert (report.organization, report.published.domain) == ("Réseau", "a.example")
    assert report.published.subdomain_policy == "reject"
    assert report.published.percent == 100
    assert not report.is_newer
    (row,) = report.rows
    assert (row.source_ip, row.count, row.disposition, row.dkim, row.spf) == ("192.0.2.9", 7, "none", "pass", "fail")
    assert row.signatures == (DkimLine("a.example", "", "pass"),)
    assert row.passed


@pytest.mark.parametrize(
    "packed",
    [
        compose(REPORT),
        pack_gzip(compose(REPORT)),
        pack_gzip(compose(REPORT)) + b"trailing rest",
        pack_gzip(compose(REPORT)[:100]) + pack_gzip(compose(REPORT)[100:]),
        zipped(("x.xml", compose(REPORT))),
        zipped(("x.xml", compose(REPORT)), method=zipfile.ZIP_STORED),
        zipped(("folder/", b""), ("photo.png", b"\x89PNG" * 99), ("x.xml", compose(REPORT))),
    ],
)
def test_every_container_is_known_by_its_bytes(packed: bytes) -> None:
    assert read_report(unpack(packed)) == REPORT


def test_a_zip_file_written_as_a_stream_is_read() -> None:
    class Pipe(io.RawIOBase):
        """Cannot seek, so sizes stand behind the data."""

        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.data += bytes(data)  # type: ignore[call-overload]
            return len(data)  # type: ignore[arg-type]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        archive.writestr("x.xml", compose(REPORT))
    assert bytes(pipe.data)[6] & 8
    assert read_report(unpack(bytes(pipe.data))) == REPORT


def test_bombs_end_early() -> None:
    assert code_of(pack_gzip(b"<feedback>" + b" " * 90_000_000)) == "report.too_large"
    assert code_of(zipped(("x.xml", b"<feedback>" + b" " * 90_000_000))) == "report.too_large"
    assert code_of(b"<" * (report_container.MAX_PACKED_BYTES + 1)) == "report.too_large"
    assert code_of(pack_gzip(b"<feedback x='" + b"a" * 900_000)) == "report.bad_xml"
    assert code_of(b"<feedback>" + b"<a>" * 100) == "report.too_large"


def test_an_endless_name_is_not_read_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmarc_report_reader, "_MAX_TOKEN_BYTES", 1000)
    taken = 0

    def pieces() -> object:
        nonlocal taken
        yield b"<feedback "
        for _ in range(1000):
            taken += 1
            yield b"a" * 100

    with pytest.raises(ProtocolError):
        read_report(pieces())  # type: ignore[arg-type]
    assert taken < 15


@pytest.mark.parametrize(
    "document",
    [
        b"<!DOCTYPE feedback><feedback/>",
        b"<!DOCTYPE a [<!ENTITY b 'bbbb'><!ENTITY c '&b;&b;'>]><feedback>&c;</feedback>",
        b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><feedback/>",
        b"<feedback>&unknown;</feedback>",
        b"<?xml version='1.0' encoding='no-such'?><feedback/>",
        b"<feedback>",
        b"plain text",
        b"",
    ],
)
def test_document_types_entities_and_broken_xml_are_refused(document: bytes) -> None:
    assert code_of(document) == "report.bad_xml"


@pytest.mark.parametrize("document", [b"<html/>", b"<feedback/>", compose(replace(REPORT, report_id=""))])
def test_other_documents_are_no_report(document: bytes) -> None:
    assert code_of(document) == "report.no_report"


@pytest.mark.parametrize("damage", ["cut", "flipped", "encrypted", "unknown"])
def test_damaged_containers_are_refused(damage: str) -> None:
    data = bytearray(pack_gzip(compose(REPORT)) if damage in ("cut", "flipped") else zipped(("x.xml", compose(REPORT))))
    if damage == "cut":
        del data[-20:]
    elif damage == "flipped":
        data[12] ^= 0xFF
    elif damage == "encrypted":
        data[6] |= 1
    else:
        data[8] = 99
    assert code_of(bytes(data)) == "report.broken"


def test_of_very_many_rows_the_first_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmarc_report_reader, "MAX_ROWS", 5)
    report = read_report([compose(replace(REPORT, rows=[replace(ROW, count=count + 1) for count in range(9)]))])
    assert [row.count for row in report.rows] == [1, 2, 3, 4, 5]
    assert report.is_cut


_TEXT = st.text(max_size=40)
_WORDS = st.text("abcdefghij.-", min_size=1, max_size=30).map(lambda text: text.rstrip(".")).filter(bool)
_VERDICTS = st.sampled_from(["pass", "fail"])
_ROWS = st.builds(
    Row,
    st.ip_addresses().map(str),
    st.integers(1, 10**9),
    st.sampled_from(["none", "pass", "quarantine", "reject"]),
    _VERDICTS,
    _VERDICTS,
    _WORDS,
    _WORDS,
    _WORDS,
    st.lists(st.builds(Reason, st.sampled_from(["local_policy", "other", "mailing_list"]), _WORDS), max_size=3).map(
        tuple
    ),
    st.lists(st.builds(DkimLine, _WORDS, _WORDS, st.sampled_from(["pass", "fail"])), max_size=3).map(tuple),
    st.lists(st.builds(SpfLine, _WORDS, st.sampled_from(["pass", "none"])), max_size=2).map(tuple),
)


@given(st.lists(_ROWS, max_size=5).map(tuple), _TEXT, _TEXT, st.integers(1, 4000))
def test_any_report_comes_back_whatever_its_texts_are_and_wherever_it_is_cut(
    rows: tuple[Row, ...], organization: str, contact: str, step: int
) -> None:
    report = replace(REPORT, rows=rows, organization=f"x{organization}", contact=contact)
    data = compose(report)
    found = read_report(data[start : start + step] for start in range(0, len(data), step))
    assert found.rows == rows
    assert found.published == REPORT.published
    assert read_report([compose(found)]) == found


def test_endless_names_and_values_are_not_kept() -> None:
    """A million different values, or one long name around a million elements, would cost hundreds of megabytes or seconds."""
    reader = dmarc_report_reader._Reader()
    values = b"".join(b"<v%d>x</v%d>" % (number, number) for number in range(2_000))
    name = b"n" * 100_000
    paths = b"<report_metadata><" + name + b"><a>x</a></" + name + b">" + values + b"</report_metadata>"
    reader.feed([b"<feedback>" + paths + b"</feedback>"])
    assert len(reader._values) <= 100
    assert max(map(len, reader._values)) < 200
