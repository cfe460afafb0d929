from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mailbox_app.outbound.tls.certificate_paths import leads_to
from tests.support.certificates import Certified, certify

HOST = "mx.there.example"
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def root() -> Certified:
    return certify("Root", is_ca=True)


@pytest.fixture(scope="module")
def middle(root: Certified) -> Certified:
    return certify("Middle", root, is_ca=True, path_length=0)


def test_a_path_leads_to_the_root_or_to_an_authority_below_it(root: Certified, middle: Certified) -> None:
    leaf = certify(HOST, middle)
    assert leads_to(leaf.chain, root.der, [HOST], NOW) == ""
    assert leads_to(leaf.chain[:2], root.der, [HOST], NOW) == ""
    assert leads_to(leaf.chain, middle.der, [HOST], NOW) == ""
    assert leads_to([leaf.der, root.der, middle.der], root.der, [HOST], NOW) == ""
    assert leads_to([leaf.der], root.der, [HOST], NOW) != ""


def test_a_server_that_is_its_own_authority_leads_to_itself() -> None:
    leaf = certify(HOST)
    assert leads_to(leaf.chain, leaf.der, [HOST], NOW) == ""


def test_any_of_the_names_will_do_and_a_star_stands_for_one_label(root: Certified) -> None:
    leaf = certify("x", root, names=["*.there.example"])
    assert leads_to(leaf.chain, root.der, ["other.example", HOST], NOW) == ""
    for name in ("there.example", "a.mx.there.example", "mx.there.example.evil.example"):
        assert "another name" in leads_to(leaf.chain, root.der, [name], NOW)
    assert "another name" in leads_to(certify("x", root, names=["*.example"]).chain[:1], root.der, ["a.b.example"], NOW)
    wide = certify("x", root, names=["*.com"])
    assert "another name" in leads_to(wide.chain, root.der, ["there.com"], NOW)


WRONG: dict[str, Callable[[Certified], tuple[Certified, Certified]]] = {
    "expired": lambda root: (certify(HOST, root, days=(-9, -1)), root),
    "not yet valid": lambda root: (certify(HOST, root, days=(1, 9)), root),
    "expired in the middle": lambda root: (certify(HOST, certify("M", root, is_ca=True, days=(-9, -1))), root),
    "signed by a server": lambda root: (certify(HOST, certify("evil.example", root)), root),
    "signed by another of the same name": lambda root: (certify(HOST, certify("Root", is_ca=True)), root),
    "path too long": lambda root: (
        certify(HOST, certify("B", certify("A", root, is_ca=True, path_length=0), is_ca=True)), root,
    ),
    "may not sign certificates": lambda root: (certify(HOST, certify("M", root, is_ca=True, key_cert_sign=False)), root),
    "for clients only": lambda root: (certify(HOST, root, client_only=True), root),
    "outside the permitted names": lambda root: (certify(HOST, certify("M", root, is_ca=True, permitted=["b.example"])), root),
    "an unknown critical extension": lambda root: (certify(HOST, root, critical_unknown=True), root),
    "expired anchor": lambda root: (certify(HOST, old := certify("Old", is_ca=True, days=(-9, -1))), old),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_path_with_something_wrong_leads_nowhere(name: str, root: Certified) -> None:
    leaf, anchor = WRONG[name](root)
    assert leads_to(leaf.chain, anchor.der, [HOST], NOW) != ""


def test_permitted_names_are_permitted(root: Certified) -> None:
    middle = certify("M", root, is_ca=True, permitted=["there.example"])
    assert leads_to(certify(HOST, middle).chain, root.der, [HOST], NOW) == ""


def test_what_is_no_certificate_leads_nowhere(root: Certified) -> None:
    leaf = certify(HOST, root)
    assert leads_to([], root.der, [HOST], NOW) != ""
    assert leads_to([b"x"], root.der, [HOST], NOW) != ""
    assert leads_to(leaf.chain, b"\x30\x00", [HOST], NOW) != ""
    assert leads_to([leaf.der[:-1]], root.der, [HOST], NOW) != ""


def test_a_chain_as_openssl_makes_it(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=tmp_path, check=True, capture_output=True, timeout=30)

    (tmp_path / "ca.ext").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")
    (tmp_path / "leaf.ext").write_text(f"subjectAltName=DNS:{HOST}\nextendedKeyUsage=serverAuth\n")
    run(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=Test Root",
        "-keyout",
        "root.key",
        "-out",
        "root.pem",
    )
    run("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Test Middle", "-keyout", "m.key", "-out", "m.csr")
    run("x509", "-req", "-in", "m.csr", "-CA", "root.pem", "-CAkey", "root.key", "-extfile", "ca.ext", "-out", "m.pem")
    run("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={HOST}", "-keyout", "l.key", "-out", "l.csr")
    run("x509", "-req", "-in", "l.csr", "-CA", "m.pem", "-CAkey", "m.key", "-extfile", "leaf.ext", "-out", "l.pem")
    chain = [
        x509.load_pem_x509_certificate((tmp_path / f"{name}.pem").read_bytes()).public_bytes(Encoding.DER)
        for name in ("l", "m", "root")
    ]
    now = datetime.now(UTC)
    assert leads_to(chain, chain[2], [HOST], now) == ""
    assert leads_to(chain, chain[1], [HOST], now) == ""
    assert leads_to(chain, chain[2], ["other.example"], now) != ""
