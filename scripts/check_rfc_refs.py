#!/usr/bin/env python3
"""Checks that every `RFC nnnn` named in the code stands in scripts/rfc_index.tsv; with --table prints the support table.

The index has three columns: number, title, and how far we go (yes, partial: what is missing, no).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
REFERENCE = re.compile(r"RFC (\d{3,5})")


def index() -> dict[int, tuple[str, str]]:
    """Number -> (title, support)."""
    rows: dict[int, tuple[str, str]] = {}
    for line in (ROOT / "scripts" / "rfc_index.tsv").read_text().splitlines():
        number, title, support = line.split("\t")
        rows[int(number)] = (title, support)
    return rows


def references() -> dict[int, list[str]]:
    """Number -> where it is named."""
    found: dict[int, list[str]] = {}
    for package in ("mailbox_app", "tui"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                for match in REFERENCE.finditer(line):
                    found.setdefault(int(match[1]), []).append(f"{path.relative_to(ROOT)}:{number}")
    return found


def main() -> int:
    """0 when all references are known."""
    known = index()
    if "--table" in sys.argv:
        print("| RFC | title | support |\n|---|---|---|")
        for number, (title, support) in sorted(known.items()):
            print(f"| {number} | {title} | {support} |")
        return 0
    unknown = {number: places for number, places in references().items() if number not in known}
    for number, places in sorted(unknown.items()):
        print(f"RFC {number} is not in scripts/rfc_index.tsv: {', '.join(places[:3])}", file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
