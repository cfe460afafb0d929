"""Letters of the pretend day: headers and text for every kind of sender, from small word lists and one seed."""

from __future__ import annotations

import base64
from datetime import datetime
from random import Random

from mailbox_app.mailauth.dkim_sign import DkimSigner, SigningKey
from mailbox_app.proto.dates import format_date

_PLAIN = (
    "meeting minutes attached agenda budget project review customer invoice delivery schedule tomorrow office train dinner "
    "garden children school lesson holiday photos weather thanks regards question answer draft report chapter version contract "
    "signature kitchen repair bicycle concert ticket doctor appointment neighbour birthday cake recipe library book return "
    "measurement server update release branch test patch bug fix documentation deadline travel hotel booking receipt order"
).split()
_NEWS = (
    "newsletter issue weekly offer members discount season collection webinar register unsubscribe browser view edition article "
    "read more editors picks event community catalogue shipping store voucher preferences subscription update account summary"
).split()
_JUNK = (
    "pharmacy pills viagra casino bonus winner lottery million dollars inheritance transfer urgent bitcoin profit guaranteed "
    "investment crypto loan approved weight loss miracle cheap replica watches enlarge hot singles click here now claim prize "
    "congratulations selected wallet seed verify password suspended account immediately limited offer act free cash"
).split()
_GLUE = "the a of and to in for with on from your our this that is are we you i it be will can please".split()
_VOCABULARY = {"plain": (_PLAIN, _PLAIN), "news": (_NEWS, _PLAIN), "junk": (_JUNK, _NEWS)}


def text(dice: Random, kind: str, words: int) -> str:
    """So many words, a third of them glue, a few from the neighbouring vocabulary."""
    own, other = _VOCABULARY[kind]
    chosen = []
    for _ in range(words):
        draw = dice.random()
        chosen.append(dice.choice(_GLUE if draw < 0.34 else other if draw < 0.42 else own))
    return " ".join(chosen)


def letter(
    dice: Random,
    at: datetime,
    *,
    kind: str,
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
    subject = text(dice, kind, dice.randrange(3, 7)).capitalize()
    lines = [
        f"From: {name or author.partition('@')[0].title()} <{author}>",
        f"To: <{to}>",
        f"Subject: {subject}",
        f"Date: {format_date(at).decode()}",
        *(f"{field}: {value}" for field, value in extra),
    ]
    if message_id:
        lines.append(f"Message-ID: <{dice.getrandbits(64):016x}@{author.partition('@')[2]}>")
    body = "\r\n".join(text(dice, kind, dice.randrange(8, 14)) for _ in range(dice.randrange(5, 25)))
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
