"""Decisions, greylist, bans and checks for the fixture daemon: canned, deterministic, changed by the methods that change them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.tui.refusal import Refusal, iso

OUTCOMES = ("accepted", "accepted", "junk", "accepted", "refused", "accepted", "deferred")
FROM = (
    "notify@github.com",
    "shop@news.example",
    "win@spam.example",
    "ann@example.net",
    "x@203-0-113-9.example",
    "",
    "new@first.example",
)
TO = ("anna@example.org", "bob@example.org", "carl@example.org")
SUBJECTS = (
    "Re: offer for the new roof",
    "News of November",
    "You have won",
    "Lunch on Friday?",
    "Your account",
    "Undelivered mail",
    "Hello",
)
REPLIES = {
    "accepted": (250, "2.0.0 Thank you, kept as {}"),
    "junk": (250, "2.0.0 Thank you, kept as {}"),
    "deferred": (451, "4.7.1 We do not know you yet, please come back in 5 minutes"),
    "refused": (550, "5.7.1 This mail looks like spam, score 14.2"),
}
REASONS = {
    "accepted": "",
    "junk": "words like those of junk, 0.98",
    "deferred": "unknown sender without SPF",
    "refused": "listed by bl.example as a source of spam",
}
CHECKS = (
    ("bans", "connect", "Asks the table of bans."),
    ("ptr", "sender", "The client's host name (RFC 8601 3)."),
    ("dnsbl", "sender", "Who is known for spam."),
    ("greylist", "recipient, message", "Strangers are asked to come back."),
    ("sender_authentication", "message", "Reads SPF, DKIM and DMARC."),
    ("bayes", "message", "-3 to +6, by account."),
)


class Door:
    """`decisions` decisions, the highest number the newest; a few who wait, are exempt or banned."""

    def __init__(self, decisions: int, now: datetime, text: Any, *, quiet: bool = False) -> None:
        self.now = now
        self.text = text
        self.decisions = decisions
        self.waiting = [] if quiet else list(range(1, 13))
        self.allowed = (
            [] if quiet else [("domain", "example.net", "our printer's maker"), ("recipient", "sales@example.org", "")]
        )
        self.bans: dict[str, dict[str, Any]] = {}
        self.modes: dict[str, str] = {}
        self.lists = not quiet
        self.rejects = [] if quiet else [9, 7, 4]
        if not quiet:
            self.add_ban({"network": "203.0.113.77", "reason": "guessed 12 passwords", "seconds": 1320}, "login")
            self.add_ban({"network": "198.51.100.0/24", "reason": "asked us to", "seconds": 0})

    # decisions

    def row(self, no: int) -> dict[str, Any]:
        outcome = OUTCOMES[no % 7]
        code, text = REPLIES[outcome]
        return {
            "no": no,
            "at": iso(self.now - timedelta(seconds=37 * (self.decisions - no))),
            "outcome": outcome,
            "trace_id": "" if outcome == "refused" else f"7F3A{no:06X}",
            "session_id": f"S{no:06X}",
            "remote": f"203.0.113.{no % 250}",
            "sender": self.text(FROM[no % 7]) if FROM[no % 7] else "",
            "recipients": [self.text(TO[no % 3]), *([TO[(no + 1) % 3]] if no % 5 == 0 else [])],
            "message_id": self.text(f"<{no}.2026@{(FROM[no % 7] or 'a@mx.example').partition('@')[2]}>"),
            "subject": self.text(SUBJECTS[no % 7]),
            "score": {"junk": 6.4, "refused": 14.2, "deferred": 1.5}.get(outcome, 0.0),
            "code": code,
            "text": self.text(text.format(f"7F3A{no:06X}")),
            "reason": self.text(REASONS[outcome]) if REASONS[outcome] else "",
        }

    def numbers(self, params: dict[str, Any]) -> list[int] | range:
        unknown = set(params) - {
            "words",
            "since_seconds",
            "until_seconds",
            "outcome",
            "problems",
            "before_no",
            "limit",
            "count",
        }
        assert not unknown, unknown
        found: list[int] | range = range(self.decisions, 0, -1)
        if params.get("problems"):
            found = [no for no in found if OUTCOMES[no % 7] in {"deferred", "refused"}]
        if params.get("outcome"):
            found = [no for no in found if OUTCOMES[no % 7] == params["outcome"]]
        for word in params.get("words", ()):
            found = [no for no in found if self.has(self.row(no), word)]
        return found

    @staticmethod
    def has(row: dict[str, Any], word: str) -> bool:
        addresses = [row["sender"], *row["recipients"]]
        if word.startswith("@"):
            return any(address.endswith(word) for address in addresses)
        return word in {*addresses, row["trace_id"], row["session_id"], row["remote"], row["message_id"]}

    def search(self, params: dict[str, Any]) -> dict[str, Any]:
        found = self.numbers(params)
        total = len(found) if params.get("count") else None
        before = params.get("before_no")
        if before is not None:
            found = (
                range(min(before - 1, self.decisions), 0, -1)
                if isinstance(found, range)
                else [no for no in found if no < before]
            )
        return {"rows": [self.row(no) for no in found[: params.get("limit", 100)]], "total": total}

    def log(self, args: dict[str, Any]) -> dict[str, Any]:
        found = self.numbers(args)
        return {"last_no": self.decisions, "newest_no": found[0] if found else 0}

    def trace(self, params: dict[str, Any]) -> dict[str, Any]:
        name = params["id"]
        if name.startswith("4XK"):
            no = 4
        elif not name.startswith(("7F3A", "S")):
            raise Refusal("trace.nothing", f"Nothing is known of {name}.", "Records are kept for 30 days.")
        else:
            no = int(name.removeprefix("7F3A").removeprefix("S"), 16) % max(1, self.decisions) or 1
        row = self.row(no)
        refused = row["outcome"] == "refused"
        why = {
            **row,
            "stage": "message",
            "service": "smtp",
            "remote_name": self.text("out-3.github.com"),
            "account": "",
            "helo": self.text("out-3.github.com"),
            "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384",
            "size_bytes": 41_984,
            "authentication": self.text("spf=pass github.com, dkim=pass github.com, dmarc=pass, arc=none, iprev=pass"),
            "junk_score": 5.0,
            "reject_score": 12.0,
            "findings": [
                {"check": "ptr", "reason": self.text("the host name does not lead back"), "score": 1.5},
                {
                    "check": "dnsbl",
                    "reason": self.text("bl.example: a source of spam"),
                    "score": 4.0,
                    "verdict": "reject",
                },
                {
                    "check": "bayes",
                    "reason": "0.98 of its words are those of junk",
                    "score": 5.0,
                    "account": "anna@example.org",
                },
                {
                    "check": "url_lists",
                    "reason": "a link leads to bad.example",
                    "score": 3.0,
                    "verdict": "junk",
                    "advisory": True,
                },
            ],
            "copies": []
            if refused
            else [
                {
                    "address": self.text("anna@example.org"),
                    "action": "stored",
                    "target": self.text("Git/Mails"),
                    "reason": "by the filter",
                    "steps": [self.text('line 3: header :contains "list-id" is true'), 'line 4: fileinto "Git/Mails"'],
                },
                {"address": "bob@elsewhere.example", "action": "redirected", "target": "bob@elsewhere.example"},
            ],
            "queue_ids": [] if refused else ["4XK000003"],
            "duration_seconds": 3.1,
        }
        events = [
            {
                "at": iso(self.now - timedelta(minutes=5 - index)),
                "verb": verb,
                "direction": "out",
                "queue_id": "4XK000003",
                "recipients": ["bob@elsewhere.example"],
                "remote": self.text("mx1.elsewhere.example"),
                "tls": "TLSv1.3",
                "code": code,
                "text": self.text(text),
                "reason": "",
                "duration_seconds": 1.2,
            }
            for index, (verb, code, text) in enumerate(
                (("attempt", 451, "4.7.1 try again in 300 seconds"), ("delivered", 250, "2.0.0 queued as 77AB"))
            )
        ]
        return {"decisions": [why], "events": [] if refused else events}

    # what holds mail up

    def spam(self) -> dict[str, Any]:
        return {
            "waiting": len(self.waiting),
            "allowed": len(self.allowed),
            "bans": len(self.bans),
            "lists_off": 1 if self.lists else 0,
        }

    def wait(self, number: int) -> dict[str, Any]:
        first = self.now - timedelta(minutes=4 * (13 - number))
        return {
            "greylist_id": number,
            "sender": self.text(f"news{number}@first{number % 3}.example") if number % 6 else "",
            "recipient": self.text(TO[number % 3]),
            "remote_ip": f"198.51.100.{number}",
            "origin": self.text("198.51.100.0/24"),
            "reason": self.text(("no SPF", "no host name of its own", "listed by bl.example")[number % 3]),
            "first_at": iso(first),
            "last_at": iso(first + timedelta(minutes=1)),
            "attempts": number % 3 + 1,
            "passes_at": iso(first + timedelta(minutes=5)),
            "passes_at_latest": iso(first + timedelta(hours=1)),
        }

    def waiting_page(self, params: dict[str, Any]) -> dict[str, Any]:
        assert set(params) <= {"offset", "limit", "text"}, params
        rows = [self.wait(number) for number in self.waiting]
        rows = [row for row in rows if params.get("text", "") in f"{row['sender']} {row['recipient']} {row['reason']}"]
        offset = params.get("offset", 0)
        return {"waiting": rows[offset : offset + params.get("limit", 1000)], "total": len(rows)}

    def let_in(self, params: dict[str, Any]) -> dict[str, Any]:
        if params["greylist_id"] not in self.waiting:
            raise Refusal("greylist.unknown", "Nobody waits under that number.", "R reloads the list.")
        self.waiting.remove(params["greylist_id"])
        return self.wait(params["greylist_id"])

    def allowances(self, _params: dict[str, Any]) -> dict[str, Any]:
        rows = [
            {
                "kind": kind,
                "value": self.text(value),
                "note": self.text(note),
                "created_at": iso(self.now - timedelta(days=3)),
            }
            for kind, value, note in sorted(self.allowed)
        ]
        return {"allowed": rows}

    def allow(self, params: dict[str, Any]) -> dict[str, Any]:
        value = params["value"]
        kind = params.get("kind") or ("sender" if "@" in value else "network" if value[:1].isdigit() else "domain")
        if " " in value or not value:
            raise Refusal("greylist.invalid", "That is no domain.", "Nothing was changed.")
        self.allowed.append((kind, value, params.get("note", "")))
        return {"kind": kind, "value": value, "note": params.get("note", ""), "created_at": iso(self.now)}

    def disallow(self, params: dict[str, Any]) -> dict[str, Any]:
        row = next(each for each in self.allowed if each[1] == params["value"])
        self.allowed.remove(row)
        return {"kind": row[0], "value": row[1], "note": row[2], "created_at": iso(self.now)}

    def ban_page(self, params: dict[str, Any]) -> dict[str, Any]:
        assert set(params) <= {"offset", "limit", "text"}, params
        rows = [row for row in self.bans.values() if params.get("text", "") in f"{row['network']} {row['reason']}"]
        return {"bans": rows[params.get("offset", 0) :], "total": len(rows)}

    def add_ban(self, params: dict[str, Any], source: str = "operator") -> dict[str, Any]:
        seconds = params.get("seconds", 0)
        if not params["network"][:1].isdigit():
            raise Refusal(
                "ban.invalid", f"{params['network']} is neither an address nor a network.", "Nothing was changed."
            )
        self.bans[params["network"]] = {
            "network": params["network"],
            "source": source,
            "reason": self.text(params.get("reason") or "banned by an administrator"),
            "made_at": iso(self.now - timedelta(minutes=8)),
            "expires_at": iso(self.now + timedelta(seconds=seconds)) if seconds else None,
            "without_effect": params["network"].startswith("127."),
        }
        return self.bans[params["network"]]

    def policy(self, _params: dict[str, Any]) -> dict[str, Any]:
        lists = [
            {
                "zone": "bl.example",
                "use": "block",
                "off": True,
                "meanings": [self.text("a source of spam +4"), "open relay +2"],
            },
            {"zone": "wl.example", "use": "allow", "off": False, "meanings": ["good mail -3"]},
        ]
        return {
            "junk_score": 5.0,
            "reject_score": 12.0,
            "checks": [
                {
                    "name": name,
                    "stage": stage,
                    "mode": self.modes.get(name, "enforce"),
                    "default_mode": "enforce",
                    "doc": self.text(doc),
                }
                for name, stage, doc in CHECKS
            ],
            "lists": lists if self.lists else [],
        }

    def set_mode(self, params: dict[str, Any]) -> dict[str, Any]:
        name = params["key"].removeprefix("policy.checks.")
        old = self.modes.get(name, "")
        self.modes[name] = params["value"]
        return {"key": params["key"], "old": old, "new": params["value"], "applied": "now", "more": []}

    def rejects_page(self, params: dict[str, Any]) -> dict[str, Any]:
        rows = [
            {
                "uid": uid,
                "refused_at": iso(self.now - timedelta(hours=3 * (10 - uid))),
                "size_bytes": 3_100 * uid,
                "from": self.text(f"Shop <shop{uid}@news.example>"),
                "subject": self.text(f"Invoice 223{uid}"),
            }
            for uid in self.rejects
        ]
        offset = params.get("offset", 0)
        return {
            "rejects": rows[offset : offset + params.get("limit", 100)],
            "total": len(rows),
            "mailbox": "Rejects",
            "uidvalidity": 77,
            "kept_days": 14,
        }

    def recover(self, params: dict[str, Any]) -> dict[str, Any]:
        assert params["uidvalidity"] == 77
        found = [uid for uid in params["uids"] if uid in self.rejects]
        self.rejects = [uid for uid in self.rejects if uid not in found]
        return {"recovered": len(found), "left_out": len(params["uids"]) - len(found)}

    def handlers(self) -> dict[str, Any]:
        """What each method does."""
        return {
            "trace.search": self.search,
            "trace.show": self.trace,
            "greylist.list": self.waiting_page,
            "greylist.let_in": self.let_in,
            "greylist.allowed": self.allowances,
            "greylist.allow": self.allow,
            "greylist.disallow": self.disallow,
            "ban.list": self.ban_page,
            "ban.add": self.add_ban,
            "ban.remove": lambda params: self.bans.pop(params["network"]),
            "policy.show": self.policy,
            "rejects.list": self.rejects_page,
            "rejects.recover": self.recover,
            "config.set": self.set_mode,
        }
