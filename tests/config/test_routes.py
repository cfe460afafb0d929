from __future__ import annotations

from pathlib import Path

import pytest

from mailbox_app.config.load import parse
from mailbox_app.config.schema import Config
from mailbox_app.errors import ConfigError

HEAD = '[server]\nhostname = "mail.example.org"\n'


def read(text: str) -> Config:
    return parse(HEAD + text, Path("/etc/mail/config.toml"))


def test_a_password_file_is_relative_to_the_configuration() -> None:
    config = read('[routes.via.relay]\nhosts = ["relay.example"]\nuser = "u"\npassword_file = "secrets/relay"\n')
    assert config.routes.via["relay"].password_file == "/etc/mail/secrets/relay"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[routes]\nrules = ["there.example -> relay"]', 4, 'want "to:@domain -> route"'),
        ('[routes]\nrules = ["* -> relay"]', 4, "there is no route relay; it would be [routes.via.relay]"),
        ('[routes.via.mx]\nhosts = ["a"]', 3, "mx is always there"),
        ('[routes.via.r]\nhosts = ["a:b:c"]', 4, 'want "host" or "host:port"'),
        ('[routes.via.r]\nhosts = ["a:99999"]', 4, 'want "host" or "host:port"'),
        ('[routes.via.r]\nhosts = ["a"]\nuser = "u"', 5, "user and password_file go together"),
        ('[routes.via.r]\nuser = "u"\npassword_file = "p"', 4, "a login needs hosts"),
        (
            '[routes.via.r]\nhosts = ["a"]\nuser = "u"\npassword_file = "p"\ntls = "none"', 7,
            "a password is never sent in clear",
        ),
        ('[routes.via.r]\nhosts = ["a"]\nsources = ["here"]', 5, 'want "address" or "address name"'),
        ('[delivery]\nsources = ["mail.example.org"]', 4, 'want "address" or "address name"'),
        ('[routes.via.R1]\nhosts = ["a"]', 1, "small letters"),
        ('[routes.via.r]\nhostz = ["a"]', 1, "unknown key"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text + "\n")
    assert words in caught.value.public_text
    assert caught.value.fields["line"] == line
