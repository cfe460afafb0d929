"""Files that do harm."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.policy.checks.attachments import Attachments, ending_of
from mailbox_app.policy.verdict import Finding, Verdict
from tests.support.policy import Bench, facts_of


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def found(
    bench: Bench, name: str, data: bytes = b"hello", content_type: str = "application/octet-stream"
) -> list[Finding]:
    shown = f"=?utf-8?b?{base64.b64encode(name.encode()).decode()}?="
    raw = (
        "From: a@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\n"
        f'Content-Type: {content_type}\nContent-Disposition: attachment; filename="{shown}"\n'
        "Content-Transfer-Encoding: base64\n\n"
    ).encode() + base64.encodebytes(data)
    return list(bench.run(Attachments, facts_of(raw + b"--b--\n")))


def zipped(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return packed.getvalue()


@pytest.mark.parametrize("name", ["a.exe", "a.EXE", "a.exe.", "a.exe ", "invoice.pdf.js", "b.\u202egpj.scr", "a.lnk"])
def test_a_harmful_ending_is_junk(bench: Bench, name: str) -> None:
    assert [each.verdict for each in found(bench, name)] == [Verdict.JUNK]


@pytest.mark.parametrize("name", ["a.pdf", "report.docx", "exe", "a.exe.txt", "photo.jpg", ""])
def test_a_harmless_one_is_not(bench: Bench, name: str) -> None:
    assert found(bench, name) == []


def test_a_program_by_another_name_is_junk(bench: Bench) -> None:
    assert [each.verdict for each in found(bench, "photo.jpg", b"MZ\x90\x00" + bytes(60))] == [Verdict.JUNK]


def test_a_picture_that_is_an_archive_costs_something(bench: Bench) -> None:
    assert [each.score for each in found(bench, "photo.jpg", zipped("a.txt"))] == [1.5]


def test_a_name_turned_around_is_junk(bench: Bench) -> None:
    assert [each.verdict for each in found(bench, "a\u202efdp.txt")] == [Verdict.JUNK]


def test_names_inside_an_archive_count(bench: Bench) -> None:
    (finding,) = found(bench, "invoice.zip", zipped("readme.txt", "deep/invoice.pdf.vbs"))
    assert finding.verdict is Verdict.JUNK
    assert "invoice.zip" in finding.reason
    assert found(bench, "photos.zip", zipped("a.jpg", "b.jpg")) == []


def test_an_encrypted_archive_costs_something(bench: Bench) -> None:
    data = bytearray(zipped("secret.txt"))
    data[6] |= 1
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    assert [each.score for each in found(bench, "a.zip", bytes(data))] == [1.5]


def test_a_damaged_archive_says_nothing(bench: Bench) -> None:
    data = zipped("a.exe")
    assert found(bench, "a.zip", data[:-30]) == []


def test_types_can_be_refused(bench: Bench) -> None:
    bench.config = Bench.settings('[attachments]\nrefuse_types = [".exe"]\n')
    (finding,) = found(bench, "a.exe")
    assert finding.verdict is Verdict.REJECT
    assert finding.reply is not None
    assert finding.reply.code == 550


@pytest.mark.parametrize(("name", "ending"), [("a.TXT", "txt"), ("a", ""), ("a.b.c . ", "c"), ("", "")])
def test_endings(name: str, ending: str) -> None:
    assert ending_of(name) == ending
