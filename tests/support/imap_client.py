"""A strict IMAP client: sends commands, holds every answer against its view, remembers what QRESYNC needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.support.daemon import PASSWORD
from tests.support.imap_view import Facts, Seen, View, Wrong
from tests.support.imap_wire import Answer, Gone, Wire, numbers

_BY_NUMBER = {"FETCH", "STORE", "SEARCH", "SORT", "THREAD"}
"""RFC 9051 7.5.1: no EXPUNGE while one of these runs."""
_selections = count(1)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a session is like."""

    name: str
    enabled: tuple[str, ...] = ()
    compress: bool = False

    @property
    def condstore(self) -> bool:
        return bool({"CONDSTORE", "QRESYNC"} & set(self.enabled))

    @property
    def qresync(self) -> bool:
        return "QRESYNC" in self.enabled

    @property
    def rev2(self) -> bool:
        return "IMAP4rev2" in self.enabled

    @property
    def uidonly(self) -> bool:
        return "UIDONLY" in self.enabled


@dataclass(slots=True)
class Done:
    """A command and what came back."""

    text: bytes
    tag: str
    verb: str
    status: str = ""
    code: str = ""
    code_text: str = ""
    fetched: list[tuple[Seen, dict[str, Any]]] = field(default_factory=list)
    results: list[Answer] = field(default_factory=list)
    """SEARCH, ESEARCH, SORT, THREAD, STATUS, QUOTA and whatever else is no news of messages."""
    copyuid: str = ""

    @property
    def ok(self) -> bool:
        return self.status == "OK"

    @property
    def touched(self) -> set[int]:
        return {id(each) for each, _ in self.fetched}


@dataclass(slots=True)
class Memory:
    """What a client keeps of a mailbox for QRESYNC."""

    validity: int
    mailbox_id: str
    highest: int
    flags: dict[int, frozenset[str] | None]


