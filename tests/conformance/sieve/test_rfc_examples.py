"""Each `*.cases` file: `=== title`, then the script, `--- message`, `--- decides`; or `--- wrong` with what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sieve import MAIL, World, outcome_of, problems_of, told

CASES = [
    (f"{path.stem}: {title.strip()}", body)
    for path in sorted(Path(__file__).parent.glob("*.cases"))
    for title, _, body in (case.partition("\n") for case in path.read_text().split("\n=== ")[1:])
]
WORLD = World(
    special={"\\junk": "Spam", "\\sent": "Sent"},
    names=("INBOX", "Partners", "Spam", "Sent"),
    ids={"F6352ae03": "Partners"},
    annotations={("INBOX", "/private/vendor/x"): "v1", (None, "/shared/admin"): "mailto:a@example.org"},
    scripts={
        (
            "personal",
            "always_allow",
        ): 'require ["include", "fileinto"]; if header "subject" "hello" { fileinto "ok"; return; } stop;',
        (
            "global",
            "spam_tests",
        ): 'require ["include", "variables", "fileinto"]; global "n"; set "n" "${n}+"; fileinto "${n}";',
        ("personal", "again"): 'require "include"; include "again";',
    },
)
FACTS = {"environment": {"name": "mailbox", "imap.cause": "COPY"}, "spam_percent": 55.0, "virus_level": 4}


@pytest.mark.parametrize(("title", "body"), CASES, ids=[title for title, _ in CASES])
def test_the_example_decides_what_its_document_says(title: str, body: str) -> None:
    script, *sections = body.split("\n--- ")
    parts = {name.strip(): text for name, _, text in (section.partition("\n") for section in sections)}
    if "wrong" in parts:
        assert problems_of(script) == parts["wrong"].strip().split("\n")
        return
    outcome = outcome_of(script, parts.get("message", MAIL), WORLD, **FACTS)
    lines = [told(action) for action in outcome.actions] + ([f"error {outcome.error}"] if outcome.error else [])
    assert "\n".join(lines) == parts["decides"].strip()


def test_there_are_cases() -> None:
    assert len(CASES) > 50
