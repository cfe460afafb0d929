#!/usr/bin/env python3
"""Writes docs/configuration.md and docs/standards.md from the schema and the RFC index; --check only compares."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from msgspec import to_builtins

from mailbox_app.config.edit import describe
from mailbox_app.config.schema import Config, Server

ROOT = Path(__file__).parent.parent


def configuration() -> str:
    """Every key with default and manual."""
    lines = [
        "# Configuration",
        "",
        "One TOML file: `/etc/mailserver/config.toml`, or what `--config` or `MAILBOX_CONFIG` names. Every key has a default",
        "but `server.hostname`. An unknown key is an error that names file, line and key. `mailbox config check` tries a file,",
        "and `mailbox config set KEY VALUE` changes one key and keeps comments. SIGHUP makes the daemon read the file again; one",
        "that does not validate changes nothing.",
    ]
    for name, doc, settings in describe(Config(server=Server(hostname="mail.example.org"))):
        lines += ["", f"## [{name}]", "", doc, "", "| key | default | meaning |", "|---|---|---|"]
        for each in settings:
            default = "must be given" if each.key == "server.hostname" else f"`{json.dumps(to_builtins(each.default))}`"
            key = each.key.partition(".")[2]
            lines.append(f"| `{key}` | {default} | {each.doc} |".replace("\n", " "))
    return "\n".join(lines) + "\n"


def standards() -> str:
    """The support table."""
    table = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "check_rfc_refs.py"), "--table"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return f"# Standards\n\nWhat this version carries out; `no` rows are planned.\n\n{table}"


def main() -> int:
    """0 when written, or when --check finds them up to date."""
    behind = []
    for name, text in (("configuration", configuration()), ("standards", standards())):
        path = ROOT / "docs" / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            behind.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text)
    if behind and "--check" in sys.argv:
        print(f"behind the code: {', '.join(behind)}; run scripts/docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
