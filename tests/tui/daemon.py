"""A daemon for the console's tests: the control protocol on a real Unix socket with canned, deterministic data.

Runs alone too: `python -m tests.tui.daemon --socket /tmp/x/control.sock --rows 100000 --live`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.tui.beside_queue import BesideQueue
from tests.tui.door import Door
from tests.tui.people import People
from tests.tui.refusal import Refusal, iso

NOW = datetime(2026, 11, 22, 18, 42, 7, tzinfo=UTC)
SENDERS = ("info@example.org", "anna@example.org", "carl@example.org", "cron@example.org")
TARGETS = ("joe@example.net", "ann@example.net", "bob@gmail.com", "x@down.example", "ops@example.com")
ANSWERS = (
    (451, "4.7.1 greylisted, try again in 300 seconds"),
    (451, "4.3.2 system not accepting messages"),
    (0, ""),
    (421, "4.4.1 no route to host, 3 mx tried"),
    (452, "4.2.2 mailbox full"),
)
HOSTILE = "Re: [/foo] [red]x[/red] \x1b]52;c;ZXZpbA==\x07 \x1b[2J\u202egnp.exe \x9b31m \u2028 end"


class Data:
    """What the daemon knows; tests change it directly."""

    def __init__(
        self,
        rows: int = 14,
        audit: int = 212,
        *,
        accounts: int = 23,
        deleted: int = 37,
        decisions: int = 2310,
        quiet: bool = False,
        hostile: bool = False,
        now: datetime = NOW,
    ) -> None:
        self.now = now
        self.size = rows
        self.gone: set[int] = set()
        self.busy = 0
        self.routed: dict[int, str] = {}
        self.changed: dict[int, dict[str, Any]] = {}
        self.audit_count = audit
        self.hostile = hostile
        self.received = 913
        self.health_extra: dict[str, Any] = {}
        self.people = People(accounts, deleted, now, self.text)
        self.beside = BesideQueue(now, self.text, quiet=quiet)
        self.door = Door(decisions, now, self.text, quiet=quiet)

    def text(self, plain: str) -> str:
        return HOSTILE if self.hostile else plain

    def row(self, index: int) -> dict[str, Any]:
        code, last = ANSWERS[index % 5]
        state = "held" if index % 7 == 3 else "active" if index % 5 == 2 else "deferred"
        next_at = self.now + timedelta(seconds=120 + index * 61 % 3600)
        if index % 11 == 6:
            next_at = self.now - timedelta(minutes=2)
        row = {
            "id": f"4XK{index:06X}",
            "state": state,
            "next_at": None if state == "held" else iso(next_at),
            "arrived_at": iso(self.now - timedelta(seconds=60 + index * 977 % 90_000)),
            "attempts": 0 if not code else index % 8 + 1,
            "size_bytes": 4096 + index * 7919 % 3_000_000,
            "from": self.text(SENDERS[index % 4]),
            "to": self.text(f"{index}." + TARGETS[index % 5] if index > 20 else TARGETS[index % 5]),
            "code": code or None,
            "last": self.text(last or "connecting to mx1"),
            "host": "" if not code else f"mx{index % 3 + 1}.{TARGETS[index % 5].split('@')[1]}",
        }
        return {**row, **self.changed.get(index, {})}

    def indices(self, given: dict[str, Any]) -> list[int] | range:
        unknown = set(given) - {"filter", "recipients", "sort", "reverse", "offset", "limit", "action", "plan", "route"}
        assert not unknown, unknown
        params = {**given, **(given.get("filter") or {})}
        chosen: list[int] | range = range(self.size)
        if self.gone:
            chosen = [index for index in chosen if index not in self.gone]
        if params.get("recipients"):
            wanted = {tuple(pair) for pair in params["recipients"]}
            chosen = [int(name[3:], 16) for name, _ in wanted]
            return [index for index in chosen if index < self.size and index not in self.gone]
        if params.get("ids"):
            wanted = {int(name[3:], 16) for name in params["ids"]}
            chosen = [index for index in chosen if index in wanted]
        if any(params.get(name) for name in ("state", "text", "from", "to", "domain")):
            chosen = [index for index in chosen if self.matches(self.row(index), params)]
        if params.get("reverse"):
            chosen = chosen[::-1]
        return chosen

    @staticmethod
    def matches(row: dict[str, Any], params: dict[str, Any]) -> bool:
        if params.get("state") and row["state"] != params["state"]:
            return False
        if params.get("domain") and not row["to"].endswith("@" + params["domain"]):
            return False
        if any(params.get(name) and params[name] not in row[name] for name in ("from", "to")):
            return False
        text = params.get("text")
        return not text or any(text in str(row[name]) for name in ("from", "to", "last", "id"))

    def queue(self, params: dict[str, Any]) -> dict[str, Any]:
        found = self.indices(params)
        offset, limit = int(params.get("offset", 0)), min(500, int(params.get("limit", 100)))
        total = self.size - len(self.gone)
        return {
            "total": len(found),
            "offset": offset,
            "summary": self.text(
                f"{total:,} waiting, oldest 6 h. 9 of them wait for example.net: it answers 451."
                if total
                else "Nothing is waiting."
            ),
            "rows": [self.row(index) for index in found[offset : offset + limit]],
            "by_destination": [["example.net", 9], ["gmail.com", 2], ["down.example", 1], ["example.com", 2]]
            if total
            else [],
            "stats": {"recipients": total},
        }

    def message(self, name: str) -> dict[str, Any]:
        index = int(name[3:], 16)
        row = self.row(index)
        return {
            "id": name,
            "from": row["from"],
            "size_bytes": row["size_bytes"],
            "arrived_at": row["arrived_at"],
            "expires_at": iso(self.now + timedelta(days=4, hours=18)),
            "submitter": self.text("info@example.org"),
            "message_id": self.text(f"<{index}.20261122@example.org>"),
            "header": "Received: from laptop (client hidden)\r\n\tby mail.example.org with ESMTPSA id 4XK\r\n"
            "From: Info <info@example.org>\r\n"
            f"To: <{TARGETS[index % 5]}>\r\nSubject: {self.text('Invoice 2026-117')}\r\nDate: Sun, 22 Nov 2026 12:40:11 +0000\r\n",
            "recipients": [row],
            "attempts": [
                {
                    "at": iso(self.now - timedelta(minutes=5 * back)),
                    "to": row["to"],
                    "fate": "deferred",
                    "code": 451,
                    "text": self.text("4.7.1 greylisted, try again in 300 seconds"),
                    "host": self.text("mx1.example.net"),
                    "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384",
                    "seconds": 1.2 + back / 10,
                }
                for back in (7, 4, 1)
            ],
            "why": self.text(
                "It waits because mx1.example.net asked for a retry (greylisting); the next try is in 2 minutes."
            ),
        }

    def health(self) -> dict[str, Any]:
        return {
            "state": "WARN",
            "answer": self.text("Mail flows. 1 thing needs you: reverse DNS of 2001:db8::25 is missing."),
            "queue": self.size - len(self.gone),
            "late": 2,
            "certificate_days": 61,
            "consoles": 1,
            "todo": [
                {
                    "state": "WARN",
                    "text": self.text("PTR for 2001:db8::25 is missing"),
                    "screen": "doctor",
                    "since": iso(self.now - timedelta(days=2)),
                },
                {
                    "state": "info",
                    "text": "2 recipients are late by more than an hour",
                    "screen": "queue",
                    "since": iso(self.now - timedelta(hours=3)),
                },
                {"state": "info", "text": "3 accounts never logged in", "screen": "people", "since": None},
            ],
            "services": [
                {"state": "ok", "service": "smtp", "address": "*", "port": 25, "connections": 12},
                {"state": "ok", "service": "submission", "address": "*", "port": 587, "connections": 2},
                {"state": "ok", "service": "submissions", "address": "*", "port": 465, "connections": 1},
                {"state": "ok", "service": "imaps", "address": "*", "port": 993, "connections": 1031},
                {"state": "off", "service": "metrics", "address": "127.0.0.1", "port": 9254, "connections": 0},
            ],
            "storage": {"used_bytes": 44_238_000_000, "total_bytes": 214_748_364_800, "mail_bytes": 41_200_000_000},
            "memory_bytes": 222_298_112,
            "load": 0.08,
            "uptime_seconds": 1_040_000,
            "spam": self.door.spam(),
            **self.health_extra,
        }

    def traffic(self) -> dict[str, Any]:
        def history(seed: int, top: int) -> list[int]:
            dice = random.Random(seed)
            return [max(0, dice.randint(-1, top) * (3 if 34 <= index <= 43 else 1) - 1) for index in range(60)]

        names = (
            ("in accepted", 42, self.received, 5),
            ("in rejected", 18, 402, 3),
            ("out delivered", 11, 260, 2),
            ("out deferred", 2, 14, 1),
            ("submitted", 9, 188, 2),
        )
        results = (
            ("in", "notify@github.com", "anna@example.org", "ok", 3.1, ""),
            ("out", "info@example.org", "bob@gmail.com", "ok", 1.2, ""),
        )
        last = []
        for index in range(12):
            direction, sender, recipient, result, seconds, text = results[index % 2]
            if index % 5 == 2:
                direction, sender, recipient, result, seconds, text = (
                    "in",
                    "win@spam.example",
                    "carl@example.org",
                    "rejected",
                    None,
                    "550 5.7.1 spam score 14.2",
                )
            last.append(
                {
                    "at": iso(self.now - timedelta(minutes=index)),
                    "direction": direction,
                    "sender": self.text(sender),
                    "recipient": recipient,
                    "result": result,
                    "seconds": seconds,
                    "text": text,
                    "id": f"7F3A{index:02X}",
                }
            )
        return {
            "rows": [
                {"name": name, "now_per_hour": hour, "day": day, "history": history(seed + 3, top)}
                for seed, (name, hour, day, top) in enumerate(names)
            ],
            "last": last,
        }

    def entry(self, no: int) -> dict[str, Any]:
        kinds = (
            ("user.enable", "carl@example.org", {"state": "disabled"}, {"state": "active"}),
            ("queue.retry", "4XK000003", None, None),
            ("config.set", "limits.max_recipients", {"value": "100"}, {"value": "200"}),
            ("domain.add", "example.org", None, {"name": "example.org"}),
        )
        what, subject, before, after = kinds[no % 4]
        return {
            "no": no,
            "at": iso(self.now - timedelta(minutes=17 * (self.audit_count - no))),
            "who": "root" if no % 3 else "eva",
            "uid": 0 if no % 3 else 1001,
            "via": "console" if no % 2 else "cli",
            "what": what,
            "object": self.text(subject),
            "detail": {"recipients": 3} if what == "queue.retry" else None,
            "before": before,
            "after": after if not self.hostile else {"value": HOSTILE},
            "result": "ok" if no % 10 else "refused",
        }

    def audit(self, params: dict[str, Any]) -> dict[str, Any]:
        numbers: list[int] | range = range(self.audit_count, 0, -1)
        filters = [(name, params[name]) for name in ("who", "what", "text") if params.get(name)]
        if filters:
            numbers = [no for no in numbers if all(value in json.dumps(self.entry(no)) for _, value in filters)]
        offset, limit = int(params.get("offset", 0)), int(params.get("limit", 100))
        return {"total": len(numbers), "entries": [self.entry(no) for no in numbers[offset : offset + limit]]}

    def plan(self, params: dict[str, Any]) -> dict[str, Any]:
        found = [] if self.busy else list(self.indices(params))
        verbs = {
            "retry": "Retry",
            "hold": "Hold",
            "release": "Release",
            "bounce": "Fail and bounce",
            "drop": "Drop",
            "route": "Reroute",
        }
        verb = verbs[params["action"]]
        rows = [self.row(index) for index in found[:5]]
        plural = "" if len(found) == 1 else "s"
        return {
            "plan": f"{params['action']}-{hash(tuple(found))}",
            "count": len(found),
            "messages": len(found),
            "sample": [{"id": row["id"], "to": row["to"]} for row in rows],
            "effect": f"{verb} {len(found)} recipient{plural} of {len(found)} message{plural}",
            "busy": self.busy,
        }

    def apply(self, params: dict[str, Any]) -> dict[str, Any]:
        plan = self.plan(params)
        if plan["plan"] != params.get("plan"):
            raise Refusal("queue.changed", "The set is not the planned one any more.", "Look again.")
        for index in list(self.indices(params)):
            if params["action"] in {"bounce", "drop"}:
                self.gone.add(index)
            else:
                state = "held" if params["action"] == "hold" else "deferred"
                if params["action"] == "route":
                    self.routed[index] = params["route"]
                    continue
                self.changed[index] = {"state": state, "next_at": None if state == "held" else iso(self.now)}
        self.audit_count += 1
        return {"done": plan["count"], "effect": plan["effect"].replace("Hold", "Held").replace("Drop", "Dropped")}


class FixtureDaemon:
    """Serves `Data`; `start`, `stop` and `push` are what tests need."""

    def __init__(self, path: str, data: Data | None = None, *, protocol: int = 1, live: bool = False) -> None:
        self.path = path
        self.data = data or Data()
        self.protocol = protocol
        self.live = live
        self.calls: list[dict[str, Any]] = []
        self.subscriptions: dict[int, dict[str, Any]] = {}
        self.refuse = ""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._number = 0
        self._ticker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=1024 * 1024 + 1024)
        if self.live:
            self._ticker = asyncio.create_task(self._tick())

    @property
    def listening(self) -> bool:
        return self._server is not None and self._server.is_serving()

    async def stop(self) -> None:
        if self._ticker:
            self._ticker.cancel()
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.close()
        self.subscriptions.clear()
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def topics(self) -> list[str]:
        return sorted(sub["topic"] for sub in self.subscriptions.values())

    def push(self, *, skip: int = 0) -> None:
        """Send each subscriber what changed since its last frame; `skip` leaves a gap in seq."""
        for number, sub in tuple(self.subscriptions.items()):
            state = self.state(sub["topic"], sub["args"])
            delta = {key: value for key, value in state.items() if sub["state"].get(key) != value}
            if delta or skip:
                sub["seq"] += 1 + skip
                sub["state"] = state
                self.send(sub["writer"], {"sub": number, "seq": sub["seq"], "delta": delta})

    def state(self, topic: str, args: dict[str, Any]) -> dict[str, Any]:
        if topic == "health":
            return self.data.health()
        if topic == "traffic":
            return self.data.traffic()
        if topic == "user.window":
            return self.data.people.users(args)
        if topic == "log":
            return self.data.door.log(args)
        if topic == "spam":
            return self.data.door.spam()
        if topic == "account":
            return self.data.people.numbers(args)
        if topic == "audit":
            return {
                "count": self.data.audit_count,
                "last_no": self.data.audit_count,
                "verified_to": 90_000 if self.data.audit_count > 90_000 else None,
            }
        return self.data.queue(args)

    @staticmethod
    def send(writer: asyncio.StreamWriter, frame: dict[str, Any]) -> None:
        writer.write(json.dumps(frame).encode() + b"\n")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.data.now = datetime.now(UTC)
            self.data.received += 1
            self.push()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self.refuse:
                self.send(writer, {"error": {"code": self.refuse, "text": "this user may not use the control socket"}})
                return
            self.send(
                writer,
                {
                    "hello": {
                        "protocol": self.protocol,
                        "version": "0.1.0",
                        "hostname": "mail.example.org",
                        "uid": 0,
                        "user": "root",
                    }
                },
            )
            while line := await reader.readline():
                self._answer(json.loads(line), writer)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            for number in [number for number, sub in self.subscriptions.items() if sub["writer"] is writer]:
                del self.subscriptions[number]
            writer.close()

    def _answer(self, frame: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.calls.append(frame)
        method, params = frame["method"], frame.get("params") or {}
        if method == "sub":
            self._number += 1
            args = params.get("args") or {}
            state = self.state(params["topic"], args)
            self.subscriptions[self._number] = {
                "topic": params["topic"],
                "args": args,
                "writer": writer,
                "seq": 1,
                "state": state,
            }
            self.send(writer, {"id": frame["id"], "result": {"sub": self._number}})
            self.send(writer, {"sub": self._number, "seq": 1, "snap": state})
            return
        if method == "retained.restore":
            for done in (1, 2):
                steps = {"done": done, "total": 2, "text": params["address"]}
                self.send(writer, {"id": frame["id"], "progress": steps})
        try:
            self.send(writer, {"id": frame["id"], "result": self._call(method, params)})
        except Refusal as refusal:
            self.send(writer, {"id": frame["id"], "error": refusal.frame})

    def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        data = self.data
        if method == "unsub":
            self.subscriptions.pop(params["sub"], None)
            return {}
        if method == "queue.show" and params["id"].startswith("4XJ"):
            return data.beside.story(params["id"])
        if method == "queue.show":
            index = int(params["id"][3:], 16)
            if index in data.gone:
                raise Refusal(
                    "queue.no_such_id", "There is no such message in the queue.", "It may have been delivered."
                )
            return data.message(params["id"])
        if method == "audit.verify":
            return {"ok": True, "count": data.audit_count, "broken_at": None}
        handlers = {
            "queue.list": data.queue,
            "queue.plan": data.plan,
            "queue.apply": data.apply,
            "audit.list": data.audit,
            **data.people.handlers(),
            **data.door.handlers(),
            **data.beside.handlers(),
        }
        return handlers[method](params)


async def serve(path: str, rows: int, *, live: bool, hostile: bool) -> None:
    data = Data(rows, accounts=rows, deleted=rows, hostile=hostile, now=datetime.now(UTC))
    daemon = FixtureDaemon(path, data, live=live)
    await daemon.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--rows", type=int, default=14)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--hostile", action="store_true")
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.socket, chosen.rows, live=chosen.live, hostile=chosen.hostile))
