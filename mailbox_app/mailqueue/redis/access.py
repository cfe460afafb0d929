"""The queue's way to Redis: its scripts, its keys, and Redis' trouble as `QueueError`, which is always temporary.

A script that was cut off is sent once more at once: each of them may be carried out twice without a difference (a queue id, a
lease's token and the names of leases are made before). `queue.unreachable`: no connection or no answer in time; `queue.full`: its
memory is; `queue.refused`: any other refusal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog

from mailbox_app.clock import Clock, SystemClock
from mailbox_app.db.redis import RedisLink
from mailbox_app.errors import QueueError, StoreError
from mailbox_app.events.hints import Bus
from mailbox_app.mailqueue.redis import filters, operator_scripts, scripts
from mailbox_app.mailqueue.redis.bodies import RedisBodies
from mailbox_app.mailqueue.redis.durability import Durability, examine

T = TypeVar("T")
_EXAMINED_SECONDS = 60.0


class Script:
    """Lua with the queue's library before it; the server keeps it under its hash."""

    def __init__(self, text: str, library: str = scripts.LIBRARY) -> None:
        self.text = library + text
        self.hash = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_SIFTING = scripts.LIBRARY + filters.SIFTING
ENQUEUE = Script(scripts.ENQUEUE)
APPEND = Script(scripts.APPEND)
CLAIM = Script(scripts.CLAIM)
SETTLE = Script(scripts.SETTLE)
RELEASE = Script(scripts.RELEASE)
LET_GO = Script(operator_scripts.LET_GO)
ADOPT_HISTORY = Script(operator_scripts.ADOPT_HISTORY)
CHANGE = Script(operator_scripts.CHANGE)
TAKE = Script(operator_scripts.TAKE)
FORGET = Script(operator_scripts.FORGET)
ADD_RULE = Script(operator_scripts.ADD_RULE)
REMOVE_RULE = Script(operator_scripts.REMOVE_RULE)
POSTPONE = Script(operator_scripts.POSTPONE)
PAUSE = Script(operator_scripts.PAUSE)
EXTEND = Script(operator_scripts.EXTEND)
SCAN = Script(filters.SCAN, _SIFTING)
WALK = Script(filters.WALK, _SIFTING)
SIFT = Script(filters.SIFT, _SIFTING)
ROWS = Script(filters.ROWS)


class RedisAccess:
    """What the parts of `RedisQueue` share."""

    def __init__(
        self, link: RedisLink, bodies: RedisBodies, bus: Bus, clock: Clock | None = None, replicas: int = 0
    ) -> None:
        self._link = link
        self._bodies = bodies
        self._bus = bus
        self._clock = clock or SystemClock()
        self._prefix = link.key("queue", "")
        self._replicas = replicas
        self._durability: Durability | None = None
        self._examined_at = 0.0
        self._log = structlog.get_logger("queue")

    def close(self) -> None:
        """Close the connections, remove the local copies of bodies."""
        self._bodies.close()
        self._link.close()

    def problems(self) -> Sequence[str]:
        """What the server's settings do not promise, as it was within the last minute."""
        shared = self._bodies.problem()
        return [*self._durable().problems, *([shared] if shared else [])]

    def _durable(self) -> Durability:
        now = self._clock.monotonic_seconds()
        known = self._durability
        if known is None or now > self._examined_at + _EXAMINED_SECONDS:
            found = self._ask(lambda client: examine(client, self._replicas))
            for problem in found.problems:
                if known is None or problem not in known.problems:
                    self._log.warning("queue_not_safe", reason=problem)
            self._durability, self._examined_at = found, now
            return found
        return known

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _run(self, script: Script, *args: str | bytes | float) -> Any:
        return self._ask(lambda client: _evaluate(client, script, self._prefix, args))

    def _run_durably(self, script: Script, *args: str | bytes | float) -> Any:
        """The script's answer, once what it wrote is as safe as the configuration wants; `queue.not_durable` else."""
        durability = self._durable()
        if not durability.waiting:
            return self._run(script, *args)

        def work(client: Any) -> list[Any]:
            answers: list[Any] = []
            for command in (("EVALSHA", script.hash), ("EVAL", script.text)):
                pipeline = client.pipeline(
                    transaction=False
                )  # one connection: the second command waits for the first's writes
                pipeline.execute_command(*command, 1, self._prefix, *args)
                pipeline.execute_command(*durability.waiting)
                answers = pipeline.execute(raise_on_error=False)
                if not str(answers[0]).startswith(("NOSCRIPT", "No matching script")):
                    break
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return answers

        answer, reached = self._ask(work)
        counts = reached if isinstance(reached, list) else [reached]
        if any(int(count) < wanted for count, wanted in zip(counts, durability.wanted, strict=True)):
            raise QueueError("queue.not_durable", "the queue cannot store a message safely now", temporary=True)
        return answer

    def _command(self, *parts: str | bytes | float) -> Any:
        """One command's answer."""
        return self._ask(lambda client: client.execute_command(*parts))

    def _commands(self, commands: Sequence[Sequence[str | bytes | float]]) -> list[Any]:
        """The answers of many commands, asked at once; others may come in between."""

        def work(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute())

        return self._ask(work) if commands else []

    def _ask(self, work: Callable[[Any], T]) -> T:
        """What `work` makes of the client; it may be called a second time, when the connection was lost."""
        from redis.exceptions import ConnectionError as NoConnection

        def again(client: Any) -> T:
            try:
                return work(client)
            except NoConnection:  # the server was started anew, perhaps
                client.connection_pool.disconnect(inuse_connections=False)
                return work(client)

        with translated():
            return self._link.call(again)


def _evaluate(client: Any, script: Script, prefix: str, args: tuple[str | bytes | float, ...]) -> Any:
    from redis.exceptions import NoScriptError

    try:
        return client.execute_command("EVALSHA", script.hash, 1, prefix, *args)
    except NoScriptError:
        return client.execute_command("EVAL", script.text, 1, prefix, *args)


@contextmanager
def translated() -> Iterator[None]:
    """Trouble with Redis, as the queue's own error."""
    try:
        yield
    except StoreError as error:
        answer = str(error.fields.get("answer", ""))
        if error.code == "redis.unreachable":
            code, text = "queue.unreachable", "the queue cannot be reached now"
        elif "maxmemory" in answer:
            code, text = "queue.full", "the queue cannot store a message now"
        else:
            code, text = "queue.refused", "the queue does not work now"
        raise QueueError(code, text, temporary=True, fields=error.fields) from error
