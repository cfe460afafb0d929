"""The architecture is a test: lengths, docstrings, and what each entry point really loads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for package in ("mailbox_app", "tui") for path in (ROOT / package).rglob("*.py"))
FORBIDDEN_NAMES = {
    "queue", "mailbox", "email", "calendar", "select", "signal", "token", "types",
    "utils", "helpers", "common", "manager", "base", "misc",
}  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_named_for_its_thing_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 450
    assert path.stem not in FORBIDDEN_NAMES
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    assert not re.search(r"\bTODO\b", text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= 60, f"{node.name} is too long"


def loaded(code: str) -> set[str]:
    """Top-level modules in sys.modules after the code ran in a fresh interpreter."""
    program = f"{code}\nimport sys; print(' '.join(sorted(name.partition('.')[0] for name in sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def test_the_command_line_loads_no_console_and_no_servers() -> None:
    modules = loaded("import mailbox_app.cli.main, mailbox_app.cli.commands.status")
    assert not modules & {"textual", "rich", "aiosmtpd", "cryptography", "dns", "dkim", "prometheus_client"}


def test_the_daemon_loads_no_console() -> None:
    modules = loaded("from mailbox_app.runtime import serve; serve.load_server()")
    assert not modules & {"textual", "rich", "tomlkit", "acme", "radicale"}


def test_the_console_loads_no_server() -> None:
    modules = loaded("import tui.app")
    assert "mailbox_app" not in modules
