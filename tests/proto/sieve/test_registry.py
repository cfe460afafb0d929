from __future__ import annotations

from pathlib import Path

import pytest

from mailbox_app.proto.sieve import registry
from mailbox_app.proto.sieve.extensions import EXTENSIONS
from mailbox_app.proto.sieve.script import compile_script

MANUAL = (Path(__file__).parents[3] / "docs" / "filtering.md").read_text()
BASE = {"comparator-i;octet", "comparator-i;ascii-casemap"}


def test_no_word_and_no_capability_is_there_twice() -> None:
    assert len(registry.COMMANDS) == sum(len(each.commands) for each in EXTENSIONS)
    assert len(registry.QUESTIONS) == sum(len(each.questions) for each in EXTENSIONS)
    assert len(set(registry.CAPABILITIES)) == len(registry.CAPABILITIES)


def test_every_row_needs_a_capability_that_can_be_required() -> None:
    words = [*registry.COMMANDS.values(), *registry.QUESTIONS.values()]
    tags = [tag for tags in (registry.MATCH_TYPES, registry.ADDRESS_PARTS, *registry.TAGS.values()) for tag in tags]
    needed = {row.capability for row in words} | {tag.capability for tag in tags}
    assert needed - {""} <= set(registry.CAPABILITIES)


@pytest.mark.parametrize("capability", registry.CAPABILITIES)
def test_every_capability_can_be_required_and_is_in_the_manual(capability: str) -> None:
    assert capability in compile_script(f'require "{capability}";').capabilities
    assert f"`{capability}`" in MANUAL or capability in BASE


@pytest.mark.parametrize("word", [*registry.COMMANDS, *registry.QUESTIONS])
def test_every_word_is_in_the_manual(word: str) -> None:
    assert f"`{word}`" in MANUAL or word in {"break"}
