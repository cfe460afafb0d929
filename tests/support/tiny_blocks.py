"""A store whose blocks have four UIDs each, so that small mailboxes have many."""

from __future__ import annotations

import pytest

BITS = 2


def tiny_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """For stores made from now on."""
    package = "mailbox_app.store.maildir"
    from mailbox_app.store.maildir import schema

    migrations = tuple(text.replace(f">> {schema.BLOCK_BITS}", f">> {BITS}") for text in schema.MIGRATIONS)
    assert migrations != schema.MIGRATIONS
    for module in ("opened", "rebuild"):
        monkeypatch.setattr(f"{package}.{module}.MIGRATIONS", migrations)
    for module in ("blocks", "block_queries", "queries"):
        monkeypatch.setattr(f"{package}.{module}.BLOCK_BITS", BITS)
