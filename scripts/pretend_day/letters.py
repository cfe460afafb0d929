"""Letters of the pretend day: headers and text for every kind of sender, in a language made up from one seed."""

from __future__ import annotations

import base64
from datetime import datetime
from random import Random

from mailbox_app.mailauth.dkim_sign import DkimSigner, SigningKey
from mailbox_app.proto.dates import format_date

_SYLLABLES = [
    one + two for one in "b d f g k l m n p r s t v z br st tr pl".split() for two in "a e i o u ai en or".split()
]
_COMMON, _TOPICS, _CAMPAIGNS = 300, 60, 12


class Language:
    """Made-up words: common ones, honest topics, the manner of newsletters, and campaigns whose words are half other people's."""

    def __init__(self, dice: Random) -> None:
        self._taken: set[str] = set()
        self._common = self._words(dice, _COMMON)
        self._manner = self._words(dice, 80)
        self._topics = [self._words(dice, 120) for _ in range(_TOPICS)]
        self._campaigns = [
            self._words(dice, 40) + dice.sample(self._manner, 15) + dice.sample(dice.choice(self._topics), 25)
            for _ in range(_CAMPAIGNS)
        ]

    def _words(self, dice: Random, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            word = "".join(dice.choice(_SYLLABLES) for _ in range(dice.choice((1, 2, 2, 3, 3, 4))))
            if len(word) > 2 and word not in self._taken:
                self._taken.add(word)
                found.append(word)
        return found

    def text(self, dice: Random, kind: str, topic: int, count: int) -> str:
        """So many words; frequent ones are very frequent, as in any language."""
        return " ".join(_often(dice, self._source(dice, kind, topic)) for _ in range(count))

    def _source(self, dice: Random, kind: str, topic: int) -> list[str]:
        """Where the next word is from: each kind of letter has some of everything."""
        draw = dice.random()
        if draw < 0.45:
            return self._common
        if draw < 0.53:
            return dice.choice(self._topics)
        if kind == "plain":
            return self._topics[topic % _TOPICS]
        if kind == "news":
            return self._manner if draw < 0.72 else self._topics[topic % _TOPICS]
        if kind == "mimic":
            return self._manner if draw < 0.72 else self._campaigns[topic % _CAMPAIGNS]
        return self._campaigns[topic % _CAMPAIGNS]


def _often(dice: Random, words: list[str]) -> str:
    return words[int(len(words) * dice.random() ** 2)]


def letter(
    dice: Random,
    language: Language,
    at: datetime,
    *,
    kind: str,
    topic: int,
    author: str,
    to: str,
    key: SigningKey | None = None,
    name: str = "",
    extra: tuple[tuple[str, str], ...] = (),
    link: str = "",
    attachment: str = "",
    message_id: bool = True,
) -> bytes:
    """One message with CRLF lines, signed when a key is given."""
    subject = language.text(dice, kind, topic, dice.randrange(3, 7)).capitalize()
    lines = [
        f"From: {name or author.partition('@')[0].title()} <{author}>",
        f"To: <{to}>",
        f"Subject: {subject}",
        f"Date: {format_date(at).decode()}",
        *(f"{field}: {value}" for field, value in extra),
    ]
    if message_id:
        lines.append(f"Message-ID: <{dice.getrandbits(64):016x}@{author.partition('@')[2]}>")
    body = "\r\n".join(language.text(dice, kind, topic, dice.randrange(8, 14)) for _ in range(dice.randrange(5, 25)))
    if link:
        body += f"\r\n\r\nhttps://{link}/{dice.getrandbits(32):x}"
    lines.append("MIME-Version: 1.0")
    if attachment:
        data = base64.b64encode(b"MZ" + dice.randbytes(900)).decode()
        wrapped = "\r\n".join(data[start : start + 76] for start in range(0, len(data), 76))
        lines.append('Content-Type: multipart/mixed; boundary="b"')
        body = (
            f"--b\r\nContent-Type: text/plain\r\n\r\n{body}\r\n--b\r\nContent-Type: application/octet-stream\r\n"
            f'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="{attachment}"\r\n\r\n'
            f"{wrapped}\r\n--b--"
        )
    else:
        lines.append("Content-Type: text/plain; charset=utf-8")
    header = ("\r\n".join(lines) + "\r\n\r\n").encode()
    content = body.encode() + b"\r\n"
    return (DkimSigner().sign([key], header, content, int(at.timestamp())) if key else b"") + header + content
