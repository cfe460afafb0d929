"""Dialogs with the command line against a real server: what is typed, what is printed, the exit code."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailbox_app.cli.main import main
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.model import SystemFlag
from tests.support.control import Appliance, Background
from tests.support.dns import FakeResolver

Run = Callable[..., tuple[int, str, str]]
PASSWORD = "correct horse battery\n"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        yield made


@pytest.fixture
def run(appliance: Appliance, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*words: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = main(["--config", str(appliance.config_path), *words])
        out, err = capsys.readouterr()
        return code, re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\dZ", "TIME", out), err

    return command


@pytest.fixture
def filled(run: Run) -> Run:
    run("domain", "add", "example.org")
    run("user", "add", "alice@example.org", "--password-file", "-", stdin=PASSWORD)
    return run


def test_a_domain_and_an_account_from_nothing(run: Run, tmp_path: Path) -> None:
    assert run("domain", "list") == (0, "There is no domain yet: mailbox domain add example.org\n", "")
    assert run("domain", "add", "Example.org") == (
        0, "Added example.org. Its DNS records: mailbox domain dns example.org\n", "",
    )  # fmt: skip
    assert run("user", "add", "alice@example.org", "--password-file", "-", stdin=PASSWORD) == (
        0, "Added alice@example.org.\n", "",
    )  # fmt: skip
    (tmp_path / "password").write_text("another good one\n")
    assert run("user", "add", "bob@example.org", "--quota", "2G", "--password-file", str(tmp_path / "password"))[0] == 0
    assert run("user", "list")[1] == (
        "ADDRESS            STATE   MESSAGES  USED  QUOTA     LAST LOGIN\n"
        "alice@example.org  active         0  0 B   no limit           -\n"
        "bob@example.org    active         0  0 B   2.0 GB             -\n"
    )
    assert run("domain", "list")[1] == (
        "DOMAIN       ACCOUNTS  ALIASES  DKIM  SINCE\n"
        "example.org         2        0     -  TIME\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("domain", "add", "example.org"), "mailbox: example.org is one of our domains already.\n"),
        (("domain", "add", "a b"), "mailbox: 'a b' is not a domain name.\n"),
        (
            ("user", "add", "bob@nope.org", "--password-file", "-"),
            "mailbox: nope.org is not one of our domains. Add it first: mailbox domain add nope.org\n",
        ),
        (("user", "show", "ghost@example.org"), "mailbox: there is no account ghost@example.org.\n"),
        (("alias", "remove", "ghost@example.org"), "mailbox: there is no alias ghost@example.org.\n"),
        (("audit", "show", "999"), "mailbox: there is no audit entry 999.\n"),
        (("config", "get", "nope"), "mailbox: nope: there is no such setting; config show lists all.\n"),
        (("domain", "remove", "example.org"),
         "mailbox: example.org still has 1 account(s) and 0 alias(es). Remove them first.\n"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_sentence_and_exit_1(filled: Run, words: tuple[str, ...], sentence: str) -> None:
    assert filled(*words, stdin=PASSWORD) == (1, "", sentence)


def test_a_password_never_comes_from_the_command_line(filled: Run) -> None:
    code, _, err = filled("user", "password", "alice@example.org")
    assert code == 2
    assert "--password-file" in err
    assert filled("user", "password", "alice@example.org", "--password", "x")[0] == 2
    code, _, err = filled("user", "password", "alice@example.org", "--password-file", "-", stdin="short\n")
    assert (code, err) == (
        1, "mailbox: the password has 5 bytes and needs at least 8. Choose one of 12 characters or more.\n",
    )  # fmt: skip
    assert filled("user", "password", "alice@example.org", "--password-file", "-", stdin="eight888\n") == (
        0, "alice@example.org has a new password.\n", "A password of 12 characters or more is recommended.\n",
    )  # fmt: skip
    assert filled("user", "password", "alice@example.org", "--password-file", "/nope")[2] == (
        "mailbox: /nope: No such file or directory.\n"
    )


def test_an_account_is_changed_removed_and_brought_back(filled: Run) -> None:
    assert filled("user", "quota", "alice@example.org", "500M")[1] == "alice@example.org may use 500 MB and uses 0 B.\n"
    assert filled("user", "disable", "alice@example.org")[1] == (
        "alice@example.org is disabled; its mail is still accepted.\n"
    )
    assert filled("user", "enable", "alice@example.org")[1] == "alice@example.org is enabled.\n"
    assert filled("user", "remove", "alice@example.org", "--dry-run")[1] == (
        "Would move alice@example.org with 0 messages (0 B) to the trash for 30 days.\n"
    )
    assert "For 30 days" in filled("user", "remove", "alice@example.org")[1]
    assert "removed" in filled("user", "list", "example.org")[1]
    assert filled("user", "restore", "alice@example.org")[1] == "Restored alice@example.org with 0 messages.\n"


def test_app_passwords_are_shown_once_and_revoked(filled: Run) -> None:
    code, password, told = filled("user", "app-password", "add", "alice@example.org", "phone", "--protocol", "pop3")
    assert (code, told) == (0, "Good for pop3. It is not shown again.\n")
    assert re.fullmatch(r"([a-z]{4}-){4}[a-z]{4}\n", password)
    listed = filled("user", "app-password", "list", "alice@example.org")[1]
    assert listed == "LABEL  PROTOCOLS  SINCE\nphone  pop3       TIME\n"
    assert password.strip() not in filled("audit", "list", "--json")[1]
    again = filled("user", "app-password", "add", "alice@example.org", "phone")
    assert again == (1, "", "mailbox: alice@example.org has an app password phone already.\n")
    assert filled("user", "app-password", "add", "alice@example.org", "x", "--protocol", "ftp")[2] == (
        "mailbox: an app password is for some of imap, smtp, pop3, managesieve, dav.\n"
    )
    assert filled("user", "app-password", "revoke", "alice@example.org", "phone")[1] == (
        "Revoked phone of alice@example.org.\n"
    )
    assert filled("user", "app-password", "list", "alice@example.org")[1] == "This account has no app password.\n"
    assert filled("user", "app-password", "revoke", "alice@example.org", "phone")[0] == 1


def test_a_certificate_and_its_key_are_set_together(filled: Run) -> None:
    assert filled("config", "set", "tls.cert_file", "/nope.pem")[0] == 1
    done = filled("config", "set", "limits.max_recipients", "7", "greylist.enabled", "false")
    assert done[:2] == (0, "limits.max_recipients: 100 is now 7\ngreylist.enabled: true is now false\n")
    assert filled("config", "set", "limits.max_recipients", "7", "greylist.enabled")[0] == 2


def test_aliases(filled: Run) -> None:
    assert filled("alias", "add", "info@example.org", "alice@example.org", "Bob@Elsewhere.net")[1] == (
        "info@example.org leads to alice@example.org, Bob@elsewhere.net.\n"
    )
    assert filled("alias", "list")[1] == (
        "ALIAS             LEADS TO                              SINCE              KIND\n"
        "info@example.org  alice@example.org, Bob@elsewhere.net  TIME  alias\n"
    )
    assert filled("alias", "remove", "info@example.org")[0] == 0
    assert filled("alias", "list")[1].startswith("There is no alias")


def test_a_list_is_made_changed_and_shown(filled: Run) -> None:
    words = ("--list", "--post", "posters", "--poster", "alice@example.org", "--owner", "alice@example.org")
    assert filled("alias", "add", "dev@example.org", "x@elsewhere.net", *words, "--max-size", "2M")[0] == 0
    assert filled("alias", "update", "dev@example.org", "--description", "Developers", "--disabled")[1] == (
        "dev@example.org leads to x@elsewhere.net. It is disabled: mail is refused.\n"
    )
    shown = json.loads(filled("alias", "show", "dev@example.org", "--json")[1])
    assert (shown["kind"], shown["post"], shown["posters"], shown["owner"], shown["max_bytes"]) == (
        "list", "posters", ["alice@example.org"], "alice@example.org", 2 << 20,
    )  # fmt: skip
    assert (shown["description"], shown["enabled"], shown["members_may_send"]) == ("Developers", False, False)
    assert "list, posters post, disabled" in filled("alias", "list")[1]
    assert "may post         posters alice@example.org" in filled("alias", "show", "dev@example.org")[1]
    assert filled("alias", "update", "ghost@example.org", "--disabled")[0] == 1
    entry = json.loads(filled("audit", "export")[1].splitlines()[-2])
    assert entry["what"] == "alias.update"
    assert ('"enabled":true' in entry["before"], '"enabled":false' in entry["after"]) == (True, True)


def test_a_domain_stands_for_another_and_has_its_own_separators(filled: Run) -> None:
    assert filled("domain", "add", "bücher.example", "--alias-of", "example.org")[0] == 0
    shown = filled("domain", "show", "BÜCHER.example")[1]
    assert "xn--bcher-kva.example" in shown
    assert "bücher.example" in shown
    assert "stands for" in shown
    refused = filled("alias", "add", "x@bücher.example", "alice@example.org")[2]
    assert refused.startswith("mailbox: xn--bcher-kva.example stands for example.org")
    assert "stands for example.org" in filled("domain", "remove", "example.org")[2]
    assert filled("domain", "separators", "example.org", "+-")[1] == "example.org: details behind any of +-.\n"
    assert filled("domain", "separators", "example.org", "")[1] == "example.org: no details.\n"
    assert filled("domain", "separators", "example.org", "--default")[1] == (
        "example.org: details as the configuration says.\n"
    )
    assert filled("domain", "separators", "example.org")[0] == 2
    assert filled("domain", "separators", "example.org", "x")[0] == 1


def test_signing_keys_and_zone_lines(filled: Run) -> None:
    assert "No domain has a key" in filled("dkim", "list")[1]
    code, out, _ = filled("dkim", "generate", "example.org", "--json")
    keys = json.loads(out)["keys"]
    assert (code, [key["algorithm"] for key in keys]) == (0, ["rsa", "ed25519"])
    zone = filled("domain", "dns", "example.org", "--zone")[1]
    rsa = next(line for line in zone.splitlines() if "k=rsa" in line)
    strings = re.findall(r'"([^"]*)"', rsa)
    assert "".join(strings) == keys[0]["record_value"]
    assert all(len(string) <= 255 for string in strings)
    assert 'TXT "v=spf1 mx -all"' in zone
    code, _, told = filled("dkim", "generate", "example.org")
    assert (code, "already" in told, "mailbox dkim rotate example.org" in told) == (1, True, True)
    assert filled("dkim", "retire", "example.org", keys[0]["selector"])[0] == 0
    assert "retiring" in filled("dkim", "list", "example.org")[1]
    assert [key["domain"] for key in json.loads(filled("dkim", "list", "--json")[1])["keys"]] == ["example.org"] * 2
    assert "keep this record while mail signed with it is under way" in filled("dkim", "dns", "example.org")[1]
    assert '" "' in filled("dkim", "dns", "example.org", "--split")[1]


def test_only_the_missing_key_is_made(filled: Run) -> None:
    filled("dkim", "generate", "example.org", "--algorithm", "rsa")
    made = json.loads(filled("dkim", "generate", "example.org", "--algorithm", "both", "--json")[1])
    assert made["algorithm"] == "ed25519"


def test_the_records_of_a_domain_are_compared_with_dns(filled: Run, appliance: Appliance) -> None:
    key = json.loads(filled("dkim", "generate", "example.org", "--algorithm", "ed25519", "--json")[1])
    resolver = appliance.context.resolver
    assert isinstance(resolver, FakeResolver)
    resolver.zone = {
        ("example.org", "MX"): ["5 backup.example.net.", "20 Mail.Example.org."],
        ("example.org", "TXT"): ["site-verification=1", "v=spf1 ip4:192.0.2.1 mx ~all"],
        ("mail.example.org", "TXT"): ["v=spf1 ip4:192.0.2.7 -all"],
        (key["record_name"].rstrip("."), "TXT"): [key["record_value"].replace("; ", ";")],
        ("_dmarc.example.org", "TXT"): ["v=DMARC1; p=reject"],
        ("_imaps._tcp.example.org", "SRV"): ["0 5 993 mail.example.org."],
    }
    resolver.broken = {("_smtp._tls.example.org", "TXT")}
    code, out, _ = filled("domain", "dns", "example.org", "--check", "--json")
    states = {(each["type"], each["name"]): each["state"] for each in json.loads(out)["records"]}
    assert (code, states) == (1, {
        ("MX", "example.org."): "ok",
        ("TXT", "example.org."): "ok",
        ("TXT", "mail.example.org."): "differs",
        ("TXT", key["record_name"]): "ok",
        ("TXT", "_dmarc.example.org."): "ok",
        ("TXT", "_smtp._tls.example.org."): "unknown",
        ("SRV", "_imaps._tcp.example.org."): "ok",
        ("SRV", "_sieve._tcp.example.org."): "missing",
        ("SRV", "_submissions._tcp.example.org."): "missing",
        ("SRV", "_submission._tcp.example.org."): "missing",
    })  # fmt: skip
    out = filled("domain", "dns", "example.org", "--check")[1]
    assert "found  v=spf1 ip4:192.0.2.7 -all" in out
    assert out.endswith(
        "4 of 10 are not as they should be.\n1 could not be looked up: DNS does not answer; try again.\n"
    )
    assert filled("domain", "dns", "example.org", "--check", "--zone")[0] == 2


def test_a_dry_run_changes_nothing(filled: Run) -> None:
    filled("alias", "add", "info@example.org", "alice@example.org")
    filled("dkim", "generate", "example.org", "--selector", "one")
    before = filled("audit", "list", "--json")[1]
    for words, told in (
        (("alias", "remove", "info@example.org"), "Would remove info@example.org, which leads to alice@example.org.\n"),
        (("dkim", "retire", "example.org", "one"), "Would retire one of example.org for good; mail is then not signed any more.\n"),
        (("user", "remove", "alice@example.org"), "Would move alice@example.org with 0 messages (0 B) to the trash for 30 days.\nStill named by info@example.org: mailbox alias update\n"),  # noqa: E501
        (("domain", "remove", "example.org"), "Would be refused: it has 1 account(s) and 1 alias(es).\n"),
    ):  # fmt: skip
        assert filled(*words, "--dry-run")[:2] == (0, told)
    assert filled("audit", "list", "--json")[1] == before


def test_all_changes_are_exported_oldest_first(filled: Run) -> None:
    assert filled("config", "history")[1] == "No setting was changed yet.\n"
    filled("config", "set", "limits.max_recipients", "7")
    lines = [json.loads(line) for line in filled("audit", "export")[1].splitlines()]
    assert [(line["no"], line["what"]) for line in lines] == [(1, "domain.add"), (2, "user.add"), (3, "config.set")]
    assert len(filled("audit", "export", "--since", "1h")[1].splitlines()) == 3
    assert "limits.max_recipients     100      7  ok" in filled("config", "history")[1]


@pytest.mark.parametrize("stray", ["pass\udcffword word", "\udcff"])
def test_a_password_that_is_no_text_is_refused_in_one_sentence(filled: Run, stray: str) -> None:
    code, _, err = filled("user", "password", "alice@example.org", "--password-file", "-", stdin=stray)
    assert (code, err) == (1, "mailbox: the password is not UTF-8 text. Write it anew in UTF-8.\n")


def test_the_queue_by_id_and_by_filter(appliance: Appliance, filled: Run) -> None:
    assert filled("queue", "list") == (0, "Nothing is waiting.\n", "")
    queue_id = appliance.enqueue("alice@example.org", ["x@a.example", "y\x1b[2J@b.example"])
    assert filled("queue", "list")[1] == (
        "2 waiting, oldest 0 s.\n\n"
        "ID             STATE     NEXT               TRIES  SIZE  FROM               TO               LAST ANSWER\n"
        f"{queue_id}  deferred  TIME      0  22 B  alice@example.org  x@a.example                -\n"
        f"{queue_id}  deferred  TIME      0  22 B  alice@example.org  y\ufffd[2J@b.example            -\n"
    )
    assert filled("queue", "hold", queue_id, "--dry-run")[1].startswith("Would be: 2 recipients of 1 message held")
    assert filled("queue", "hold", "--to", "x@a.example")[1] == "Done: 1 recipient of 1 message held until released.\n"
    assert filled("queue", "release", "--all")[1] == "Done: 1 recipient of 1 message released and tried now.\n"
    assert filled("queue", "hold", "--older-than", "2h")[1] == "Nothing in the queue matches.\n"
    code, _, told = filled("queue", "drop", "4XK000000")
    assert (code, "none of these messages is in the queue" in told) == (1, True)
    assert "Subject: hello" in filled("queue", "show", queue_id)[1]
    assert filled("queue", "drop", queue_id)[1] == "Done: 2 recipients of 1 message dropped; nobody is told.\n"
    assert json.loads(filled("queue", "stats", "--json")[1])["recipients"] == 0


def test_what_is_being_delivered_is_told_and_can_be_held(appliance: Appliance, filled: Run) -> None:
    queue_id = appliance.enqueue("alice@example.org", ["x@a.example"])
    context = appliance.context
    (lease,) = context.queue.claim(context.clock.now(), limit=1, lease_seconds=60)
    busy = "1 more match and are being delivered right now: wait a little and repeat, or hold them.\n"
    assert filled("queue", "drop", queue_id)[1] == busy
    assert filled("queue", "hold", queue_id)[1] == "Done: 1 recipient of 1 message held until released.\n"
    context.queue.release(lease)
    assert json.loads(filled("queue", "list", "--json")[1])["rows"][0]["state"] == "held"


def test_a_queue_action_without_a_choice_is_a_usage_error(filled: Run) -> None:
    code, out, err = filled("queue", "drop")
    assert (code, out) == (2, "")
    assert "--all" in err


def test_settings(filled: Run, appliance: Appliance) -> None:
    assert filled("config", "get", "limits.max_recipients")[1] == "100\n"
    assert filled("config", "set", "limits.max_recipients", "50") == (
        0, "limits.max_recipients: 100 is now 50\n", "",
    )  # fmt: skip
    assert appliance.config_path.read_text().startswith("# ours\n")
    code, out, _ = filled("config", "set", "listen.smtp", '["*:2525"]')
    assert (code, out.splitlines()[-1]) == (3, "It takes effect when the server is started again.")
    assert filled("config", "show", "--changed")[1].endswith("[limits]\nmax_recipients = 50\n")


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("status",), "listeners"), (("domain", "list"), "domains"), (("domain", "show", "example.org"), "name"),
        (("domain", "dns", "example.org"), "records"), (("user", "list"), "users"),
        (("user", "show", "alice@example.org"), "quota_bytes"), (("alias", "list"), "aliases"),
        (("dkim", "list", "example.org"), "keys"), (("dkim", "dns", "example.org"), "records"), (("queue", "list"), "rows"),
        (("queue", "stats"), "by_destination"), (("config", "show"), "sections"),
        (("config", "get", "log.level"), "doc"), (("config", "check"), "ok"), (("audit", "list"), "entries"),
        (("audit", "show", "1"), "result"), (("audit", "verify"), "broken_at"), (("check-store",), "problems"),
        (("version",), "version"),
    ],
)  # fmt: skip
def test_every_reading_command_speaks_json(filled: Run, words: tuple[str, ...], key: str) -> None:
    code, out, err = filled(*words, "--json")
    assert (code, err) == (0, "")
    assert key in json.loads(out)


def test_the_audit_names_who_did_what_by_which_way(filled: Run) -> None:
    entries = json.loads(filled("audit", "list", "--json")[1])["entries"]
    assert [(entry["what"], entry["object"], entry["via"], entry["result"]) for entry in entries] == [
        ("user.add", "alice@example.org", "cli", "ok"),
        ("domain.add", "example.org", "cli", "ok"),
    ]
    assert filled("audit", "verify")[1] == "All 2 entries are as they were written.\n"
    assert filled("audit", "list", "--what", "user", "--since", "1h")[1].count("\n") == 2


def test_the_store_is_checked_and_rebuilt(filled: Run) -> None:
    assert filled("check-store")[1] == "1 account(s) checked, no difference(s).\n"
    assert filled("rebuild-index", "alice@example.org")[1] == "alice@example.org: 0 messages\n"
    assert filled("rebuild-index", "--all")[1] == "alice@example.org: 0 messages\n"
    told = filled("rebuild-index", "--search", "alice@example.org")[1]
    assert told.startswith("alice@example.org: 0 messages, ")
    assert told.endswith(" kB on disk\n")
    assert filled("rebuild-index")[0] == 2


def test_status_for_people(filled: Run) -> None:
    code, out, _ = filled("status")
    assert code == 0
    assert "mail.example.org, ready" in out
    assert "imaps    127.0.0.1  40123" in out


def expunged(appliance: Appliance, *texts: str) -> None:
    ref = appliance.context.directory.existing("alice@example.org").ref
    account = appliance.context.store.account(ref)
    for text in texts:
        data = text.encode()
        staged = appliance.context.store.stage(ref, Content(b"", data, len(data)))
        account.append([NewMessage(staged, "INBOX", int(SystemFlag.DELETED))])
        account.expunge(account.mailbox("INBOX").mailbox_id, None)


def test_expunged_messages_are_listed_and_brought_back(filled: Run, appliance: Appliance) -> None:
    assert filled("user", "restore", "alice@example.org", "--messages")[1] == "No expunged message is kept.\n"
    expunged(appliance, "From: a@x.org\r\nSubject: one\r\n\r\n", "From: b@x.org\r\nSubject: two\r\n\r\n")
    assert filled("user", "restore", "alice@example.org", "--search", "TWO")[1] == (
        "ID   EXPUNGED           MAILBOX  SIZE  FROM     SUBJECT\n"
        "1-2  TIME  INBOX    31 B  b@x.org  two\n"
        "\nBring some back with --id ID, or these with --all: mailbox user restore alice@example.org\n"
    )
    assert filled("user", "restore", "alice@example.org", "--all", "--dry-run")[1].startswith(
        "Would restore 2 messages:\n"
    )
    assert filled("user", "restore", "alice@example.org", "--id", "1-1")[1] == (
        "Restored 1 message of alice@example.org.\n"
    )
    assert filled("user", "restore", "alice@example.org", "--id", "1-1")[1] == (
        "Restored 0 messages of alice@example.org.\n1 are not kept any more.\n"
    )
    answer = json.loads(filled("user", "restore", "alice@example.org", "--all", "--since", "1d", "--json")[1])
    assert answer == {"restored": 1, "left_out": 0, "messages": [{"id": "1-2", "mailbox": "INBOX", "uid": 4}]}
    assert json.loads(filled("user", "restore", "alice@example.org", "--messages", "--json")[1]) == {
        "messages": [], "next": None, "plan": "", "kept_messages": 0, "kept_bytes": 0, "kept_days": 14,
    }  # fmt: skip
    assert json.loads(filled("audit", "list", "--json")[1])["entries"][0]["what"] == "retained.restore"
    assert filled("user", "restore", "alice@example.org", "--id", "nonsense")[0] == 1
    assert filled("user", "restore", "alice@example.org", "--id", "1-1", "--all")[0] == 2


def test_mailboxes_are_listed_with_counts(filled: Run) -> None:
    code, out, _ = filled("user", "mailboxes", "alice@example.org")
    assert code == 0
    assert out.splitlines()[0].split() == ["MAILBOX", "MESSAGES", "UNSEEN", "SIZE", "USE"]
    assert out.splitlines()[1].split()[:3] == ["INBOX", "0", "0"]
    names = [
        each["name"] for each in json.loads(filled("user", "mailboxes", "alice@example.org", "--json")[1])["mailboxes"]
    ]
    assert names[0] == "INBOX"
    assert "Sent" in names


def test_restoring_a_removed_account_can_be_tried_first(filled: Run) -> None:
    assert filled("user", "restore", "alice@example.org", "--dry-run")[1] == (
        "Would find nothing to restore of alice@example.org.\n"
    )
    filled("user", "remove", "alice@example.org")
    assert filled("user", "restore", "alice@example.org", "--dry-run")[1] == "Would restore alice@example.org.\n"
    assert json.loads(filled("user", "restore", "alice@example.org", "--json")[1])["state"] == "active"
