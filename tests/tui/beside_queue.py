"""What the fixture daemon knows beside the queue: history, hold rules, pauses, failing hosts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.tui.refusal import Refusal, iso


class BesideQueue:
    """Rules and pauses can be changed; the history has `left` recipients."""

    def __init__(self, now: datetime, text: Callable[[str], str], left: int = 30, *, quiet: bool = False) -> None:
        self.now, self.text = now, text
        self.left = 0 if quiet else left
        self.rules: list[dict[str, Any]] = []
        self.pauses: list[dict[str, Any]] = []
        self.hosts: list[dict[str, Any]] = []
        self.probed: list[str] = []
        self.keys: list[dict[str, Any]] = []
        self.suppressions: list[dict[str, Any]] = []
        if not quiet:
            self.add_rule({"submitter": "carl@example.org", "reason": self.text("password stolen (by root)")})
            self.keys.append(self.signing_key("r202611", "active", "signs until another one takes its place"))
            self.suppress({"address": "gone@far.example", "reason": self.text("550 5.1.1 no such user")})
            self.pause({"domain": "down.example", "reason": "they move (by root)"})
            self.hosts.append(
                {
                    "host": "mx1.example.net:25",
                    "state": "open",
                    "since": iso(self.now - timedelta(minutes=3)),
                    "next_probe": iso(self.now + timedelta(minutes=2)),
                    "why": self.text("It failed 5 times in a row (connection refused); one message tries it in 2 min."),
                }
            )

    def finished(self, index: int) -> dict[str, Any]:
        failed = index % 7 == 3
        return {
            "id": f"4XJ{index:06X}",
            "from": "info@example.org",
            "to": f"{index}.joe@gmail.com",
            "finished_at": iso(self.now - timedelta(minutes=7 * index)),
            "arrived_at": iso(self.now - timedelta(minutes=7 * index + 1)),
            "fate": "failed" if failed else "delivered",
            "code": 550 if failed else 250,
            "text": self.text("5.1.1 no such user" if failed else "2.0.0 OK"),
            "host": "gmail-smtp-in.l.google.com [192.0.2.7]",
            "tls": "TLSv1.3",
            "attempts": index % 3 + 1,
            "size_bytes": 4096,
        }

    def history(self, params: dict[str, Any]) -> dict[str, Any]:
        text = params["filter"].get("text", "")
        rows = [row for row in map(self.finished, range(self.left)) if text in f"{row['to']} {row['text']}"]
        offset, limit = params["offset"], params["limit"]
        return {"offset": offset, "more": len(rows) > offset + limit, "rows": rows[offset : offset + limit]}

    def story(self, name: str) -> dict[str, Any]:
        row = self.finished(int(name[3:], 16))
        return {
            "id": name,
            "from": row["from"],
            "size_bytes": 4096,
            "arrived_at": row["arrived_at"],
            "expires_at": None,
            "header": "",
            "recipients": [],
            "attempts": [],
            "finished": [row],
            "why": f"It has left the queue: delivered to {row['to']} 7 min ago (250 2.0.0 OK).",
        }

    def add_rule(self, params: dict[str, Any]) -> dict[str, Any]:
        rule = {
            "number": len(self.rules) + 1,
            "from": "",
            "to": "",
            "submitter": "",
            "made_at": iso(self.now),
            **params,
        }
        self.rules.append(rule)
        return rule

    def remove_rule(self, params: dict[str, Any]) -> dict[str, Any]:
        found = [rule for rule in self.rules if rule["number"] == params["number"]]
        if not found:
            raise Refusal("queue.no_such_rule", "there is no hold rule with this number", "")
        self.rules.remove(found[0])
        return {**found[0], "changed": 2 if params.get("release") else 0}

    def pause(self, params: dict[str, Any]) -> dict[str, Any]:
        pause = {**params, "made_at": iso(self.now - timedelta(hours=3))}
        self.pauses.append(pause)
        self.pauses.sort(key=lambda each: str(each["domain"]))
        return pause

    def resume(self, params: dict[str, Any]) -> dict[str, Any]:
        ended = [each for each in self.pauses if each["domain"] == params["domain"]]
        if not ended:
            raise Refusal("queue.not_paused", "delivery is not paused there", "")
        self.pauses.remove(ended[0])
        return ended[0]

    def probe(self, params: dict[str, Any]) -> dict[str, Any]:
        self.probed.append(params["host"])
        return {"effect": "One message tries it now: 4XK000001 to ann@example.net."}

    def reset(self, params: dict[str, Any]) -> dict[str, Any]:
        self.hosts = [each for each in self.hosts if each["host"] != params["host"]]
        return {"effect": "Mail for it goes as usual; 9 waiting recipients are tried now."}

    def signing_key(self, selector: str, state: str, then: str) -> dict[str, Any]:
        return {
            "domain": "example.org",
            "selector": selector,
            "algorithm": "rsa",
            "state": state,
            "created_at": iso(self.now - timedelta(days=9)),
            "next": self.text(then),
            "record_name": f"{selector}._domainkey.example.org.",
            "record_value": "v=DKIM1; k=rsa; p=MIIB",
        }

    def check_keys(self, _params: dict[str, Any]) -> dict[str, Any]:
        rows = [{**key, "seen": "no", "sentence": self.text("its record is not published")} for key in self.keys]
        return {"ok": False, "keys": rows}

    def rotate_keys(self, _params: dict[str, Any]) -> dict[str, Any]:
        self.keys.append(self.signing_key("r202612", "prepared", "publish its record"))
        return {"keys": self.keys[-1:]}

    def suppress(self, params: dict[str, Any]) -> dict[str, Any]:
        entry = {"address": params["address"], "days": 0, "last_at": iso(self.now), "text": params["reason"]}
        self.suppressions.append(entry)
        return entry

    def unsuppress(self, params: dict[str, Any]) -> dict[str, Any]:
        self.suppressions = [each for each in self.suppressions if each["address"] != params["address"]]
        return {}

    def handlers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "queue.history": self.history,
            "queue.rules": lambda _: {"rules": self.rules},
            "queue.add_rule": self.add_rule,
            "queue.remove_rule": self.remove_rule,
            "queue.pauses": lambda _: {"pauses": self.pauses},
            "queue.pause": self.pause,
            "queue.resume": self.resume,
            "breaker.list": lambda _: {
                "breakers": self.hosts,
                "total": len(self.hosts),
                "passed_over": len(self.hosts),
            },
            "dkim.list": lambda _: {"keys": self.keys},
            "dkim.check": self.check_keys,
            "dkim.rotate": self.rotate_keys,
            "suppression.list": lambda _: {"suppressions": self.suppressions},
            "suppression.add": self.suppress,
            "suppression.remove": self.unsuppress,
            "breaker.probe": self.probe,
            "breaker.reset": self.reset,
        }
