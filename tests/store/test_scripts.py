"""Filter scripts on disk: names, quotas, the active pointer, and what a crash may leave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.store import scripts as module
from mailbox_app.store.scripts import ScriptInfo, ScriptLimits, Scripts

_REF = AccountRef(AccountId(1), "example.org", "alice", 0, 0)


def _code(caught: pytest.ExceptionInfo[StoreError]) -> str:
    return caught.value.code


def test_what_was_put_is_listed_read_and_replaced(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path)
    assert scripts.names(_REF) == []
    assert scripts.active(_REF) is None
    scripts.put(_REF, "work", b"keep;")
    scripts.put(_REF, "play", b"discard;\n")
    scripts.put(_REF, "work", b"stop;\r\n")
    assert scripts.names(_REF) == [ScriptInfo("play", 9, False), ScriptInfo("work", 7, False)]
    assert scripts.get(_REF, "work") == b"stop;\r\n"
    with pytest.raises(StoreError) as caught:
        scripts.get(_REF, "Work")
    assert _code(caught) == "script.no_such"


def test_one_script_at_most_is_active(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path)
    scripts.put(_REF, "one", b"keep;")
    scripts.put(_REF, "two", b"keep;")
    scripts.activate(_REF, "one")
    scripts.activate(_REF, "two")
    assert [each.name for each in scripts.names(_REF) if each.active] == ["two"]
    found = scripts.active(_REF)
    assert found is not None
    assert (found.name, Path(found.path).read_bytes()) == ("two", b"keep;")
    scripts.activate(_REF, "")
    assert scripts.active(_REF) is None
    with pytest.raises(StoreError) as caught:
        scripts.activate(_REF, "three")
    assert _code(caught) == "script.no_such"


def test_a_new_version_of_the_active_script_differs(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path)
    scripts.put(_REF, "one", b"keep;")
    scripts.activate(_REF, "one")
    before = scripts.active(_REF)
    scripts.put(_REF, "one", b"stop;")
    assert scripts.active(_REF) != before


def test_the_active_script_is_not_deleted(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path)
    scripts.put(_REF, "one", b"keep;")
    scripts.activate(_REF, "one")
    with pytest.raises(StoreError) as caught:
        scripts.delete(_REF, "one")
    assert _code(caught) == "script.active"
    scripts.activate(_REF, "")
    scripts.delete(_REF, "one")
    assert scripts.names(_REF) == []
    with pytest.raises(StoreError) as caught:
        scripts.delete(_REF, "one")
    assert _code(caught) == "script.no_such"


def test_a_renamed_script_stays_active(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path)
    scripts.put(_REF, "one", b"keep;")
    scripts.put(_REF, "two", b"stop;")
    scripts.activate(_REF, "one")
    with pytest.raises(StoreError) as caught:
        scripts.rename(_REF, "one", "two")
    assert _code(caught) == "script.exists"
    scripts.rename(_REF, "one", "three")
    assert scripts.names(_REF) == [ScriptInfo("three", 5, True), ScriptInfo("two", 5, False)]


def test_a_rename_that_breaks_off_leaves_an_active_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = Scripts(tmp_path)
    scripts.put(_REF, "one", b"keep;")
    scripts.activate(_REF, "one")

    def fail(*_: object) -> None:
        raise OSError(5, "broken")

    for step in ("_remove", "write_durably", "_write_long_name"):
        with monkeypatch.context() as patch:
            patch.setattr(module, step, fail)
            with pytest.raises(StoreError) as caught:
                scripts.rename(_REF, next(each.name for each in scripts.names(_REF) if each.active), step)
            assert caught.value.temporary
        found = scripts.active(_REF)
        assert found is not None
        assert Path(found.path).read_bytes() == b"keep;"


def test_bounds(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path, ScriptLimits(max_script_bytes=10, max_scripts=2))
    scripts.put(_REF, "a", b"x" * 10)
    scripts.put(_REF, "b", b"")
    scripts.put(_REF, "a", b"y" * 10)
    for name, size, code in (("a", 11, "script.too_large"), ("c", 1, "script.too_many"), ("", 1, "script.bad_name")):
        for call in (
            lambda n=name, s=size: scripts.have_space(_REF, n, s),
            lambda n=name, s=size: scripts.put(_REF, n, b"z" * s),
        ):
            with pytest.raises(StoreError) as caught:
                call()
            assert _code(caught) == code
    scripts.have_space(_REF, "b", 10)


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", "a\x00", "\x7f", "\u2028", "\ud800"])
def test_bad_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError) as caught:
        Scripts(tmp_path).put(_REF, name, b"")
    assert _code(caught) == "script.bad_name"


@settings(max_examples=40, deadline=None)
@given(
    st.sets(
        st.one_of(
            st.sampled_from(
                [
                    "..",
                    ".",
                    "/",
                    "../x",
                    ".active",
                    "a.sieve",
                    "#" * 128,
                    "%2E",
                    "é" * 128,
                    "a",
                    "A",
                    "\U0001f600" * 128,
                ]
            ),
            st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_name_is_a_file_of_its_own_in_the_folder(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    folder = tmp_path_factory.mktemp("data")
    scripts = Scripts(folder)
    canonical = {module._canonical(name) for name in names}
    for name in canonical:
        scripts.put(_REF, name, name.encode())
    assert {each.name for each in scripts.names(_REF)} == canonical
    for name in canonical:
        assert scripts.get(_REF, name) == name.encode()
        scripts.activate(_REF, name)
        found = scripts.active(_REF)
        assert found is not None
        assert found.name == name
    assert os.listdir(folder) == ["mail"]
    assert os.listdir(folder / "mail" / "example.org" / "alice") == ["sieve"]
    scripts.activate(_REF, "")
    for name in canonical:
        scripts.delete(_REF, name)
    assert set(os.listdir(folder / "mail" / "example.org" / "alice" / "sieve")) <= {".lock"}
