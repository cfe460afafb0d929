"""Whether Redis keeps what it was given: what its settings promise, and in sentences what they do not.

`appendfsync always` is what the queue needs: then an answer means that the change is on the disk. Where the server only syncs
each second but knows WAITAOF (7.2), the queue waits for the sync after each message it takes in; with `queue.redis_replicas` it
waits for that many copies as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

OLDEST = (6, 2)
_KNOWS_WAITAOF = (7, 2)
WAIT_MILLISECONDS = 1_500


@dataclass(frozen=True, slots=True)
class Durability:
    """What was found out about a server."""

    problems: Sequence[str] = ()
    waiting: Sequence[str | int] = ()
    """The command that waits until what was written is safe; () when the answer already says so."""
    wanted: Sequence[int] = ()
    """What that command must answer at least."""


def examine(client: Any, replicas: int) -> Durability:
    """Ask the server for its version and settings; what it may not tell is a problem too."""
    from redis.exceptions import ResponseError

    version = _version(str(client.info("server").get("redis_version", "")))
    problems: list[str] = []
    if version < OLDEST:
        problems.append(f"This Redis server is {_dotted(version)}; the queue needs {_dotted(OLDEST)} or later.")
    settings: dict[str, str] = {}
    try:
        for name in ("appendonly", "appendfsync", "maxmemory-policy"):
            settings |= {_text(key): _text(value) for key, value in client.config_get(name).items()}
    except ResponseError:
        problems.append(
            "The Redis server does not tell its settings, so nobody knows whether accepted mail is on its disk."
        )
        return Durability(problems, *_waiting(replicas, is_synced=False, knows_waitaof=version >= _KNOWS_WAITAOF))
    is_log = settings.get("appendonly") == "yes"
    is_synced = is_log and settings.get("appendfsync") == "always"
    knows_waitaof = version >= _KNOWS_WAITAOF and is_log
    if not is_log:
        problems.append(
            "The Redis server keeps no log (appendonly no): accepted mail is lost when it stops. Set appendonly yes."
        )
    elif not is_synced and not knows_waitaof:
        problems.append(
            f"The Redis server syncs its log late (appendfsync {settings.get('appendfsync')}): a power cut loses the mail"
            " accepted just before. Set appendfsync always."
        )
    if settings.get("maxmemory-policy", "noeviction") != "noeviction":
        problems.append(
            f"The Redis server throws keys away when its memory is full (maxmemory-policy {settings['maxmemory-policy']}):"
            " mail can get lost. Set maxmemory-policy noeviction."
        )
    return Durability(problems, *_waiting(replicas, is_synced=is_synced or not is_log, knows_waitaof=knows_waitaof))


def _waiting(replicas: int, *, is_synced: bool, knows_waitaof: bool) -> tuple[Sequence[str | int], Sequence[int]]:
    if knows_waitaof and not is_synced:
        return ("WAITAOF", 1, replicas, WAIT_MILLISECONDS), (1, replicas)
    if replicas:
        return ("WAIT", replicas, WAIT_MILLISECONDS), (replicas,)
    return (), ()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
