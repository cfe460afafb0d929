"""The console's own client of the control socket: JSON lines, requests by id, subscriptions with sequence numbers.

It keeps the connection for as long as it runs: lost, it tries again after 0.2 s doubling to 5 s, and opens every
subscription anew. A call fails with `CallError`, one sentence and a remedy, never with a bare exception of the transport.
Frames are at most 1 MiB; a peer that breaks the protocol is dropped like a lost one.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from tui.format import clean

PROTOCOL = 1
FRAME_LIMIT = 1024 * 1024
HELLO_SECONDS = 5.0
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 5.0
EARLY_LIMIT = 16
SOCKET_PATH_LIMIT = 100
"""sun_path holds 108 bytes; longer paths are reached through a directory descriptor."""


class CallError(Exception):
    """A request that was refused or could not be asked: what happened, and what to do about it."""

    def __init__(self, code: str, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = clean(text)
        self.remedy = clean(remedy)

    def sentence(self) -> str:
        """Cause and remedy on one line."""
        return f"{self.text} {self.remedy}".strip()


class Subscription:
    """One topic as the server sees it now; `on_state` gets the merged state after each change."""

    def __init__(
        self, topic: str, args: Mapping[str, object], max_hz: float, on_state: Callable[[dict[str, Any]], None]
    ) -> None:
        self.topic = topic
        self.args = dict(args)
        self.max_hz = max_hz
        self.on_state = on_state
        self.state: dict[str, Any] = {}
        self.number: int | None = None
        self.seq = 0
        self.closed = False


class Client:
    """Owns one connection. `on_change` is called when it is made or lost; attributes say the rest."""

    def __init__(self, path: str, *, on_change: Callable[[], None], via: str = "console") -> None:
        self.path = path
        self.hello: dict[str, Any] | None = None
        self.connected = False
        self.error = ""
        self.error_code = ""
        self.attempts = 0
        self.lost_at: float | None = None
        self.retry_at: float | None = None
        self._via = via
        self._on_change = on_change
        self._writer: asyncio.StreamWriter | None = None
        self._next_id = 0
        self._pending: dict[int, tuple[asyncio.Future[dict[str, Any]], Subscription | None]] = {}
        self._progress: dict[int, Callable[[int, int], None]] = {}
        self._subscriptions: list[Subscription] = []
        self._by_number: dict[int, Subscription] = {}
        self._early: list[dict[str, Any]] = []
        self._retry_now = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def compatible(self) -> bool:
        """False when the daemon speaks another protocol version; then nothing may be changed."""
        return self.hello is None or self.hello.get("protocol") == PROTOCOL

    async def run(self) -> None:
        """Connect, read, and connect again until cancelled."""
        delay = FIRST_RETRY_SECONDS
        try:
            while True:
                self.attempts += 1
                try:
                    await self._session()
                except (OSError, ValueError, asyncio.IncompleteReadError) as error:
                    self._note(error)
                if self.connected:
                    delay = FIRST_RETRY_SECONDS
                self._lost(delay)
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._retry_now.wait()
                self._retry_now.clear()
                delay = min(delay * 2, LAST_RETRY_SECONDS)
        finally:
            for task in tuple(self._tasks):
                task.cancel()
            if self._writer is not None:
                self._writer.close()

    def retry_now(self) -> None:
        """Do not wait for the next try."""
        self._retry_now.set()

    async def call(
        self,
        method: str,
        params: Mapping[str, object] | None = None,
        *,
        timeout_seconds: float = 10.0,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Ask and wait for the answer; `progress` gets how much of how much is done. Raises `CallError`."""
        return await self._request(method, params or {}, None, timeout_seconds, progress)

    def subscribe(
        self,
        topic: str,
        on_state: Callable[[dict[str, Any]], None],
        args: Mapping[str, object] | None = None,
        *,
        max_hz: float = 1.0,
    ) -> Subscription:
        """Follow a topic until `unsubscribe`; survives lost connections."""
        subscription = Subscription(topic, args or {}, max_hz, on_state)
        self._subscriptions.append(subscription)
        if self.connected:
            self._spawn(self._open(subscription))
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop following; late frames are ignored."""
        subscription.closed = True
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        if subscription.number is not None:
            self._by_number.pop(subscription.number, None)
            self._spawn(self._close(subscription.number))

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _session(self) -> None:
        """One connection from connect to its end."""
        async with connect(self.path) as (reader, writer):
            async with asyncio.timeout(HELLO_SECONDS):
                first = decode(await reader.readline())
            if "error" in first or "hello" not in first:
                raise refusal(first)
            self.hello = first["hello"] if isinstance(first["hello"], dict) else {}
            self._writer, self.connected = writer, True
            self.error, self.error_code, self.lost_at, self.retry_at = "", "", None, None
            self._on_change()
            for subscription in self._subscriptions:
                self._spawn(self._open(subscription))
            while line := await reader.readline():
                self._take(decode(line))

    def _note(self, error: BaseException) -> None:
        """Remember why the connection failed, in words."""
        if isinstance(error, Refused):
            self.error, self.error_code = error.text, error.code
        elif isinstance(error, FileNotFoundError):
            self.error, self.error_code = "there is no socket: the daemon is not running", "missing"
        elif isinstance(error, ConnectionRefusedError):
            self.error, self.error_code = "nobody listens on the socket: the daemon is not running", "refused"
        elif isinstance(error, PermissionError):
            self.error, self.error_code = "this user may not open the socket", "control.not_permitted"
        elif isinstance(error, TimeoutError):
            self.error, self.error_code = "the daemon did not greet in time", "timeout"
        else:
            self.error, self.error_code = clean(str(error)) or "the connection broke", "broken"

    def _lost(self, delay: float) -> None:
        """Forget the connection, fail what waits, tell the console."""
        if self.connected and not self.error:
            self.error = "the daemon closed the connection"
        self.connected, self._writer = False, None
        now = time.monotonic()
        if self.lost_at is None:
            self.lost_at = now
        self.retry_at = now + delay
        pending, self._pending = self._pending, {}
        for future, _ in pending.values():
            if not future.done():
                future.set_exception(
                    CallError(
                        "console.lost", "The connection was lost before the answer came.", "Look again when it is back."
                    )
                )
        self._by_number.clear()
        self._early.clear()
        for subscription in self._subscriptions:
            subscription.number = None
        self._on_change()

    async def _request(
        self,
        method: str,
        params: Mapping[str, object],
        subscription: Subscription | None,
        timeout_seconds: float,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        writer = self._writer
        if writer is None:
            raise CallError("console.offline", "The daemon is not connected.", "The console keeps trying; R tries now.")
        self._next_id += 1
        number = self._next_id
        frame = json.dumps({"id": number, "method": method, "params": params, "via": self._via}).encode() + b"\n"
        if len(frame) > FRAME_LIMIT:
            raise CallError(
                "console.too_large",
                "The request is too large for one frame.",
                "Mark fewer rows, or use a filter and *.",
            )
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[number] = (future, subscription)
        if progress is not None:
            self._progress[number] = progress
        try:
            async with asyncio.timeout(timeout_seconds):
                writer.write(frame)
                await writer.drain()
                return await future
        except TimeoutError:
            raise CallError(
                "console.timeout",
                f"No answer to {method} within {timeout_seconds:.0f} s.",
                "Look again before repeating it.",
            ) from None
        except OSError as error:
            raise CallError("console.lost", "The connection was lost.", "Look again when it is back.") from error
        finally:
            self._pending.pop(number, None)
            self._progress.pop(number, None)

    async def _open(self, subscription: Subscription) -> None:
        subscription.seq = 0
        with suppress(CallError):  # a lost connection opens it again; a refusal leaves the last state on the screen
            params = {"topic": subscription.topic, "args": subscription.args, "max_hz": subscription.max_hz}
            answer = await self._request("sub", params, subscription, HELLO_SECONDS)
            if subscription.closed:
                await self._close(int(answer.get("sub", 0)))

    async def _close(self, number: int) -> None:
        with suppress(CallError):
            await self._request("unsub", {"sub": number}, None, HELLO_SECONDS)

    def _take(self, frame: dict[str, Any]) -> None:
        """Route one frame: an answer, or a topic's state."""
        if "sub" in frame and "id" not in frame:
            self._topic(frame)
            return
        number = frame.get("id", -1)
        entry = self._pending.get(number)
        if "progress" in frame:
            told, steps = self._progress.get(number), frame["progress"]
            if told is not None and isinstance(steps, dict):
                done, total = steps.get("done"), steps.get("total")
                if isinstance(done, int) and isinstance(total, int):
                    told(done, total)
            return
        if entry is None:
            return
        future, subscription = entry
        if future.done():
            return
        error = frame.get("error")
        if isinstance(error, dict):
            future.set_exception(
                CallError(str(error.get("code", "")), str(error.get("text", "")), str(error.get("remedy") or ""))
            )
            return
        result = frame.get("result")
        answer = result if isinstance(result, dict) else {}
        future.set_result(answer)
        if subscription is not None and not subscription.closed:
            self._register(subscription, answer.get("sub"))

    def _register(self, subscription: Subscription, number: object) -> None:
        """Bind a subscription to its number before the next frame is read; take what came too early."""
        if not isinstance(number, int):
            return
        subscription.number = number
        self._by_number[number] = subscription
        early, self._early = self._early, []
        for frame in early:
            self._topic(frame)

    def _topic(self, frame: dict[str, Any]) -> None:
        subscription = self._by_number.get(frame.get("sub", -1))
        if subscription is None:
            self._early.append(frame)
            del self._early[:-EARLY_LIMIT]
            return
        seq = frame.get("seq")
        if isinstance(frame.get("snap"), dict):
            subscription.state = dict(frame["snap"])
        elif seq != subscription.seq + 1 or not isinstance(frame.get("delta"), dict):
            # A gap: what we hold may be wrong, ask for the whole state again.
            self._by_number.pop(subscription.number or 0, None)
            self._spawn(self._close(subscription.number or 0))
            subscription.number = None
            self._spawn(self._open(subscription))
            return
        else:
            subscription.state.update(frame["delta"])
        subscription.seq = seq if isinstance(seq, int) else 0
        subscription.on_state(subscription.state)


