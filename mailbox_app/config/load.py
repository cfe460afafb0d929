"""Reads the configuration file: TOML, then types, then what types cannot say.

Every mistake is a `ConfigError` whose text names file, line and key: "config.toml:12: listen.smpt: unknown key; did you
mean smtp?". Relative paths in the file are relative to its folder and come out absolute. Nothing is changed on disk.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from mailbox_app.config import routes
from mailbox_app.config.schema import Config
from mailbox_app.errors import ConfigError
from mailbox_app.proto.sasl.negotiation import NAMES

_AT = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$?\.?(?P<where>.*?)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>.*)`$")
_MISSING = re.compile(r"^Object missing required field `(?P<key>.*)`$")
_TOML_LINE = re.compile(r"\(at line (\d+), column \d+\)$")
_LISTENER_TEXT = 'want "address:port", "*:port" or "[v6]:port"'
_DURATION_TEXT = "want a whole number and one of s, m, h, d, w, like 5m"
_WANTED = {
    "dnsbl": 'want a zone like "bl.example.org" and answers like "127.0.0.2", "127.0.0.4-7", "127.0.*.3"',
    "dnswl": 'want a zone like "wl.example.org" and answers like "127.0.0.2", "127.0.0.4-7", "127.0.*.3"',
    "imap": 'want "who: NAME NAME", like "Outlook: MOVE"',
    "listen": _LISTENER_TEXT,
    "routes": "a route's name is made of small letters, digits, - and _",
    "login": f"want some of {', '.join(NAMES)}",
}
_HOST_PORT = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+):(\d{1,5})$")
_HOSTNAME = re.compile(
    r"^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$"
)
_PATH_KEYS = {
    "server": ("data_dir", "run_dir"),
    "tls": ("cert_file", "key_file", "acme_ca_file", "client_ca_file"),
    "oauth": ("client_secret_file", "ca_file"),
    "delivery": ("ca_file",),
    "queue": ("redis_password_file", "redis_ca_file", "shared_dir"),
}


def load(path: Path) -> Config:
    """Read, decode and check the file; `config.unreadable` when it cannot be read, `config.invalid` else."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError("config.invalid", f"{path}: is not UTF-8 text") from error
    except OSError as error:
        raise ConfigError("config.unreadable", f"{path}: cannot be read: {error.strerror}") from error
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    """Decode and check the text of a file that is or will be at `path`."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits, and deep nesting
        place = _TOML_LINE.search(str(error))
        line = int(place[1]) if place else 1
        raise _invalid(path, line, "", f"not TOML: {_TOML_LINE.sub('', str(error)).strip()}") from error
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        key, reason = _explain(str(error), raw)
        raise _invalid(path, line_of(text, key), key, reason) from error
    for key, reason in _semantic_errors(config):
        raise _invalid(path, line_of(text, key), key, reason)
    return _absolute(config, path.absolute().parent)


def line_of(text: str, key: str) -> int:
    """The line of a dotted key, else of its section, else 1. A scan of "[section]" and "key =" lines."""
    section_wanted, _, name_wanted = key.split("[")[0].partition(".")
    section, section_line = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        header = re.match(r"\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$", stripped)
        if header:
            section = header[1].replace('"', "").replace(" ", "")
            if section == key.split("[")[0]:  # a table of its own, like routes.via.relay
                return number
            if section == section_wanted:
                section_line = number
                if not name_wanted:
                    return number
            continue
        name, equals, _ = stripped.partition("=")
        if not equals:
            continue
        dotted = f"{section}.{name.strip()}".strip(".").replace('"', "").replace(" ", "")
        if dotted == key.split("[")[0] or (not name_wanted and dotted == section_wanted):
            return number
    return section_line


def _invalid(path: Path, line: int, key: str, reason: str) -> ConfigError:
    text = f"{path}:{line}: {key}: {reason}" if key else f"{path}:{line}: {reason}"
    return ConfigError("config.invalid", text, fields={"line": line, "key": key})


def _explain(message: str, raw: dict[str, object]) -> tuple[str, str]:
    """(dotted key, reason in words) of a decoder's message."""
    match = _AT.match(message)
    what, where = (match["what"], match["where"] or "") if match else (message, "")
    if unknown := _UNKNOWN.match(what):
        return _join(where, unknown["key"]), f"unknown key{_suggestion(where, unknown['key'])}"
    if missing := _MISSING.match(what):
        return _join(where, missing["key"]), "is required and has no default"
    if "matching regex" in what:
        section = where.partition(".")[0]
        wanted = _WANTED.get(section, _DURATION_TEXT)
        return where, wanted if match and match["key"] else f"{wanted}, not {_value(raw, where)}"
    return where, what[0].lower() + what[1:].replace("`", "")


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _suggestion(section: str, key: str) -> str:
    fields = {field.name: field for field in msgspec.structs.fields(Config)}
    known: Sequence[str] = tuple(fields)
    if section in fields:
        known = tuple(field.name for field in msgspec.structs.fields(fields[section].type))
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(known)}"


