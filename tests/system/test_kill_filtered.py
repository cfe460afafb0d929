"""kill -9 while filter scripts put several copies of each message into an account and pass it on: 250 means all of it.

What was answered 250 is in every mailbox the script names, once, and went on to the other account. Without a 250 the client
would send again: the server itself never stored a part of the copies only.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.daemon import BACK_SECONDS, CONFIG, Daemon, eventually, mail
from tests.system.test_kill import TROUBLE, kill

pytestmark = [pytest.mark.system, pytest.mark.slow]
ROUNDS = int(os.environ.get("MAILBOX_KILL_ROUNDS", "6"))
ALICE, BOB = "alice@example.org", "bob@example.org"
SCRIPT = (
    'require ["fileinto", "copy", "mailbox", "editheader"]; fileinto :copy :create "One"; addheader "X-Seen" "yes";'
    f'fileinto :copy :create "Two"; redirect :copy "{BOB}";'
)


def test_several_copies_are_stored_all_or_none(tmp_path: Path) -> None:
    daemon = unlimited(tmp_path)
    try:
        daemon.add_account(ALICE)
        daemon.add_account(BOB)
        daemon.call("sieve.put", address=ALICE, name="main", source=SCRIPT, activate=True)
        sent: list[str] = []
        end = threading.Event()

        def work(number: int) -> None:
            count = 0
            while not end.is_set():
                with contextlib.suppress(*TROUBLE), daemon.smtp() as client:
                    while not end.is_set():
                        count += 1
                        message_id = f"<{number}.{count}.{random.getrandbits(40):x}@example.net>"
                        client.sendmail("carol@example.net", [ALICE], mail(message_id, random.choice([300, 30_000])))
                        sent.append(message_id)
                end.wait(0.02)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for each in threads:
            each.start()
        generator = random.Random("filtered")
        for _ in range(ROUNDS):
            time.sleep(0.1 + 0.4 * generator.random())
            victim = generator.choice(["front-1", "front-2"])
            row = daemon.process(victim)
            os.kill(row["pid"], signal.SIGKILL)
            eventually("it is back", lambda v=victim, p=row["pid"]: daemon.process(v)["pid"] != p, BACK_SECONDS)
        end.set()
        for each in threads:
            each.join()
        assert len(sent) > ROUNDS
        eventually("the queue is empty", lambda: daemon.call("queue.stats")["recipients"] == 0)
        inbox, one, two = (Counter(daemon.message_ids(ALICE, name)) for name in ("INBOX", "One", "Two"))
        passed_on = Counter(daemon.message_ids(BOB))
        assert inbox == one == two, "a message has all of its copies or none"
        assert [each for each in sent if (inbox[each], passed_on[each]) != (1, 1)] == []
        assert daemon.call("store.check", address=ALICE)["problems"] == []
        assert daemon.stop() == 0
    finally:
        daemon.destroy()


FAR = "far@outside.example"
AWAY = (
    'require ["fileinto", "copy", "mailbox", "vacation"]; fileinto :copy :create "One";'
    f'redirect :copy "{BOB}"; vacation :addresses "alice@example.org" "I am away.";'
)


def test_aliases_answers_and_redirects_survive_the_end_of_any_process(tmp_path: Path) -> None:
    """An alias with a member here and one outside, whose script files, passes on and answers."""
    daemon = unlimited(tmp_path)
    try:
        for address in (ALICE, BOB):
            daemon.add_account(address)
        daemon.call("alias.add", address="team@example.org", targets=[ALICE, FAR])
        daemon.call("sieve.put", address=ALICE, name="main", source=AWAY, activate=True)
        sent: list[str] = []
        senders: set[str] = set()
        end = threading.Event()

        def work(number: int) -> None:
            count = 0
            while not end.is_set():
                with contextlib.suppress(*TROUBLE), daemon.smtp() as client:
                    while not end.is_set():
                        count += 1
                        message_id = f"<{number}.{count}.{random.getrandbits(40):x}@example.net>"
                        sender = f"carol{number}.{count % 20}@example.net"
                        senders.add(sender)
                        client.sendmail(sender, ["team@example.org"], mail(message_id, random.choice([300, 30_000])))
                        sent.append(message_id)
                end.wait(0.02)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for each in threads:
            each.start()
        generator = random.Random("aliases")
        for _ in range(ROUNDS):
            time.sleep(0.1 + 0.4 * generator.random())
            kill(daemon, generator.choice(["front-1", "front-2", "core", "all"]))
        end.set()
        for each in threads:
            each.join()
        assert len(sent) > ROUNDS
        eventually("local mail is delivered", lambda: queued(daemon, "local") == [])
        inbox, one = (Counter(daemon.message_ids(ALICE, name)) for name in ("INBOX", "One"))
        passed_on = Counter(daemon.message_ids(BOB))
        leaving = queued(daemon, "smtp")
        far = Counter(message_id for address, message_id in leaving if address == FAR)
        assert inbox == one
        assert [each for each in sent if (inbox[each], passed_on[each] > 0, far[each]) != (1, True, 1)] == []
        assert max((*inbox.values(), *far.values())) == 1
        # what the queue had delivered when its process died, before it could write that down, it delivers again
        assert sum(passed_on.values()) - len(passed_on) <= 2 * ROUNDS
        answers = Counter(address for address, _ in leaving if address != FAR)
        assert set(answers) <= senders
        assert max(answers.values()) == 1, "nobody is answered twice"
        assert daemon.call("store.check", address=ALICE)["problems"] == []
        assert daemon.stop() == 0
    finally:
        daemon.destroy()


def unlimited(folder: Path) -> Daemon:
    """No limit of a day is reached, however many rounds there are."""
    limits = "\n[sieve]\nredirects_per_day = 1000000\nanswers_per_day = 1000000\n"
    (folder / "config.toml").write_text(CONFIG.format(fronts=2) + limits)
    return Daemon(folder, ports=True).start()


def queued(daemon: Daemon, transport: str) -> list[tuple[str, str]]:
    """(address, Message-ID) of the rows that wait for a transport."""
    path = daemon.folder / "data" / "queue.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(
            "SELECT address, message_id FROM recipient JOIN message USING (queue_id) WHERE transport = ?", (transport,)
        ).fetchall()