class Refused(ValueError):
    """The daemon answered with an error instead of a greeting."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, clean(text)


def refusal(frame: dict[str, Any]) -> Refused:
    """What a first frame without a greeting means."""
    error = frame.get("error")
    if isinstance(error, dict):
        return Refused(str(error.get("code", "")), str(error.get("text", "")))
    return Refused("console.protocol", "the other side does not speak the control protocol")


def decode(line: bytes) -> dict[str, Any]:
    """One frame; an empty line is the end of the connection, anything but an object is a broken peer."""
    if not line:
        raise ConnectionResetError("the daemon closed the connection")
    frame = json.loads(line)
    if not isinstance(frame, dict):
        raise ValueError("the other side does not speak the control protocol")  # noqa: TRY004
    return frame


def reachable(path: str) -> tuple[str, int | None]:
    """A path the socket call accepts, and the directory descriptor to close afterwards when one was needed."""
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path, None
    descriptor = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY)
    return f"/proc/self/fd/{descriptor}/{os.path.basename(path)}", descriptor


@asynccontextmanager
async def connect(path: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connected Unix stream, closed at the end."""
    address, descriptor = reachable(path)
    try:
        reader, writer = await asyncio.open_unix_connection(address, limit=FRAME_LIMIT + 1024)
    finally:
        if descriptor is not None:
            os.close(descriptor)
    try:
        yield reader, writer
    finally:
        writer.close()