def _value(raw: object, where: str) -> str:
    for step in re.findall(r"[^.\[\]]+", where):
        raw = raw[int(step)] if isinstance(raw, list) else raw.get(step) if isinstance(raw, dict) else None
    return repr(raw)


def _semantic_errors(config: Config) -> Iterator[tuple[str, str]]:
    if not _HOSTNAME.match(config.server.hostname):
        yield "server.hostname", f"{config.server.hostname!r} is not a host name"
    yield from _listener_errors(config)
    if bool(config.tls.cert_file) != bool(config.tls.key_file):
        given, absent = ("cert_file", "key_file") if config.tls.cert_file else ("key_file", "cert_file")
        yield f"tls.{given}", f"needs tls.{absent} too"
    if config.delivery.smarthost and not _is_host_port(config.delivery.smarthost):
        yield "delivery.smarthost", f'want "host:port", not {config.delivery.smarthost!r}'
    yield from routes.mistakes(config.routes, config.delivery.sources)
    if config.oauth.introspection_url and not _is_safe_url(config.oauth.introspection_url):
        yield "oauth.introspection_url", "want https://, or http:// to this machine"
    for number, server in enumerate(config.dns.servers):
        if ":" in server and server.count(":") == 1 and not _is_host_port(server):
            yield f"dns.servers[{number}]", f'want "address" or "address:port", not {server!r}'
    yield from _queue_errors(config)
    yield from _network_errors("proxy.trusted_networks", config.proxy.trusted_networks)
    yield from _network_errors("policy.trusted_networks", config.policy.trusted_networks)
    yield from _network_errors("lmtp.trusted_networks", config.lmtp.trusted_networks)
    if seconds(config.greylist.min_delay) >= seconds(config.greylist.max_age):
        yield "greylist.min_delay", "must be shorter than greylist.max_age"
    for sign, section, lists in ((1, "dnsbl", config.dnsbl.lists), (-1, "dnswl", config.dnswl.lists)):
        for zone, each in lists.items():
            if any(answer.score * sign < 0 for answer in each.answers.values()):
                yield f"{section}.lists", f"{zone}: scores must be {'zero or above' if sign > 0 else 'zero or below'}"


def _is_safe_url(url: str) -> bool:
    """A token sent in clear is anybody's."""
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return False
    on_this_machine = parts.hostname in {"localhost", "::1"} or (parts.hostname or "").startswith("127.")
    return (
        port_is_fine
        and bool(parts.hostname)
        and (parts.scheme == "https" or (parts.scheme == "http" and on_this_machine))
    )


def _network_errors(key: str, networks: Sequence[str]) -> Iterator[tuple[str, str]]:
    for number, each in enumerate(networks):
        try:
            ipaddress.ip_network(each)
        except ValueError:
            yield f"{key}[{number}]", f'want an address or a network like "192.0.2.0/24", not {each!r}'


def _listener_errors(config: Config) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    for service in config.listen.__struct_fields__:
        for number, address in enumerate(getattr(config.listen, service)):
            key = f"listen.{service}[{number}]"
            if address.startswith("unix:"):
                continue
            host, _, port = address.rpartition(":")
            if int(port) > 65535:
                yield key, f"{port} is not a port; the highest is 65535"
            if address in seen and int(port):
                yield key, f"{address} is already used by listen.{seen[address]}"
            seen[address] = service
            if service == "console" and host not in {"127.0.0.1", "[::1]", "localhost"}:
                yield key, "the web console listens on loopback only, like 127.0.0.1:8080"


def _queue_errors(config: Config) -> Iterator[tuple[str, str]]:
    queue = config.queue
    if queue.backend == "redis" and not queue.redis_url:
        yield "queue.redis_url", "must name the Redis server, since queue.backend is redis"
    if queue.redis_url and not queue.redis_url.startswith(("redis://", "rediss://", "unix://")):
        yield "queue.redis_url", "must start with redis://, rediss:// or unix://"
    elif queue.redis_url and _holds_password(queue.redis_url):  # `config show` and logs show addresses
        yield "queue.redis_url", "must not hold a password, put it into the file that queue.redis_password_file names"


def _holds_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.password) or "password=" in parts.query.lower()
    except ValueError:  # told where it is used
        return False


def _is_host_port(text: str) -> bool:
    match = _HOST_PORT.match(text)
    return match is not None and 0 < int(match[2]) <= 65535


def seconds(duration: str) -> int:
    """What the configuration's "5m" or "35d" comes to."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[duration[-1]]


def _absolute(config: Config, folder: Path) -> Config:
    changed = {}
    for section_name, keys in _PATH_KEYS.items():
        section = getattr(config, section_name)
        values = {
            key: os.path.normpath(folder / os.path.expanduser(value))
            for key in keys
            if (value := getattr(section, key))
        }
        if values:
            changed[section_name] = msgspec.structs.replace(section, **values)
    via = {
        name: msgspec.structs.replace(route, password_file=os.path.normpath(folder / os.path.expanduser(path)))
        for name, route in config.routes.via.items()
        if (path := route.password_file)
    }
    if via:
        changed["routes"] = msgspec.structs.replace(config.routes, via={**config.routes.via, **via})
    return msgspec.structs.replace(config, **changed)