class Client:
    """One session at a time of one kind."""

    def __init__(self, port: int, address: str, facts: Facts, kind: Kind) -> None:
        self.port = port
        self.address = address
        self.facts = facts
        self.kind = kind
        self.wire: Wire | None = None
        self.view: View | None = None
        self.memories: dict[str, Memory] = {}
        self.commands = 0
        self.past: deque[bytes] = deque(maxlen=60)
        self._pending: deque[Done] = deque()
        self._tags = count(1)
        self._cache: dict[int, frozenset[str] | None] | None = None
        self.may_say_bye = False

    # the connection

    async def connect(self) -> None:
        self.wire = Wire(self.port)
        self.past = self.wire.log
        await self.wire.connect()
        greeting = await self.wire.answer()
        if greeting.word != "OK":
            raise Wrong(f"greeted with {greeting.raw!r}")
        await self.needed(f'LOGIN {self.address} "{PASSWORD}"')
        if self.kind.compress:
            await self.needed("COMPRESS DEFLATE")
            self.wire.compress()
        if self.kind.enabled:
            await self.needed(f"ENABLE {' '.join(self.kind.enabled)}")

    def cut(self) -> None:
        """The connection ends without a word; what is remembered is remembered."""
        if self.wire is not None:
            self.wire.cut()
        self.lost()

    def lost(self) -> None:
        self.remember()
        self.wire = self.view = self._cache = None
        self._pending.clear()

    async def logout(self) -> None:
        self.may_say_bye = True
        done = await self.command("LOGOUT")
        if not done.ok:
            raise Wrong("LOGOUT was refused")
        self.cut()

    # commands

    async def needed(self, text: str) -> Done:
        """One that must be OK."""
        done = await self.command(text)
        if not done.ok:
            raise Wrong(f"{text}: {done.status} {done.code}")
        return done

    async def command(self, text: str | bytes) -> Done:
        return (await self.pipeline([text]))[0]

    async def pipeline(self, texts: Sequence[str | bytes]) -> list[Done]:
        """All are sent at once."""
        begun = await self.begin(texts)
        while self._pending:
            await self.read()
        return begun

    async def begin(self, texts: Sequence[str | bytes]) -> list[Done]:
        """Send only."""
        assert self.wire is not None
        begun: list[Done] = []
        for text in texts:
            data = text.encode() if isinstance(text, str) else text
            words = data.split(b" ", 2)
            verb = words[0] if words[0] != b"UID" else b"UID " + words[1]
            begun.append(Done(data, f"a{next(self._tags)}", verb.decode().rstrip()))
        self._pending += begun
        self.commands += len(begun)
        await self.wire.send(b"".join(each.tag.encode() + b" " + each.text + b"\r\n" for each in begun))
        return begun

    async def read(self) -> Answer:
        """One answer, judged."""
        assert self.wire is not None
        answer = await self.wire.answer()
        if answer.tag == "*":
            self._untagged(answer)
        elif answer.tag != "+":
            self._tagged(answer)
        return answer

    def _tagged(self, answer: Answer) -> None:
        if not self._pending or self._pending[0].tag != answer.tag:
            raise Wrong(f"unexpected {answer.raw!r}")
        done = self._pending.popleft()
        done.status, done.code, done.code_text = answer.word, answer.code, answer.code_text
        if answer.word == "BAD":
            raise Wrong(f"{done.text[:200]!r}: {answer.raw!r}")
        self._code(answer)
        if self.view is not None:
            self.view.command_done()

    # untagged answers

    def _untagged(self, answer: Answer) -> None:
        word, view = answer.word, self.view
        running = self._pending[0] if self._pending else None
        if word in {"OK", "NO", "BAD", "BYE"}:
            if word == "BYE":
                if self.may_say_bye:
                    if running is None or running.verb != "LOGOUT":
                        raise Gone("said goodbye")
                    return
                raise Wrong(f"unexpected {answer.raw!r}")
            if running is not None and answer.code == "COPYUID":
                running.copyuid = answer.code_text
            self._code(answer)
        elif word in {"EXISTS", "EXPUNGE", "FETCH", "RECENT", "VANISHED", "FLAGS", "UIDFETCH"}:
            if view is None:
                raise Wrong(f"nothing is selected: {answer.raw!r}")
            self._news(view, answer, running)
        elif running is None:
            raise Wrong(f"nobody asked: {answer.raw!r}")
        else:
            running.results.append(answer)

    def _news(self, view: View, answer: Answer, running: Done | None) -> None:
        word = answer.word
        if word == "EXISTS":
            view.exists(answer.number)
        elif word == "RECENT":
            if self.kind.rev2:
                raise Wrong("RECENT under IMAP4rev2")
            view.recent_count = answer.number
        elif word == "FLAGS":
            view.flag_names(answer.values[0])
        elif word in {"FETCH", "UIDFETCH"}:
            if (word == "UIDFETCH") != self.kind.uidonly:
                raise Wrong(f"{word} from a session of kind {self.kind.name}")
            items = dict(zip(answer.values[0][::2], answer.values[0][1::2], strict=True))
            if (self._cache is not None and "UID" in items) or (self._cache is not None and self.kind.uidonly):
                self._cache[int(items.get("UID", answer.number))] = frozenset(items["FLAGS"]) - {"\\Recent"}
            if self._cache is not None and self.kind.uidonly:
                return  # the view is filled from the cache
            found = view.fetched(answer.number, items, by_uid=word == "UIDFETCH")
            if running is not None:
                running.fetched.append((found, items))
            if self.kind.rev2 and found.recent:
                raise Wrong("\\Recent under IMAP4rev2")
        else:
            self._removal(view, answer)

    def _removal(self, view: View, answer: Answer) -> None:
        earlier = answer.word == "VANISHED" and answer.values[0] == ["EARLIER"]
        if (answer.word == "VANISHED") != (self.kind.qresync or self.kind.uidonly):
            raise Wrong(f"{answer.word} from a session of kind {self.kind.name}")
        if not earlier and (not self._pending or any(each.verb in _BY_NUMBER for each in self._pending)):
            raise Wrong(f"{answer.raw!r} during {[each.text[:60] for each in self._pending]}")
        if answer.word == "EXPUNGE":
            view.expunge(answer.number)
            return
        text = answer.values[-1]
        if self._cache is not None:
            for uid in numbers(text):
                self._cache.pop(uid, None)
        elif earlier:
            for uid in numbers(text):
                if view.by_uid(uid) is not None:
                    raise Wrong(f"VANISHED (EARLIER) {uid}, which is in view")
        view.vanish(text, earlier=earlier)

    def _code(self, answer: Answer) -> None:
        view = self.view
        if view is None:
            return
        if answer.code == "HIGHESTMODSEQ":
            view.told_highest(int(answer.code_text))
        elif answer.code == "UIDVALIDITY":
            view.validity = int(answer.code_text)
        elif answer.code == "UIDNEXT":
            view.uidnext = int(answer.code_text)
        elif answer.code == "MAILBOXID" and not view.mailbox_id:  # not CREATE's
            view.mailbox_id = answer.code_text.strip("()")

    # selecting

    async def select(self, name: str, *, read_only: bool = False, memory: bool = True) -> bool:
        """Whether the mailbox is there; under QRESYNC from what is remembered."""
        self.leave()
        known = self.memories.get(name) if memory and self.kind.qresync else None
        told_before = dict(self.facts.modseq)
        uidnext_before = dict(self.facts.uidnext)
        text = f"{'EXAMINE' if read_only else 'SELECT'} {name}"
        if known is not None:
            text += f" (QRESYNC ({known.validity} {max(known.highest, 1)}))"
            self._cache = dict(known.flags)
        view = self.view = View(self.facts, name, next(_selections), read_only=read_only)
        view.uidonly = self.kind.uidonly
        done = await self.command(text)
        cache, self._cache = self._cache, None
        if not done.ok:
            self.view = None
            return False
        if view.highest < told_before.get(view.mailbox_id, 0):
            raise Wrong(f"HIGHESTMODSEQ {view.highest} after MODSEQ {told_before[view.mailbox_id]}")
        if view.uidnext < uidnext_before.get(view.mailbox_id, 0):
            raise Wrong(f"UIDNEXT {view.uidnext} after {uidnext_before[view.mailbox_id]}")
        self.facts.selected(name, view.validity, view.mailbox_id)
        if known is not None and cache is not None and known.validity == view.validity:
            self._resynchronised(view, cache)
        return True

    def _resynchronised(self, view: View, cache: dict[int, frozenset[str] | None]) -> None:
        if len(cache) > len(view.messages):
            raise Wrong(f"resynchronised: {len(cache)} messages, EXISTS {len(view.messages)}")
        for seen, uid in zip(view.messages, sorted(cache), strict=False):
            if seen.uid not in {0, uid}:
                raise Wrong(f"resynchronised: UID {uid}, told {seen.uid}")
            seen.uid, seen.flags = uid, cache[uid]

    def leave(self) -> None:
        """Another mailbox is about to be selected, or none."""
        self.remember()
        self.view = None

    def remember(self) -> None:
        view = self.view
        if view is not None and view.validity and view.mailbox_id and self._cache is None:
            if self.kind.qresync and view.highest and all(each.uid for each in view.messages):
                flags = {each.uid: each.flags for each in view.messages}
                self.memories[view.name] = Memory(view.validity, view.mailbox_id, view.highest, flags)
            else:
                self.memories.pop(view.name, None)

    # knowing all

    async def learn(self) -> None:
        """Ask for UIDs and flags that are not known; more mail may come with every answer."""
        view = self.view
        assert view is not None
        for _ in range(200):
            if all(each.uid and each.flags is not None for each in view.messages):
                return
            first = next(i for i, each in enumerate(view.messages) if not each.uid or each.flags is None)
            last = view.messages[first - 1].uid if first and not self.kind.uidonly else 0
            modseq = " MODSEQ" if self.kind.condstore else ""
            await self.needed(f"UID FETCH {last + 1}:* (UID FLAGS{modseq})")
        raise Wrong("UIDs of some messages are not told")

    async def gone(self, uids: set[int]) -> None:
        """These answered nothing: they must be gone by the next NOOP."""
        view = self.view
        if not uids or view is None:
            return
        await self.needed("NOOP")
        left = uids & {each.uid for each in view.messages}
        if left:
            raise Wrong(f"UIDs {sorted(left)} are there and were not told")
