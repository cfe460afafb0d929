"""Many random IMAP sessions on one account, and what must hold when all are quiet.

`python -m tests.support.imap_sessions MINUTES [SEED] [--single] [--fronts N] [--quiet]`
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import poplib
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from tests.support.daemon import CONFIG, PASSWORD, Daemon, untrusting
from tests.support.imap_choices import letter
from tests.support.imap_client import Client, Kind
from tests.support.imap_steps import Actor
from tests.support.imap_view import Facts, Wrong
from tests.support.imap_wire import Gone

ALICE = "alice@example.org"
SESSIONS = 20
KINDS = (
    Kind("plain"),
    Kind("condstore", ("CONDSTORE",)),
    Kind("qresync", ("QRESYNC",)),
    Kind("rev2", ("IMAP4rev2",)),
    Kind("uidonly", ("UIDONLY",)),
    Kind("compressed", (), compress=True),
    Kind("qresync rev2 compressed", ("QRESYNC", "IMAP4rev2"), compress=True),
    Kind("uidonly qresync", ("UIDONLY", "QRESYNC")),
)


class Differs(Wrong):
    """What one part says is not what the other says."""


class Run:
    """One run: its sessions, its checkpoints."""

    def __init__(self, daemon: Daemon, seed: int, *, meddling: bool = True) -> None:
        self.daemon = daemon
        self.seed = seed
        self.random = Random(seed)
        self.meddling = meddling
        self.facts = Facts()
        self.owned: dict[tuple[str, str, int], bool] = {}
        """By own keyword, mailbox id, UID: whether it is set."""
        self.replacing = True
        self.size = 0
        """Messages of INBOX at the last checkpoint."""
        self.pausing = False
        self.checkpoints = 0
        self.meddled: Counter[str] = Counter()
        self._resting = 0
        self._go = asyncio.Event()
        self._changed = asyncio.Event()
        self.root = daemon.folder / "data" / "mail" / "example.org" / "alice"
        port = daemon.ports["imaps"]
        self.actors = [Actor(self, each, port, ALICE, self.facts, KINDS[each % len(KINDS)]) for each in range(SESSIONS)]

    @property
    def commands(self) -> int:
        return sum(each.commands for each in self.actors)

    async def go(self, seconds: float) -> None:
        """Until the time is up; the last checkpoint is the strictest."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._act(each), name=str(each.number)) for each in self.actors]
            if self.meddling:
                tasks.append(group.create_task(self._meddle()))
            while time.monotonic() < until:
                await asyncio.sleep(min(self.random.uniform(1, 5), max(0.1, until - time.monotonic())))
                await self._pause(len(tasks))
                self.replacing = self.random.random() < 0.5
                self._go.set()
            for task in tasks:
                task.cancel()

    async def _act(self, actor: Actor) -> None:
        try:
            while True:
                try:
                    await actor.step()
                except Gone:
                    if not actor.may_say_bye:
                        raise
                    actor.lost()
                if self.pausing:
                    await self._rest()
        except Exception as error:
            past = b"\n".join(actor.past).decode("utf-8", "replace")
            raise Wrong(f"seed {self.seed}, session {actor.number} ({actor.kind.name}): {error!r}\n{past}") from error

    async def _rest(self) -> None:
        self._resting += 1
        self._changed.set()
        await self._go.wait()
        self._resting -= 1

    async def _pause(self, count: int) -> None:
        self._go.clear()
        self.pausing = True
        while self._resting < count:
            self._changed.clear()
            await self._changed.wait()
        self.pausing = False
        await self._checkpoint()

    # others at work

    async def _meddle(self) -> None:
        dice = Random(f"{self.seed}:meddler")
        while True:
            await asyncio.sleep(dice.random() * 0.3)
            chosen = dice.choice((self._deliver, self._drop, self._rename, self._restore, self._pop))
            await asyncio.to_thread(chosen, dice)
            self.meddled[chosen.__name__] += 1
            if self.pausing:
                await self._rest()

    def _deliver(self, dice: Random) -> None:
        with self.daemon.smtp() as client:
            client.sendmail("bob@example.net", [ALICE], letter(dice, str(self.seed)))

    def _drop(self, dice: Random) -> None:
        name = f"{int(time.time())}.{dice.randrange(1 << 40)}.elsewhere"
        made = self.root / "Maildir" / "tmp" / name
        data = letter(dice, str(self.seed))
        made.write_bytes(data.replace(b"\r\n", b"\n") if dice.random() < 0.5 else data)
        made.rename(self.root / "Maildir" / "new" / name)

    def _rename(self, dice: Random) -> None:
        """Another program marks some messages."""
        cur = self.root / "Maildir" / "cur"
        names = sorted(os.listdir(cur))
        for name in dice.sample(names, min(3, len(names))):
            stem, colon, letters = name.partition(":2,")
            if colon and not name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    (cur / name).rename(cur / f"{stem}:2,{''.join(sorted(set(letters) ^ set(dice.choice('SFR'))))}")

    def _restore(self, dice: Random) -> None:
        if self.size > 250:
            return
        page = self.daemon.call("retained.list", address=ALICE, limit=20)["messages"]
        chosen = [each["id"] for each in dice.sample(page, min(3, len(page)))]
        if chosen:
            self.daemon.call("retained.restore", address=ALICE, ids=chosen)

    def _pop(self, dice: Random) -> None:
        client = poplib.POP3_SSL("127.0.0.1", self.daemon.ports["pop3s"], context=untrusting(), timeout=30)
        client.user(ALICE)
        client.pass_(PASSWORD)
        count = client.stat()[0]
        uidl = {line.split()[0]: line.split()[1] for line in client.uidl()[1]}
        if len(uidl) != count or len(set(uidl.values())) != count:
            raise Wrong(f"POP3: {count} messages, UIDL {len(set(uidl.values()))}")
        for number in dice.sample(range(1, count + 1), min(count, 4)):
            if dice.random() < 0.5:
                with contextlib.suppress(poplib.error_proto):
                    client.retr(number)
            client.dele(number)
        with contextlib.suppress(poplib.error_proto):  # others expunged some meanwhile
            client.quit()

    # checkpoints

    async def _checkpoint(self) -> None:
        """All are quiet."""
        fresh = Client(self.daemon.ports["imaps"], ALICE, self.facts, Kind("fresh", ("CONDSTORE",)))
        try:
            for patience in (2, 1, 0) if self.meddling else (0,):
                try:
                    await self._compare(fresh)
                    break
                except Differs:  # a file renamed by others while our own name for it waits is read when that was seen
                    if not patience:
                        raise
                    fresh.cut()
                    await asyncio.sleep(1)
        except Exception as error:
            past = b"\n".join(fresh.past).decode("utf-8", "replace")
            raise Wrong(f"seed {self.seed}, checkpoint {self.checkpoints}: {error}\n{past}") from error
        fresh.cut()
        self.checkpoints += 1
        self.owned.clear()

    async def _compare(self, fresh: Client) -> None:
        await fresh.connect()
        await fresh.select("INBOX")
        await fresh.needed("NOOP")
        watching = [each for each in self.actors if each.view is not None]
        await asyncio.gather(*(self._settled(each) for each in watching))
        truths: dict[str, dict[int, tuple[frozenset[str], int]]] = {}
        for name in {"INBOX", *(each.view.name for each in watching if each.view is not None)}:
            if await fresh.select(name, read_only=True):
                assert fresh.view is not None
                await fresh.needed("UID FETCH 1:* (UID FLAGS MODSEQ)")
                truth = {each.uid: (each.flags or frozenset(), each.modseq) for each in fresh.view.messages}
                truths[fresh.view.mailbox_id] = truth
                if name == "INBOX":
                    self.size = len(truth)
                await self._counts(fresh, name, truth)
        for actor in watching:
            if actor.view is not None and actor.wire is not None:
                truth_of = truths.get(actor.view.mailbox_id)
                if truth_of is None and actor.view.name == "INBOX":
                    raise Differs("INBOX has another id")
                if truth_of is not None:
                    self._same(actor, truth_of)
        for (keyword, mailbox_id, uid), is_set in self.owned.items():
            known = truths.get(mailbox_id, {}).get(uid)
            if known is not None and (keyword in known[0]) != is_set and not self.replacing:
                raise Differs(f"UID {uid} of {mailbox_id}: {keyword} should be {is_set}, flags {sorted(known[0])}")
        await self._quota(fresh)

    async def _settled(self, actor: Actor) -> None:
        try:
            await actor.needed("NOOP")
            await actor.learn()
        except Gone:
            if not actor.may_say_bye:
                raise
            actor.lost()
        except Wrong as error:
            past = b"\n".join(actor.past).decode("utf-8", "replace")
            raise Wrong(f"session {actor.number} ({actor.kind.name}): {error}\n{past}") from error

    def _same(self, actor: Actor, truth: dict[int, tuple[frozenset[str], int]]) -> None:
        view = actor.view
        assert view is not None
        problems: list[str] = []
        uids = [each.uid for each in view.messages]
        if uids != sorted(truth):
            problems.append(f"extra {sorted(set(uids) - set(truth))}, missing {sorted(set(truth) - set(uids))}")
        for each in view.messages:
            flags, modseq = truth.get(each.uid, (each.flags, each.modseq))
            if flags != each.flags:
                problems.append(f"UID {each.uid} has {sorted(flags or ())}, told {sorted(each.flags or ())}")
            if each.modseq and modseq != each.modseq:
                problems.append(f"UID {each.uid} has MODSEQ {modseq}, told {each.modseq}")
        recent = sum(each.recent for each in view.messages)
        if not actor.kind.rev2 and view.recent_count != recent:
            problems.append(f"RECENT {view.recent_count}, but {recent} have the flag")
        if problems:
            past = b"\n".join(actor.past).decode("utf-8", "replace")
            raise Differs(f"session {actor.number} ({actor.kind.name}): {problems[:5]}\n{past}")

    async def _counts(self, fresh: Client, name: str, truth: dict[int, tuple[frozenset[str], int]]) -> None:
        done = await fresh.needed(f"STATUS {name} (MESSAGES UNSEEN DELETED UIDNEXT HIGHESTMODSEQ)")
        told = _pairs(done.results[0].values[1])
        wanted = {
            "MESSAGES": len(truth),
            "UNSEEN": sum("\\Seen" not in flags for flags, _ in truth.values()),
            "DELETED": sum("\\Deleted" in flags for flags, _ in truth.values()),
        }
        if {each: told[each] for each in wanted} != wanted:
            raise Differs(f"STATUS {name}: {told}, counted {wanted}")
        if told["UIDNEXT"] <= max(truth, default=0) or told["HIGHESTMODSEQ"] < max(
            (m for _, m in truth.values()), default=0
        ):
            raise Differs(f"STATUS {name}: {told}")

    async def _quota(self, fresh: Client) -> None:
        done = await fresh.needed('LIST "" * RETURN (STATUS (MESSAGES SIZE))')
        rows = [_pairs(each.values[1]) for each in done.results if each.word == "STATUS"]
        messages, octets = sum(each["MESSAGES"] for each in rows), sum(each["SIZE"] for each in rows)
        done = await fresh.needed("GETQUOTAROOT INBOX")
        for answer in done.results:
            if answer.word == "QUOTA" and answer.values[1]:
                quota = dict(zip(answer.values[1][::3], answer.values[1][1::3], strict=True))
                used = {"MESSAGE": messages, "STORAGE": -(-octets // 1024)}
                wrong = {
                    each: value for each, value in quota.items() if abs(int(value) - used[each]) > (each == "STORAGE")
                }
                if wrong:
                    raise Differs(f"QUOTA {quota}, counted {used}")

    # the end

    async def finish(self) -> None:
        """The store says the same, and so does an index made anew."""
        if self.meddling:
            await asyncio.sleep(1.5)  # a process reads a directory once a second at most
        before = await self._all()
        problems = await asyncio.to_thread(self.daemon.call, "store.check", timeout_seconds=600, address=ALICE)
        if problems["problems"]:
            raise Wrong(f"seed {self.seed}: check-store: {problems['problems'][:10]}")
        # after minutes there are tens of thousands of expunged messages that may still come back
        await asyncio.to_thread(self.daemon.call, "store.rebuild_index", timeout_seconds=600, address=ALICE)
        after = await self._all()
        if before != after:
            raise Wrong(f"seed {self.seed}: the index made anew tells something else:\n{_difference(before, after)}")
        problems = await asyncio.to_thread(self.daemon.call, "store.check", timeout_seconds=600, address=ALICE)
        if problems["problems"]:
            raise Wrong(f"seed {self.seed}: check-store after rebuild-index: {problems['problems'][:10]}")
        errors = [line for line in self.daemon.log_path.read_text().splitlines() if '"level":"error"' in line]
        if errors:
            raise Wrong(f"seed {self.seed}: errors in the log: {errors[:3]}")

    async def _all(self) -> dict[str, Any]:
        fresh = Client(self.daemon.ports["imaps"], ALICE, Facts(), Kind("fresh"))
        await fresh.connect()
        listed = await fresh.needed('LIST "" *')
        found: dict[str, Any] = {}
        for answer in listed.results:
            name = answer.values[2] if isinstance(answer.values[2], str) else answer.values[2].decode()
            if not await fresh.select(f'"{name}"', read_only=True):
                continue
            assert fresh.view is not None
            done = await fresh.needed("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE EMAILID THREADID)")
            rows = {}
            for seen, items in done.fetched:
                rows[seen.uid] = {**items, "FLAGS": sorted(seen.flags or ())}
            found[name] = (fresh.view.validity, fresh.view.mailbox_id, rows)
        fresh.cut()
        return found


def _pairs(values: list[Any]) -> dict[str, int]:
    return {name: int(value) for name, value in zip(values[::2], values[1::2], strict=True) if isinstance(value, str)}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    lines = []
    for name in sorted(set(before) | set(after)):
        one, two = before.get(name), after.get(name)
        if one is None or two is None or one[:2] != two[:2]:
            lines.append(f"{name}: {one and one[:2]} {two and two[:2]}")
            continue
        uids = sorted(uid for uid in set(one[2]) | set(two[2]) if one[2].get(uid) != two[2].get(uid))
        lines += [f"{name} {uid}: {one[2].get(uid)} {two[2].get(uid)}" for uid in uids]
    return "\n".join(lines[:20])


def prepared(folder: Path, *, fronts: int = 2, single: bool = False) -> Daemon:
    """A daemon with POP3 and an account."""
    text = CONFIG.format(fronts=fronts).replace("managesieve = []", 'managesieve = []\npop3s = ["127.0.0.1:0"]')
    (folder / "config.toml").write_text(text)
    daemon = Daemon(folder, fronts=fronts, single=single)
    try:
        daemon.start()
        daemon.add_account(ALICE)
    except BaseException:
        daemon.destroy()
        raise
    return daemon


async def run(daemon: Daemon, seed: int, seconds: float, *, meddling: bool = True) -> Run:
    """The whole of it; a Wrong tells what was found."""
    made = Run(daemon, seed, meddling=meddling)
    try:
        await made.go(seconds)
    except* Wrong as group:
        raise group.exceptions[0] from None
    await made.finish()
    return made


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("minutes", type=float)
    parser.add_argument("seed", type=int, nargs="?", default=int(time.time()))
    parser.add_argument("--single", action="store_true")
    parser.add_argument("--fronts", type=int, default=2)
    parser.add_argument("--quiet", action="store_true", help="no deliveries, POP3, restored mail or other programs")
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="imap-sessions-"))
    daemon = prepared(folder, fronts=asked.fronts, single=asked.single)
    try:
        made = asyncio.run(run(daemon, asked.seed, asked.minutes * 60, meddling=not asked.quiet))
    except Wrong as error:
        sys.stderr.write(f"{error}\nseed {asked.seed}; the server's folder: {folder}\n")
        return 1
    finally:
        daemon.destroy()
    sys.stdout.write(
        f"seed {asked.seed}: {made.commands} commands, {made.checkpoints} checkpoints, {dict(made.meddled)}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
