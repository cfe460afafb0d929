"""The arguments of the command that everybody's programs call `sendmail`.

Those that mean something here are understood; the many that other mail servers know are passed over, as those servers do with
each other's. Only an option whose value is missing is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailbox_app.errors import MailboxError

_WITH_VALUE = frozenset("ABCDFLNORVXbefhopr")
_MAYBE_VALUE = frozenset("dq")
"""Only what is attached: -q30m, -d8.1."""
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})


@dataclass(slots=True)
class Options:
    """What a program asks for."""

    mode: str = "m"
    """m: take a message; s: speak SMTP; p: list the queue; i: nothing to do (newaliases)."""
    from_header: bool = False
    """-t: recipients are those of the header."""
    dot_ends: bool = True
    """A line with a dot alone ends the message, unless -i."""
    sender: str | None = None
    """-f; "" is the null sender."""
    full_name: str = ""
    notify: str = ""
    ret: str = ""
    envid: str = ""
    recipients: list[str] = field(default_factory=list)


def parse(arguments: Sequence[str], called: str = "sendmail") -> Options:
    """The options, for the name that the program was called by; a `MailboxError` for what makes no sense."""
    options = Options(mode={"mailq": "p", "newaliases": "i"}.get(called, "m"))
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            options.recipients += waiting
            break
        if not word.startswith("-") or word == "-":
            options.recipients.append(word)
            continue
        _letters(options, word[1:], waiting)
    return options


def _letters(options: Options, letters: str, waiting: list[str]) -> None:
    """`-ti`, `-fa@b.example`, `-f a@b.example`: flags stand together, a value takes the rest or the next word."""
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in _MAYBE_VALUE:
            return
        if letter in _WITH_VALUE:
            if not letters and not waiting:
                raise MailboxError("sendmail.usage", f"the option -{letter} needs a value")
            _value(options, letter, letters or waiting.pop(0))
            return
        if letter == "t":
            options.from_header = True
        elif letter == "i":
            options.dot_ends = False


def _value(options: Options, letter: str, value: str) -> None:
    if letter in "fr":
        options.sender = value.strip().removeprefix("<").removesuffix(">")
    elif letter == "F":
        options.full_name = value
    elif letter == "o" and value == "i":
        options.dot_ends = False
    elif letter == "b":
        options.mode = {"s": "s", "p": "p", "i": "i"}.get(value[:1], "m")
    elif letter == "N":
        options.notify = _notify(value)
    elif letter == "R":
        options.ret = _ret(value)
    elif letter == "V":
        options.envid = value


def _notify(value: str) -> str:
    words = [word.strip() for word in value.upper().split(",")]
    if words == ["NEVER"] or (words and len(set(words)) == len(words) and _NOTIFY.issuperset(words)):
        return ",".join(words)
    raise MailboxError("sendmail.usage", "-N takes never, or some of success,failure,delay")


def _ret(value: str) -> str:
    if value.upper() not in ("FULL", "HDRS"):
        raise MailboxError("sendmail.usage", "-R takes full or hdrs")
    return value.upper()
