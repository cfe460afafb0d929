"""One connection of the control socket: requests in, answers and subscriptions out.

Requests run side by side (16 at most; beyond that the connection is read no further), answers go out as they are ready. A change
that has begun is finished and audited even when its client is gone. A client that does not read holds at most
its running answers: a subscription looks at its topic again only after its last frame has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import structlog
from msgspec import Meta, Struct

from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Method, Params
from mailbox_app.control.topics import Topic
from mailbox_app.control.wire import BAD_JSON, PROTOCOL, Request, decode_request, encode, error_frame
from mailbox_app.errors import ControlError, MailboxError
from mailbox_app.journal.audit import Change
from mailbox_app.proto.plain_text import clean

_MAX_RUNNING = 16
_MAX_SUBSCRIPTIONS = 16
_UNEXPECTED = "the server failed at this; its log says why"


class Subscribe(Params):
    """`sub`."""

    topic: str
    args: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))
    max_hz: Annotated[float, Meta(gt=0, le=10)] = 1.0


class Unsubscribe(Params):
    """`unsub`."""

    sub: int


class Session:
    """One client."""

    def __init__(
        self,
        context: ControlContext,
        methods: Mapping[str, Method],
        topics: Mapping[str, Topic],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        peer: tuple[int, str],
    ) -> None:
        self._context = context
        self._methods = methods
        self._topics = topics
        self._reader = reader
        self._writer = writer
        self._uid, self._user = peer
        self._sending = asyncio.Lock()
        self._running = asyncio.Semaphore(_MAX_RUNNING)
        self._subscriptions: dict[int, asyncio.Task[None]] = {}
        self._last_subscription = 0
        self._log = structlog.get_logger("control")
        self.via = ""

    async def run(self) -> None:
        """Until the client hangs up and its running changes are done."""
        await self._send(encode({"hello": {
            "protocol": PROTOCOL, "version": self._context.version, "hostname": self._context.config.server.hostname,
            "uid": self._uid, "user": self._user,
        }}))  # fmt: skip
        async with asyncio.TaskGroup() as tasks:
            try:
                while line := await self._read_line():
                    await self._running.acquire()
                    tasks.create_task(self._serve(line, tasks))
            finally:
                for subscription in self._subscriptions.values():
                    subscription.cancel()

    def hang_up(self) -> None:
        """Read no further; what runs is finished."""
        self._reader.feed_eof()

    async def _read_line(self) -> bytes:
        try:
            line = await self._reader.readline()
        except ValueError:  # longer than the reader's limit
            await self._send(error_frame(None, ControlError("control.bad_frame", "a frame is 1 MiB at most")))
            return b""
        except ConnectionError:
            return b""
        return line if line.endswith(b"\n") else b""

    async def _serve(self, line: bytes, tasks: asyncio.TaskGroup) -> None:
        request_id: int | None = None
        try:
            request = decode_request(line)
            request_id = request.id
            self.via = clean(request.via, 40) or self.via
            if request.method == "sub":
                await self._subscribe(request, tasks)
                return
            result = self._unsubscribe(request) if request.method == "unsub" else await self._call(request)
            await self._send(encode({"id": request_id, "result": result}))
        except MailboxError as error:
            await self._send(error_frame(request_id, error))
        except Exception:  # noqa: BLE001 - the border to the client: said there, logged here with its cause
            self._log.exception("control_failed", request=clean(line[:80].decode("utf-8", "replace")))
            self._context.metrics.errors.inc()
            await self._send(error_frame(request_id, ControlError("control.failed", _UNEXPECTED, temporary=True)))
        finally:
            self._running.release()

    async def _call(self, request: Request) -> Struct:
        method = self._methods.get(request.method)
        if method is None:
            raise ControlError("control.no_such_method", f"there is no method {clean(request.method, 100)}")
        call = Call(self._user, self._uid, self.via, self._progress_of(request.id))
        if not method.changes:
            return await method.handler(self._context, call, _decode(request.params, method.params))
        # A change is not cut short by a cancelled session: done or refused, it is written down.
        return await asyncio.shield(asyncio.ensure_future(self._change(method, call, request)))

    async def _change(self, method: Method, call: Call, request: Request) -> Struct:
        try:
            result = await method.handler(self._context, call, _decode(request.params, method.params))
        except MailboxError as error:
            await self._audit(method, call, f"{error.code}: {error.public_text}")
            raise
        except Exception as error:
            await self._audit(method, call, f"control.failed: {type(error).__name__}")
            raise
        await self._audit(method, call, "ok")
        return result

    async def _audit(self, method: Method, call: Call, result: str) -> None:
        change = Change(
            who=call.user, uid=call.uid, via=call.via, what=call.what or method.name, object=clean(call.object, 1000),
            detail=clean(call.detail), before=_plain(call.before), after=_plain(call.after), result=clean(result),
        )  # fmt: skip
        await self._context.offload.run(self._context.audit.append, change)

    def _progress_of(self, request_id: int) -> Any:
        async def progress(done: int, total: int, text: str) -> None:
            frame = {"done": done, "total": total, "text": clean(text)}
            await self._send(encode({"id": request_id, "progress": frame}))

        return progress

    async def _subscribe(self, request: Request, tasks: asyncio.TaskGroup) -> None:
        wanted = _decode(request.params, Subscribe)
        topic = self._topics.get(wanted.topic)
        if topic is None:
            raise ControlError("control.no_such_topic", f"there is no topic {clean(wanted.topic, 100)}")
        if len(self._subscriptions) >= _MAX_SUBSCRIPTIONS:
            raise ControlError("control.too_many", "too many subscriptions on one connection")
        args = _decode(wanted.args, topic.args)
        self._last_subscription += 1
        number = self._last_subscription
        await self._send(encode({"id": request.id, "result": {"sub": number}}))
        task = tasks.create_task(self._feed(number, topic, args, 1.0 / wanted.max_hz))
        self._subscriptions[number] = task
        task.add_done_callback(lambda _: self._subscriptions.pop(number, None))

    def _unsubscribe(self, request: Request) -> dict[str, object]:
        task = self._subscriptions.get(_decode(request.params, Unsubscribe).sub)
        if task is not None:
            task.cancel()
        return {}

    async def _feed(self, number: int, topic: Topic, args: Struct, pause_seconds: float) -> None:
        sent: dict[str, object] | None = None
        sequence = 0
        while not self._writer.is_closing():
            state = await self._state(topic, args)
            if state is not None and state != sent:
                sequence += 1
                await self._send(encode(_frame(number, sequence, state, sent)))
                sent = state
            await self._context.clock.sleep(pause_seconds)

    async def _state(self, topic: Topic, args: Struct) -> dict[str, object] | None:
        try:
            state: dict[str, object] = msgspec.to_builtins(await topic.state(args))
        except MailboxError as error:
            self._log.warning("topic_failed", code=error.code)
            return None
        except Exception:  # noqa: BLE001 - a broken view must not end the connection its operator needs now
            self._log.exception("topic_failed")
            self._context.metrics.errors.inc()
            return None
        return state

    async def _send(self, frame: bytes) -> None:
        """No deadline: a stopped console may stay for hours, and all it holds is this one frame."""
        async with self._sending:
            if self._writer.is_closing():
                return
            try:
                self._writer.write(frame)
                await self._writer.drain()
            except ConnectionError:
                self._writer.close()


def _frame(
    number: int, sequence: int, state: Mapping[str, object], sent: Mapping[str, object] | None
) -> Mapping[str, object]:
    if sent is None:
        return {"sub": number, "seq": sequence, "snap": state}
    delta = {key: value for key, value in state.items() if sent.get(key) != value}
    return {"sub": number, "seq": sequence, "delta": delta}


def _decode(raw: msgspec.Raw, shape: type[Any]) -> Any:
    try:
        return msgspec.json.decode(raw, type=shape)
    except BAD_JSON as error:
        raise ControlError("control.bad_params", clean(str(error), 300)) from error


def _plain(value: object) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()


def by_name(methods: Sequence[Method]) -> Mapping[str, Method]:
    """The registry; a name used twice is a mistake of ours."""
    registry = {method.name: method for method in methods}
    if len(registry) != len(methods):
        raise ValueError("two control methods have one name")
    return registry
