from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.svtest import Suite

FILES = sorted(Path(__file__).parent.glob("*.svtest"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_test_of_the_script_passes(path: Path) -> None:
    suite = Suite(path)
    suite.run()
    assert suite.failures == []
    assert suite.passed == path.read_text().count('\ntest "')


def test_a_test_that_fails_is_told(tmp_path: Path) -> None:
    path = tmp_path / "bad.svtest"
    path.write_text('require "vnd.dovecot.testsuite";\ntest "wrong" {\n  if true { test_fail "on purpose"; }\n}\n')
    suite = Suite(path)
    suite.run()
    assert suite.failures == ["line 3: wrong: on purpose"]
