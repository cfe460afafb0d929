"""Methods `status` and `schema`: what runs, and what can be asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from mailbox_app.control import machine
from mailbox_app.control.context import ControlContext
from mailbox_app.control.machine import memory_bytes
from mailbox_app.control.methods.queue_rows import StatsView, stats_view
from mailbox_app.control.methods.spans import whole_seconds
from mailbox_app.control.queue_counts import queue_counts
from mailbox_app.control.schema import Call, Method, NoParams
from mailbox_app.control.todo import things_to_do
from mailbox_app.errors import StoreError
from mailbox_app.policy.state.bans import Ban


class ListenerView(Struct):
    """One open port."""

    service: str
    address: str
    port: int


class ProcessView(Struct):
    """One process of the daemon."""

    role: str
    pid: int
    started_at: datetime
    restarts: int


class ProblemView(Struct):
    """One thing that needs the operator: BAD!, WARN or info, and a sentence."""

    weight: str
    text: str


class Status(Struct):
    """The daemon at a glance."""

    version: str
    hostname: str
    pid: int
    uptime_seconds: int
    ready: bool
    listeners: list[ListenerView]
    processes: list[ProcessView]
    queue: StatsView
    accounts: int
    domains: int
    memory_bytes: int
    search_waiting: int
    """Messages that the search indexes do not have yet."""
    bans: int
    """Networks that may not connect for now."""
    greylisted: int
    """Senders who were asked to come back."""
    dns_lists_off: list[str]
    """DNS block and allow lists that are switched off because they answer wrong."""
    redis_up: bool | None
    """Whether the Redis that nodes share answers; without it `queue`, `bans` and `greylisted` are 0. null: no Redis is used."""
    problems: list[ProblemView]
    """What needs the operator, the worst first; the console shows the same."""


class MethodView(Struct):
    """One method; `params` and `result` are JSON Schemas."""

    name: str
    params: dict[str, Any]
    result: dict[str, Any]
    changes: bool
    doc: str


class Schema(Struct):
    """All methods."""

    methods: list[MethodView]


async def status(context: ControlContext, _call: Call, _params: NoParams) -> Status:
    """The daemon at a glance."""
    now = context.clock.now()
    processes = list(context.processes())
    queue = await context.offload.run(queue_counts, context, now)
    domains = await context.offload.run(context.directory.domains)
    memory = await context.offload.run(memory_bytes, [process.pid for process in processes])
    bans, greylisted, lists_off = await context.offload.run(_policy, context)
    days = context.certificate_days()
    disk = await context.offload.run(machine.disk, context.data_dir)
    things = await context.offload.run(things_to_do, context, queue, now, disk, days)
    return Status(
        version=context.version,
        hostname=context.config.server.hostname,
        pid=os.getpid(),
        uptime_seconds=int((now - context.started_at).total_seconds()),
        ready=context.ready(),
        listeners=[ListenerView(each.service, each.address, each.port) for each in context.listeners()],
        processes=[
            ProcessView(each.role, each.pid, whole_seconds(each.started_at), each.restarts) for each in processes
        ],
        queue=stats_view(queue),
        accounts=sum(domain.account_count for domain in domains),
        domains=len(domains),
        memory_bytes=memory,
        search_waiting=context.search.waiting_count(),
        bans=len(bans),
        greylisted=greylisted,
        dns_lists_off=list(lists_off),
        redis_up=context.redis_up(),
        problems=[ProblemView(weight, text) for weight, text, _ in things],
    )


def _policy(context: ControlContext) -> tuple[Sequence[Ban], int, Sequence[str]]:
    """(bans, how many wait for greylisting, DNS lists that are off); blocks."""
    state = context.policy_state
    try:
        return state.bans.all(), state.greylist.waiting(0, 0)[1], context.lists_off()
    except StoreError:
        if context.redis_up() is None:
            raise
        return (), 0, context.lists_off()


def schema_method(methods: Sequence[Method]) -> Method:
    """The method `schema` over all others; the server adds it, for it must see them all."""

    @cache  # a tenth of a second's work, and the same for ever
    def build() -> Schema:
        return Schema([_described(method) for method in (own, *methods)])

    async def schema(context: ControlContext, _call: Call, _params: NoParams) -> Schema:
        return await context.offload.run(build)

    own = Method("schema", NoParams, Schema, schema, "All methods as JSON Schema.")
    return own


def _described(method: Method) -> MethodView:
    params, result = msgspec.json.schema(method.params), msgspec.json.schema(method.result)
    return MethodView(method.name, params, result, method.changes, method.doc)


METHODS = (Method("status", NoParams, Status, status, "The daemon at a glance."),)
