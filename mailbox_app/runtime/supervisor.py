"""Forks the roles, keeps them running, tells them to reload and to stop. It parses nothing and holds no lock or loop.

A role that ends is forked again after 0.1 s, doubling to 1 s while it keeps ending, to 5 s while it does not even start.
SIGHUP is passed on when `reload` agrees; SIGTERM and SIGINT drain: every role gets SIGTERM and 10 s, then SIGKILL; a
second one does not wait. Signals are waited for, not handled, so nothing is ever interrupted.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from mailbox_app.runtime.board import Board
from mailbox_app.runtime.notify import Notifier
from mailbox_app.runtime.privileges import die_with

DRAIN_SECONDS = 10.0
_FIRST_BACKOFF_SECONDS = 0.1
_LAST_BACKOFF_SECONDS = 5.0
_SERVED_BACKOFF_SECONDS = 1.0
"""The longest for one that had served: it will again, and within 2 s of its end."""
_STABLE_SECONDS = 30.0
_START_FAILURES = 3
"""A role that never served and failed so often will not serve: better to stop and say so."""
_WAITED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}


@dataclass(frozen=True, slots=True)
class Role:
    """One process: its name and what it runs. `main` returns the exit status and sends SIGUSR1 once it is ready."""

    name: str
    main: Callable[[], int]


@dataclass(slots=True)
class _State:
    pid: int = 0
    started_at: float = 0.0
    failures: int = 0
    restarts: int = 0
    due_at: float | None = 0.0
    """When to fork it; None while it runs."""
    has_served: bool = False
    last_status: str = field(default="")


class Supervisor:
    """`run` returns the daemon's exit status: 0 after a stop, 1 when a role could not start."""

    def __init__(
        self,
        roles: Sequence[Role],
        board: Board,
        notifier: Notifier,
        *,
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
        reload: Callable[[], bool],
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._roles = roles
        self._board = board
        self._notifier = notifier
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._reload = reload
        self._drain_seconds = drain_seconds
        self._states = [_State() for _ in roles]
        self._log = structlog.get_logger("supervisor")
        self._announced = False
        self._mask: set[signal.Signals] = set()

    def run(self) -> int:
        """Until told to stop."""
        self._mask = {
            each for each in signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED) if isinstance(each, signal.Signals)
        }
        try:
            while True:
                self._fork_due()
                number = self._wait(self._timeout())
                self._reap(time.monotonic())
                if number in {signal.SIGTERM, signal.SIGINT}:
                    return self._stop(0)
                if number == signal.SIGHUP:
                    self._pass_reload_on()
                self._announce()
                if self._hopeless():
                    return self._stop(1)
                self._notifier.alive()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _timeout(self) -> float:
        now = time.monotonic()
        waits = [max(0.0, state.due_at - now) for state in self._states if state.due_at is not None]
        waits.append(self._notifier.watchdog_seconds / 2 or 3600.0)
        return min(waits)

    def _wait(self, seconds: float) -> int:
        info = signal.sigtimedwait(_WAITED, seconds)
        return info.si_signo if info else 0

    def _fork_due(self) -> None:
        now = time.monotonic()
        for index, state in enumerate(self._states):
            if state.due_at is not None and state.due_at <= now:
                self._fork(index, state)

    def _fork(self, index: int, state: _State) -> None:
        role = self._roles[index]
        supervisor = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._be(role, supervisor)
        state.pid, state.due_at, state.started_at = pid, None, time.monotonic()
        self._board.started(index, pid, time.time(), state.restarts)

    def _be(self, role: Role, supervisor: int) -> None:
        """The child: never returns."""
        status = 70
        try:
            die_with(supervisor)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor drains
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the role listens to it
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            status = role.main()
        except BaseException:  # noqa: BLE001 - the last frame of a process; the supervisor restarts it
            structlog.get_logger(role.name).exception("process failed")
        finally:
            os._exit(status)

    def _reap(self, now: float) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for index, state in enumerate(self._states):
                if state.pid == pid:
                    self._ended(index, state, status, now)

    def _ended(self, index: int, state: _State, status: int, now: float) -> None:
        served = self._board.row(index).ready
        state.has_served = state.has_served or served
        self._board.ended(index)
        state.pid = 0
        if now - state.started_at >= _STABLE_SECONDS:
            state.failures = 0
        longest = _SERVED_BACKOFF_SECONDS if served else _LAST_BACKOFF_SECONDS
        wait = min(_FIRST_BACKOFF_SECONDS * 2 ** min(state.failures, 10), longest)
        state.failures += 1
        state.restarts += 1
        state.due_at = now + wait
        code = os.waitstatus_to_exitcode(status)
        state.last_status = f"exit {code}" if code >= 0 else signal.Signals(-code).name
        self._log.error(
            "process ended",
            process=self._roles[index].name,
            how=state.last_status,
            restarts=state.restarts,
            again_in=wait,
        )

    def _announce(self) -> None:
        if not self._announced and all(row.ready for row in self._board.rows()):
            self._announced = True
            self._on_ready()

    def _hopeless(self) -> bool:
        for index, state in enumerate(self._states):
            if not state.has_served and not self._announced and state.failures >= _START_FAILURES:
                self._log.error("process cannot start", process=self._roles[index].name, how=state.last_status)
                return True
        return False

    def _pass_reload_on(self) -> None:
        self._notifier.reloading()
        if self._reload():
            self._signal_all(signal.SIGHUP)
        self._notifier.ready("running")

    def _signal_all(self, number: signal.Signals) -> None:
        for state in self._states:
            if state.pid:
                os.kill(state.pid, number)  # ours and not reaped yet, so the pid cannot be another's

    def _stop(self, exit_status: int) -> int:
        self._notifier.stopping()
        self._log.info("stopping")
        self._on_stop()
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + self._drain_seconds
        while any(state.pid for state in self._states):
            left = deadline - time.monotonic()
            number = self._wait(max(0.0, left))
            self._collect()
            if left <= 0 or number in {signal.SIGTERM, signal.SIGINT}:
                self._kill_all()
        self._log.info("stopped")
        return exit_status

    def _collect(self) -> None:
        for state in self._states:
            if state.pid and os.waitpid(state.pid, os.WNOHANG)[0]:
                state.pid = 0

    def _kill_all(self) -> None:
        for index, state in enumerate(self._states):
            if state.pid:
                self._log.warning("killed a process that did not end in time", process=self._roles[index].name)
                os.kill(state.pid, signal.SIGKILL)
                os.waitpid(state.pid, 0)
                state.pid = 0
