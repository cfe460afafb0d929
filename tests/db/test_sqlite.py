"""Databases: transactions, migrations, errors that know their answer, several processes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mailbox_app.db.sqlite import Database, translated
from mailbox_app.errors import StoreError

SCHEMA = "CREATE TABLE note (text TEXT); CREATE TABLE other (n INTEGER);"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


def notes(database: Database) -> list[str]:
    with database.reading() as connection:
        return [text for (text,) in connection.execute("SELECT text FROM note ORDER BY text")]


def test_committed_rows_stay_and_raising_blocks_leave_nothing(path: Path) -> None:
    database = Database(path, [SCHEMA])
    with database.transaction() as connection:
        connection.execute("INSERT INTO note VALUES ('kept')")
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute("INSERT INTO note VALUES ('dropped')").fetchone() or 1 / 0
    assert notes(database) == ["kept"]
    database.close()
    assert notes(Database(path, [SCHEMA])) == ["kept"]


def test_undurable_transaction_leaves_the_next_one_durable(path: Path) -> None:
    database = Database(path, [SCHEMA])
    with database.transaction(durable=False) as connection:
        connection.execute("INSERT INTO note VALUES ('a')")
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)
    with database.transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert notes(database) == ["a"]


def test_file_is_private(path: Path) -> None:
    database = Database(path, [SCHEMA])
    assert {entry.name: entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()} == {
        "x.db": 0o600,
        "x.db-wal": 0o600,
        "x.db-shm": 0o600,
    }
    database.close()


def test_migrations_run_once_each_and_in_order(path: Path) -> None:
    Database(path, [SCHEMA]).close()
    database = Database(path, [SCHEMA, "ALTER TABLE note ADD COLUMN at INTEGER;\nINSERT INTO note VALUES ('m', 1);"])
    assert notes(database) == ["m"]
    database.close()
    assert notes(Database(path, [SCHEMA, "invalid once it has run"])) == ["m"]


def test_failing_migration_leaves_the_version_before_it(path: Path) -> None:
    with pytest.raises(StoreError):
        Database(path, [SCHEMA, "CREATE TABLE third (n); CREATE TABLE note (again);"])
    database = Database(path, [SCHEMA, "CREATE TABLE third (n);"])
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM third").fetchone() == (0,)


def test_data_of_a_newer_program_is_refused(path: Path) -> None:
    Database(path, [SCHEMA, "CREATE TABLE third (n);"]).close()
    with pytest.raises(StoreError, match=r"store\.newer"):
        Database(path, [SCHEMA])


def test_data_version_changes_with_any_commit_and_only_then(path: Path) -> None:
    database, other = Database(path, [SCHEMA]), Database(path, [SCHEMA])
    seen = [database.data_version(), database.data_version()]
    for one in (database, other):
        with one.transaction() as connection:
            connection.execute("INSERT INTO note VALUES ('x')")
        seen.append(database.data_version())
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3


def test_busy_database_is_a_temporary_error(path: Path) -> None:
    first, second = Database(path, [SCHEMA]), Database(path, [SCHEMA], busy_seconds=0.01)
    with first.transaction(), pytest.raises(StoreError) as caught, second.transaction():
        pass
    assert (caught.value.code, caught.value.temporary) == ("store.busy", True)


@pytest.mark.parametrize("junk", [b"this is no database at all" * 200, b"SQLite format 3\0" + b"\xff" * 5_000])
def test_damaged_file_says_so(path: Path, junk: bytes) -> None:
    path.write_bytes(junk)
    with pytest.raises(StoreError) as caught:
        Database(path, [SCHEMA])
    assert caught.value.code == "store.damaged"


def test_full_disk_is_a_temporary_error(path: Path) -> None:
    database = Database(path, [SCHEMA])
    with database.transaction() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreError) as caught, database.transaction() as connection:
        connection.executemany("INSERT INTO note VALUES (?)", [("x" * 1_000,)] * 100)
    assert (caught.value.code, caught.value.temporary) == ("store.full", True)
    assert notes(database) == []


def test_missing_folder_is_a_temporary_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Database(tmp_path / "nowhere" / "x.db", [SCHEMA])
    assert (caught.value.code, caught.value.temporary) == ("store.full", True)


def test_integrity_errors_stay_what_they_are() -> None:
    with pytest.raises(sqlite3.IntegrityError), translated():
        raise sqlite3.IntegrityError


def test_reader_of_a_raising_block_is_reusable(path: Path) -> None:
    database = Database(path, [SCHEMA])
    with pytest.raises(ZeroDivisionError), database.reading() as connection:
        connection.execute("BEGIN").fetchone() or 1 / 0
    assert notes(database) == []


def test_closed_database_is_a_temporary_error(path: Path) -> None:
    database = Database(path, [SCHEMA])
    database.close()
    with pytest.raises(StoreError) as caught:
        notes(database)
    assert (caught.value.code, caught.value.temporary) == ("store.closed", True)


def test_threads_share_one_database(path: Path) -> None:
    database = Database(path, [SCHEMA])

    def write(name: str) -> None:
        for number in range(20):
            with database.transaction(durable=False) as connection:
                connection.execute("INSERT INTO note VALUES (?)", (f"{name}{number}",))
            notes(database)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(notes(database)) == 80


_WRITER = """
import sys
from mailbox_app.db.sqlite import Database
database = Database(sys.argv[1], [sys.argv[2]])
for number in range(30):
    with database.transaction(durable=False) as connection:
        connection.execute("INSERT INTO note VALUES (?)", (sys.argv[3] + str(number),))
database.close()
"""


def test_processes_that_make_and_close_one_database_lose_nothing(path: Path) -> None:
    """A closed descriptor of the file would drop the locks and let another process remove the log in use."""
    ours = Database(path, [SCHEMA])
    command = [sys.executable, "-c", _WRITER, os.fspath(path), SCHEMA]
    processes = [subprocess.Popen([*command, name], cwd=Path(__file__).parents[2]) for name in "ab"]
    for _ in range(50):
        notes(ours)
        ours.data_version()
    assert [process.wait() for process in processes] == [0, 0]
    with ours.transaction() as connection:
        connection.execute("INSERT INTO note VALUES ('ours')")
    ours.close()
    assert len(notes(Database(path, [SCHEMA]))) == 61


def test_a_log_that_grows_ahead_of_its_use_loses_nothing_and_stays_bounded(path: Path) -> None:
    first, second = Database(path, [SCHEMA]), Database(path, [SCHEMA])
    for number in range(300):
        with (first, second)[number % 2].transaction() as connection:
            connection.execute("INSERT INTO note VALUES (?)", (f"{number:03}" * 500,))
    log = Path(f"{path}-wal")
    assert b"unused end" in log.read_bytes()[-64:]
    assert log.stat().st_size < 4 << 20
    crashed = path.with_name("crashed.db")
    crashed.write_bytes(path.read_bytes())
    crashed.with_name("crashed.db-wal").write_bytes(log.read_bytes())
    for database in (first, second, Database(crashed, [SCHEMA])):
        assert [text[:3] for text in notes(database)] == [f"{number:03}" for number in range(300)]
        with database.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
