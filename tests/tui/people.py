"""Accounts and their deleted mail for the fixture daemon: canned, deterministic, changed by the methods that change them."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from tests.tui.refusal import Refusal, iso

NAMES = ("anna", "bob", "carl", "dora", "eva")
SUBJECTS = ("Invoice 2026-117", "Lunch on Friday?", "Re: offer for the new roof", "Photos", "")
SENDERS = ("Bob <bob@gmail.com>", "notify@github.com", "Ann Smith <ann@example.net>", "list@lists.example")
MAILBOXES = ("INBOX", "INBOX", "Sent", "Work/2026")
SIZE = 4_400_000_000


class People:
    """`accounts` accounts; the first of them has `deleted` deleted messages."""

    def __init__(self, accounts: int, deleted: int, now: datetime, text: Any) -> None:
        self.now = now
        self.text = text
        self.accounts = accounts
        self.deleted = deleted
        self.gone: set[int] = set()
        self.changed: dict[str, dict[str, Any]] = {}
        self.passwords = ["phone", "laptop", "printer"]
        self.fits = True
        self.kept_days = 14

    # accounts

    def address(self, index: int) -> str:
        return f"{NAMES[index]}@example.org" if index < len(NAMES) else f"user{index:06d}@example.org"

    def user(self, index: int) -> dict[str, Any]:
        state = "removed" if index == 4 else "disabled" if index == 3 else "active"
        used = None if state == "removed" else SIZE * (index * 3 % 5 + 1) // 3
        row = {
            "address": self.text(self.address(index)),
            "state": state,
            "quota_bytes": 0 if index % 4 == 3 else 8 * 1024**3,
            "used_bytes": used,
            "messages": None if used is None else 1204 * (index + 1),
            "created_at": iso(self.now - timedelta(days=400 - index % 300)),
            "last_login_at": None if index % 5 == 4 else iso(self.now - timedelta(minutes=5 * (index % 100 + 1) ** 3)),
            "quota_messages": 0,
        }
        return {**row, **self.changed.get(self.address(index), {})}

    def users(self, params: dict[str, Any]) -> dict[str, Any]:
        assert set(params) <= {"domain", "text", "state", "offset", "limit"}, params
        offset, limit = int(params.get("offset", 0)), int(params.get("limit", 1000))
        if not any(params.get(name) for name in ("domain", "text", "state")):
            rows = [self.user(index) for index in range(offset, min(offset + limit, self.accounts))]
            return {"users": rows, "total": self.accounts}
        found = [
            row
            for row in map(self.user, range(min(self.accounts, 1000)))
            if params.get("text", "") in row["address"]
            and params.get("state") in {None, row["state"]}
            and row["address"].endswith(params.get("domain", ""))
        ]
        return {"users": found[offset : offset + limit], "total": len(found)}

    def one(self, params: dict[str, Any]) -> dict[str, Any]:
        for index in range(min(self.accounts, 100)):
            if self.address(index) == params["address"] or self.user(index)["address"] == params["address"]:
                return self.user(index)
        raise Refusal("account.no_such_address", f"There is no account {params['address']}.", "Look at the list.")

    def change(self, params: dict[str, Any], **values: Any) -> dict[str, Any]:
        self.one(params)
        self.changed.setdefault(params["address"], {}).update(values)
        return self.one(params)

    def numbers(self, args: dict[str, Any]) -> dict[str, Any]:
        try:
            user: dict[str, Any] | None = self.one(args)
        except Refusal:
            user = None
        kept = self.kept()
        return {
            "user": user,
            "app_passwords": len(self.passwords),
            "kept_messages": len(kept),
            "kept_bytes": sum(self.mail(index)["size_bytes"] for index in kept[:1000]),
        }

    def app_passwords(self, _params: dict[str, Any]) -> dict[str, Any]:
        rows = [
            {
                "label": self.text(label),
                "protocols": ["imap", "smtp"] if number != 2 else ["smtp"],
                "created_at": iso(self.now - timedelta(days=30 * number + 1)),
            }
            for number, label in enumerate(self.passwords)
        ]
        return {"app_passwords": rows}

    def revoke(self, params: dict[str, Any]) -> dict[str, Any]:
        if params["label"] not in self.passwords:
            raise Refusal("account.no_such_app_password", "There is no such app password.", "Look at the list.")
        self.passwords.remove(params["label"])
        return {"label": params["label"], "protocols": [], "created_at": iso(self.now)}

    def mailboxes(self, _params: dict[str, Any]) -> dict[str, Any]:
        rows = [
            {
                "name": self.text(name),
                "messages": 1204 // (number + 1),
                "unseen": 12 if number == 0 else 0,
                "size_bytes": SIZE // (number + 1),
                "special_use": use,
            }
            for number, (name, use) in enumerate((("INBOX", ""), ("Sent", "Sent"), ("Trash", "Trash"), ("Work", "")))
        ]
        return {"mailboxes": rows, "search_bytes": 12_582_912, "search_waiting": 3}

    # deleted mail; the highest index is the newest

    def kept(self) -> list[int]:
        return [index for index in range(self.deleted - 1, -1, -1) if index not in self.gone]

    def mail(self, index: int) -> dict[str, Any]:
        back = self.deleted_at(index)
        return {
            "id": f"{index % 3 + 1}-{index}",
            "mailbox": self.text(MAILBOXES[index % 4]),
            "flags": ["Seen"] if index % 2 else [],
            "size_bytes": 2048 + index * 7919 % 300_000,
            "received_at": iso(back - timedelta(days=40)),
            "expunged_at": iso(back),
            "subject": self.text(SUBJECTS[index % 5]),
            "from": self.text(SENDERS[index % 4]),
        }

    def deleted_at(self, index: int) -> datetime:
        """Some hours between two; the first was deleted nearly 14 days ago."""
        return min(
            self.now - timedelta(days=13, hours=20) + timedelta(hours=8 * index), self.now - timedelta(minutes=5)
        )

    def meant(self, params: dict[str, Any]) -> list[int]:
        assert set(params) <= {"address", "mailbox", "since", "text", "plan", "before", "limit", "ids"}, params
        self.one(params)
        found = self.kept()
        if params.get("plan"):
            found = [index for index in found if index <= int(params["plan"].partition("-")[2])]
        if params.get("ids") is not None:
            found = [index for index in found if self.mail(index)["id"] in params["ids"]]
        if params.get("mailbox"):
            found = [index for index in found if self.mail(index)["mailbox"] == params["mailbox"]]
        if params.get("since"):
            found = [index for index in found if self.mail(index)["expunged_at"] >= params["since"]]
        if text := params.get("text", "").lower():
            rows = {index: self.mail(index) for index in found}
            found = [index for index in found if text in f"{rows[index]['subject']} {rows[index]['from']}".lower()]
        return found

    def retained(self, params: dict[str, Any]) -> dict[str, Any]:
        found = self.meant(params)
        if params.get("before"):
            found = [index for index in found if index < int(params["before"].partition("-")[2])]
        page = found[: params.get("limit", 100)]
        kept = self.kept()
        return {
            "messages": [self.mail(index) for index in page],
            "next": f"1-{page[-1]}" if len(page) < len(found) else None,
            "plan": params.get("plan") or (f"1-{page[0]}" if page else ""),
            "kept_messages": len(kept),
            "kept_bytes": sum(self.mail(index)["size_bytes"] for index in kept[:1000]),
            "kept_days": self.kept_days,
        }

    def plan(self, params: dict[str, Any]) -> dict[str, Any]:
        found = self.meant(params)
        counts = Counter(self.mail(index)["mailbox"] for index in found)
        return {
            "plan": params.get("plan") or (f"1-{found[0]}" if found else ""),
            "messages": len(found),
            "size_bytes": sum(self.mail(index)["size_bytes"] for index in found),
            "left_out": 0 if params.get("ids") is None else len(params["ids"]) - len(found),
            "mailboxes": [
                {"mailbox": name, "messages": number, "exists": name != "Work/2026"}
                for name, number in counts.most_common(20)
            ],
            "fits": self.fits,
        }

    def restore(self, params: dict[str, Any]) -> dict[str, Any]:
        found = self.meant(params)
        self.gone.update(found)
        return {
            "restored": len(found),
            "left_out": 0 if params.get("ids") is None else len(params["ids"]) - len(found),
            "messages": [
                {"id": self.mail(index)["id"], "mailbox": self.mail(index)["mailbox"], "uid": 9000 + index}
                for index in found[:1000]
            ],
        }

    def handlers(self) -> dict[str, Any]:
        """What each method does."""
        return {
            "user.list": self.users,
            "user.show": self.one,
            "user.mailboxes": self.mailboxes,
            "user.enable": lambda params: self.change(params, state="active"),
            "user.disable": lambda params: self.change(params, state="disabled"),
            "user.suspend": lambda params: self.change(
                params, state="disabled", sending="held", held_because="suspended by root"
            ),
            "user.resume": lambda params: self.change(params, state="active", sending="free", held_because=""),
            "user.restore": lambda params: self.change(params, state="active", used_bytes=1000, messages=1),
            "user.quota": lambda params: self.change(params, quota_bytes=params["quota_bytes"]),
            "app_password.list": self.app_passwords,
            "app_password.revoke": self.revoke,
            "retained.list": self.retained,
            "retained.plan": self.plan,
            "retained.restore": self.restore,
        }
