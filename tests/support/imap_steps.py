"""What a random IMAP session does next, and what it expects of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from tests.support.imap_choices import BOXES, ITEMS, LABELS, combined, fits, flat, letter, numbers_found, ranges
from tests.support.imap_client import Client, Done, Kind
from tests.support.imap_view import SYSTEM, Facts, Seen, View, Wrong
from tests.support.imap_wire import numbers

if TYPE_CHECKING:
    from tests.support.imap_sessions import Run


class Actor(Client):
    """A client that does what its dice say."""

    def __init__(self, run: Run, number: int, port: int, address: str, facts: Facts, kind: Kind) -> None:
        super().__init__(port, address, facts, kind)
        self.run = run
        self.number = number
        self.random = Random(f"{run.seed}:{number}")
        self.own = f"$Own{number}" if number < 10 else ""
        """A keyword nobody else changes while `run.replacing` is off."""

    async def step(self) -> None:
        """One thing or the other."""
        dice = self.random
        if self.wire is None:
            await self.connect()
            self.may_say_bye = False
        elif self.view is None:
            name = "INBOX" if dice.random() < 0.8 else dice.choice(BOXES)
            self.may_say_bye = name != "INBOX"
            if (
                await self.select(name, read_only=dice.random() < 0.12, memory=dice.random() < 0.9)
                and dice.random() < 0.7
            ):
                await self.verified()
        else:
            steps, weights = zip(*self._steps(), strict=True)
            (chosen,) = dice.choices(steps, weights)
            await chosen()

    def _steps(self) -> list[tuple[Callable[[], Any], int]]:
        assert self.view is not None
        steps: list[tuple[Callable[[], Any], int]] = [
            (self.append, 8 if self.run.size < 150 else 2),
            (self.idle, 4),
            (self.noop, 4),
            (self.others, 8),
            (self.status, 2),
            (self.leaving, 5),
        ]
        if self.view.messages:
            steps += [(self.fetch, 20), (self.search, 8), (self.sort, 2), (self.thread, 2), (self.copy, 6)]
            if not self.view.read_only:
                steps += [(self.store, 16), (self.delete, 4), (self.expunge, 6), (self.move, 4)]
            if not self.kind.uidonly:
                steps.append((self.pipelined, 5))
        return steps

    # which messages

    def some(self, most: int = 30) -> tuple[str, str, list[Seen]]:
        """`UID ` or nothing, a set, the messages it means."""
        view, dice = self.view, self.random
        assert view is not None
        by_uid = self.kind.uidonly or dice.random() < 0.5
        total = len(view.messages)
        first = dice.randrange(total)
        if dice.random() < 0.4:
            places = sorted(dice.sample(range(total), min(total, dice.randrange(1, 6))))
        else:
            places = list(range(first, min(total, first + dice.randrange(1, most))))
        chosen = [view.messages[each] for each in places]
        if by_uid:
            chosen = [each for each in chosen if each.uid]
            if chosen:
                return "UID ", ",".join(str(each.uid) for each in chosen), chosen
            if self.kind.uidonly:
                return "UID ", "4294967295", []
            chosen = [view.messages[each] for each in places]
        return "", ranges([each + 1 for each in places]), chosen

    # reading

    def _fetch_text(self) -> tuple[str, list[Seen]]:
        prefix, chosen, messages = self.some()
        items = {"UID", *(self.random.choice(ITEMS) for _ in range(self.random.randrange(1, 5)))}
        if self.random.random() < 0.5:
            items.add("FLAGS")
        return f"{prefix}FETCH {chosen} ({' '.join(sorted(items))})", messages

    async def fetch(self) -> None:
        text, wanted = self._fetch_text()
        view = self.view
        assert view is not None
        since = 0
        if self.kind.condstore and self.random.random() < 0.3:
            since = max(1, view.highest - self.random.randrange(40))
            vanished = (
                " VANISHED" if self.kind.qresync and text.startswith("UID") and self.random.random() < 0.5 else ""
            )
            text += f" (CHANGEDSINCE {since}{vanished})"
        elif self.random.random() < 0.1:
            text = text.replace(".PEEK", "")
        done = await self.command(text)
        self._accept(done, "EXPUNGEISSUED")
        if not since:
            missing = {each.uid for each in wanted if id(each) not in done.touched and each.uid}
            await self.gone(missing & {each.uid for each in view.messages})

    def _accept(self, done: Done, *codes: str) -> None:
        if not done.ok and done.code not in codes:
            raise Wrong(f"{done.text[:200]!r}: {done.status} [{done.code}]")

    async def pipelined(self) -> None:
        """Commands that keep numbers, all at once."""
        assert self.view is not None
        texts: list[str] = []
        for _ in range(self.random.randrange(2, 6)):
            if self.random.random() < 0.6 or self.view.read_only:
                texts.append(self._fetch_text()[0].removeprefix("UID "))
            else:
                texts.append(f"STORE 1 +FLAGS ({self.random.choice(LABELS)})")
        last = len(self.view.messages)
        texts = [each if fits(each, last) else "FETCH 1 FLAGS" for each in texts]
        for done in await self.pipeline(texts):
            self._accept(done, "EXPUNGEISSUED")

    async def verified(self) -> None:
        """After SELECT: what the client believes is what the server says."""
        view = self.view
        assert view is not None
        believed = {each.uid: each.flags for each in view.messages if each.flags is not None}
        highest = view.highest
        modseq = " MODSEQ" if self.kind.condstore else ""
        done = await self.needed(f"UID FETCH 1:* (UID FLAGS{modseq})")
        await self.needed("NOOP")  # flags that were newer than their MODSEQ are told again with the right one
        for seen in {id(each): each for each, _ in done.fetched}.values():
            known = self.kind.qresync and seen.uid in believed and seen.modseq <= highest and seen in view.messages
            if known and seen.flags != believed[seen.uid]:
                raise Wrong(f"UID {seen.uid}: resynchronised to {believed[seen.uid]}, is {seen.flags}")

    # changing

    async def store(self) -> None:
        dice, view = self.random, self.view
        assert view is not None
        prefix, chosen, messages = self.some(15)
        sign = dice.choice(("+", "-", "")) if self.run.replacing else dice.choice("+-")
        names = dice.sample((*LABELS, *SYSTEM), dice.randrange(1, 4))
        own = bool(self.own) and not self.run.replacing and all(each.uid for each in messages) and dice.random() < 0.6
        if own:
            names.append(self.own)
        silent = ".SILENT" if dice.random() < 0.4 else ""
        since = ""
        if self.kind.condstore and dice.random() < 0.25:
            since = f" (UNCHANGEDSINCE {max(1, view.highest - dice.choice((0, 0, 3, 20)))})"
        keys = [(view.mailbox_id, each.uid) for each in messages if each.uid]
        if own:
            for key in keys:
                self.run.owned.pop((self.own, *key), None)
        done = await self.command(f"{prefix}STORE {chosen}{since} {sign}FLAGS{silent} ({' '.join(names)})")
        if not done.ok and done.code == "EXPUNGEISSUED":
            return
        self._accept(done)
        if silent and not self.kind.condstore:
            for each in messages:
                if id(each) not in done.touched and each.flags is not None:
                    each.flags = combined(each.flags, sign, names)
        if since or not own:
            return
        for key in keys:
            self.run.owned[(self.own, *key)] = sign == "+"
        if not silent:
            told: dict[int, list[bool]] = {}
            for seen, items in done.fetched:
                if "FLAGS" in items:
                    told.setdefault(id(seen), []).append(self.own in items["FLAGS"])
            bad = {each.uid for each in messages if each.uid and (sign == "+") not in told.get(id(each), [])}
            await self.gone(bad & {each.uid for each in view.messages})

    async def delete(self) -> None:
        prefix, chosen, _ = self.some(12)
        self._accept(await self.command(f"{prefix}STORE {chosen} +FLAGS (\\Deleted)"), "EXPUNGEISSUED")

    async def expunge(self) -> None:
        view = self.view
        assert view is not None
        if self.random.random() < 0.5:
            await self.needed("EXPUNGE")
            return
        wanted = [each.uid for each in view.messages if each.uid and each.flags and "\\Deleted" in each.flags]
        if wanted:
            chosen = self.random.sample(wanted, min(len(wanted), 8))
            await self.needed(f"UID EXPUNGE {','.join(map(str, sorted(chosen)))}")

    async def copy(self, verb: str = "COPY") -> None:
        view = self.view
        assert view is not None
        prefix, chosen, messages = self.some(10)
        to = "INBOX" if self.random.random() < (0.5 if self.run.size < 150 else 0.05) else self.random.choice(BOXES)
        before = dict(self.facts.uidnext)
        asked = {each.uid for each in messages}
        known = all(asked)
        done = await self.command(f"{prefix}{verb} {chosen} {to}")
        self._accept(done, "TRYCREATE", "EXPUNGEISSUED", "NONEXISTENT")
        text = done.copyuid or (done.code_text if done.code == "COPYUID" else "")
        if not text:
            return
        validity, sources, targets = text.split(" ")
        pairs = list(zip(numbers(sources), numbers(targets), strict=True))
        if known and not {source for source, _ in pairs} <= asked:
            raise Wrong(f"{done.text!r}: COPYUID {text}")
        target_id = self.facts.id_of(int(validity))
        if target_id is not None:
            for source, target in pairs:
                if target < before.get(target_id, 0):
                    raise Wrong(f"COPYUID {text}: below UIDNEXT {before[target_id]}")
                identity = self.facts.identity.get((view.mailbox_id, source))
                if identity is not None:
                    self.facts.named(target_id, target, identity)
                self.facts.taken(target_id, target)
        if verb == "MOVE" and {source for source, _ in pairs} & {each.uid for each in view.messages}:
            raise Wrong(f"{done.text!r}: moved and still in view")

    async def move(self) -> None:
        await self.copy("MOVE")

    async def append(self) -> None:
        dice = self.random
        to = "INBOX" if dice.random() < 0.8 else dice.choice(BOXES)
        letters = [letter(dice, str(self.run.seed)) for _ in range(dice.choice((1, 1, 1, 2, 4)))]
        parts = [b"APPEND " + to.encode()]
        for each in letters:
            flags = f" ({' '.join(dice.sample((*LABELS, *SYSTEM), 2))})" if dice.random() < 0.5 else ""
            date = (
                f' "{dice.randrange(10, 28)}-Nov-2025 11:12:{dice.randrange(10, 60)} +0200"'
                if dice.random() < 0.4
                else ""
            )
            parts.append(f"{flags}{date} {{{len(each)}+}}\r\n".encode() + each)
        before = dict(self.facts.uidnext)
        done = await self.command(b"".join(parts))
        self._accept(done, "TRYCREATE", "NONEXISTENT")
        if not done.ok:
            return
        if done.code != "APPENDUID":
            raise Wrong(f"APPEND without APPENDUID: {done.code}")
        validity, uids = done.code_text.split(" ")
        mailbox_id = self.facts.id_of(int(validity))
        if mailbox_id is not None:
            for uid, each in zip(numbers(uids), letters, strict=True):
                if uid < before.get(mailbox_id, 0):
                    raise Wrong(f"APPENDUID {uid} below UIDNEXT {before[mailbox_id]}")
                self.facts.named(mailbox_id, uid, b"<" + each.partition(b"Message-ID: <")[2].partition(b"\r\n")[0])
                self.facts.taken(mailbox_id, uid)
            view = self.view
            if view is not None and view.mailbox_id == mailbox_id:  # told within the answer
                await self.learn()

    # searching

    async def search(self) -> None:
        view, dice = self.view, self.random
        assert view is not None
        key, test = self._key(view)
        by_uid = self.kind.uidonly or dice.random() < 0.5
        returns = dice.choice(("", "", "RETURN () ", "RETURN (COUNT ALL) ", "RETURN (SAVE ALL) "))
        known = [each for each in view.messages if each.flags is not None and each.uid]
        before = {id(each): test(each) for each in known}
        place = {id(each): number for number, each in enumerate(view.messages, 1)}
        last = len(view.messages)
        done = await self.needed(f"{'UID ' if by_uid else ''}SEARCH {returns}{key}")
        found = numbers_found(done)
        if not by_uid and found and max(found) > last:
            raise Wrong(f"{done.text!r} found {max(found)} of {last}")
        silent: set[int] = set()
        for each in known:
            is_found = (each.uid if by_uid else place[id(each)]) in found
            if id(each) in done.touched or is_found in {before[id(each)], test(each)}:
                continue
            silent.add(each.uid)  # what was stored silently of a message that is gone is not found either
        await self.gone(silent & {each.uid for each in view.messages})
        if "SAVE" in returns:
            await self.needed(f"{'UID ' if self.kind.uidonly else ''}FETCH $ (UID FLAGS)")

    def _key(self, view: View) -> tuple[str, Callable[[Seen], bool]]:
        dice = self.random
        flag = dice.choice((*LABELS, *SYSTEM))
        keyed = f"KEYWORD {flag}" if flag.startswith("$") else flag[1:].upper()
        negative = f"UNKEYWORD {flag}" if flag.startswith("$") else f"UN{flag[1:].upper()}"
        has: Callable[[Seen], bool] = lambda each: flag in (each.flags or ())  # noqa: E731
        facts, mailbox_id = self.facts, view.mailbox_id
        size = dice.choice((400, 1000, 3000))

        def larger(each: Seen) -> bool:
            return int(facts.constant.get((mailbox_id, each.uid, "RFC822.SIZE"), 0)) > size

        low = dice.choice(view.messages).uid or 1
        choices: list[tuple[str, Callable[[Seen], bool]]] = [
            (keyed, has),
            (negative, lambda each: not has(each)),
            (f"NOT {keyed}", lambda each: not has(each)),
            (f"OR {keyed} UID {low}", lambda each: has(each) or each.uid == low),
            (f"UID {low}:*", lambda each: each.uid >= low or each in view.messages[-1:]),
            ("ALL", lambda each: True),
        ]
        if all((mailbox_id, each.uid, "RFC822.SIZE") in facts.constant for each in view.messages):
            choices.append((f"LARGER {size}", larger))
        known = [each for each in view.messages if (mailbox_id, each.uid) in facts.identity]
        if known and len(known) == len(view.messages):
            name = facts.identity[mailbox_id, dice.choice(known).uid]
            text = f"HEADER MESSAGE-ID {name.decode()}"
            choices.append((text, lambda each: facts.identity.get((mailbox_id, each.uid)) == name))
        return dice.choice(choices)

    async def sort(self) -> None:
        key = self.random.choice(("SUBJECT", "ARRIVAL", "REVERSE SIZE", "FROM DATE"))
        await self._permutation(f"SORT ({key}) UTF-8 ALL")

    async def thread(self) -> None:
        await self._permutation(f"THREAD {self.random.choice(('REFERENCES', 'ORDEREDSUBJECT'))} UTF-8 ALL")

    async def _permutation(self, text: str) -> None:
        view = self.view
        assert view is not None
        by_uid = self.kind.uidonly or self.random.random() < 0.5
        messages = list(view.messages)
        done = await self.needed(f"{'UID ' if by_uid else ''}{text}")
        found = sorted(flat(done.results[0].values)) if done.results else []
        if len(set(found)) != len(found):
            raise Wrong(f"{text}: a message twice")
        if by_uid and not all(each.uid for each in messages):
            return
        wanted = {each.uid if by_uid else place: each.uid for place, each in enumerate(messages, 1)}
        if not set(found) <= set(wanted):
            raise Wrong(f"{text}: {set(found) - set(wanted)}")
        await self.gone(
            {wanted[each] for each in set(wanted) - set(found)} & {each.uid for each in view.messages} - {0}
        )

    # the rest

    async def idle(self) -> None:
        await self.begin(["IDLE"])
        while (await self.read()).tag != "+":
            pass
        try:
            async with asyncio.timeout(self.random.random() * 0.4):
                while not self.run.pausing:
                    await self.read()
        except TimeoutError:
            pass
        assert self.wire is not None
        await self.wire.send(b"DONE\r\n")
        while self._pending:
            await self.read()

    async def noop(self) -> None:
        await self.needed(self.random.choice(("NOOP", "NOOP", "CHECK")))

    async def status(self) -> None:
        name = self.random.choice(("INBOX", *BOXES))
        done = await self.command(f"STATUS {name} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ SIZE)")
        self._accept(done, "NONEXISTENT", "")

    async def others(self) -> None:
        """Other mailboxes come and go."""
        dice = self.random
        one, two = dice.sample(BOXES, 2)
        verbs = (
            *(f"CREATE {one}", f"CREATE {one}", f"CREATE {two}", f"RENAME {one} {two}", f"DELETE {one}"),
            *(f"SUBSCRIBE {one}", f"UNSUBSCRIBE {one}", 'LIST "" *', 'LIST "" * RETURN (STATUS (MESSAGES UIDNEXT))'),
        )
        chosen = dice.choice(verbs)
        if chosen.startswith("DELETE") and self.view is not None and self.view.name != "INBOX":
            chosen = "NOOP"  # by another name it may be the one that is selected
        done = await self.command(chosen)
        if chosen.startswith("LIST") and not done.ok:
            raise Wrong(f"{chosen}: {done.status}")

    async def leaving(self) -> None:
        dice = self.random
        view = self.view
        assert view is not None
        chosen = dice.choice(("UNSELECT", "CLOSE", "SELECT", "SELECT", "LOGOUT", "CUT", "CUT"))
        if chosen == "LOGOUT":
            await self.logout()
        elif chosen == "CUT":
            if dice.random() < 0.5 and view.messages:
                stored = f"UID STORE 1:* +FLAGS ({dice.choice(LABELS)})"
                text = dice.choice((stored, f"UID COPY {self.some(5)[1]} box1", self._fetch_text()[0], "EXPUNGE"))
                await self.begin([text])
            self.cut()
        elif chosen == "SELECT":
            self.leave()
        else:
            self.remember()
            if chosen == "CLOSE":
                self.memories.pop(view.name, None)
            await self.begin([chosen])
            try:
                while self._pending:
                    await self.read()
            finally:
                self.view = None
