"""Methods `config.*`: the configuration file, as the running server sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from mailbox_app.config.load import load
from mailbox_app.config.schema import Config
from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Method, NoParams, Params
from mailbox_app.errors import ConfigError, ControlError

if TYPE_CHECKING:  # it brings tomlkit, which the daemon has no use for until somebody asks
    from mailbox_app.config import edit

_RESTART = ("server.", "listen.", "dns.", "delivery.connections", "queue.")
"""What is bound at start: ports, folders, the user, the resolver, the queue's place and its workers."""

Plain = str | int | float | bool | list[str] | dict[str, str | int | float | bool | list[str]]


class Key(Params):
    """A dotted key, like limits.max_recipients."""

    key: str


class NewValue(Params):
    """A key and its value as TOML text; a bare word is taken as a string. `more`: other keys to change at once."""

    key: str
    value: str
    more: dict[str, str] = field(default_factory=dict)


class SettingView(Struct):
    """One setting; `default` is null where there is none."""

    key: str
    value: Plain
    default: Plain | None
    doc: str


class Section(Struct):
    """One section of the file."""

    name: str
    doc: str
    settings: list[SettingView]


class Sections(Struct):
    """The whole configuration."""

    sections: list[Section]


class OneChange(Struct):
    """One of several settings changed at once."""

    key: str
    old: Plain
    new: Plain


class Changed(Struct):
    """What a change did; `applied` is `now` or `restart`; `more` is what was changed with it."""

    key: str
    old: Plain
    new: Plain
    applied: str
    more: list[OneChange]


class Check(Struct):
    """Whether the file is valid; `error` names file, line and key."""

    ok: bool
    error: str


class Reloaded(Struct):
    """The file was read again and applied."""

    ok: bool


async def show(context: ControlContext, _call: Call, _params: NoParams) -> Sections:
    """Everything, with what it means."""
    return await context.offload.run(_sections, context.config)


async def get(context: ControlContext, _call: Call, params: Key) -> SettingView:
    """One setting."""
    return await context.offload.run(_setting, context.config, params.key)


async def change(context: ControlContext, call: Call, params: NewValue) -> Changed:
    """Change the file, keeping its comments, and apply it."""
    call.object = params.key
    values = {params.key: params.value, **params.more}
    made = await context.offload.run(_set, context.config_path, values)
    if params.more:
        call.object = " ".join(values)
        call.before = {each.key: msgspec.to_builtins(each.old) for each in made}
        call.after = {each.key: msgspec.to_builtins(each.new) for each in made}
    else:
        call.before, call.after = msgspec.to_builtins(made[0].old), msgspec.to_builtins(made[0].new)
    waits = any(each.key.startswith(_RESTART) and each.old != each.new for each in made)
    applied = "restart" if waits else "now"
    if applied == "now":
        await _apply(context)
    call.detail = f"applied: {applied}"
    changes = [OneChange(each.key, _plain(each.old), _plain(each.new)) for each in made]
    return Changed(changes[0].key, changes[0].old, changes[0].new, applied, changes[1:])


async def check(context: ControlContext, _call: Call, _params: NoParams) -> Check:
    """Whether the file as it is now could be loaded."""
    return await context.offload.run(_check_file, context.config_path)


async def reload(context: ControlContext, call: Call, _params: NoParams) -> Reloaded:
    """Read the file again; one that is not valid changes nothing."""
    call.object = context.config_path.name
    try:
        await _apply(context)
    except ConfigError as error:
        raise ControlError(error.code, error.public_text, fields={"remedy": "Nothing was changed."}) from error
    return Reloaded(ok=True)


async def _apply(context: ControlContext) -> None:
    try:
        context.config = await context.reload()
    except TimeoutError as error:
        raise ControlError(
            "config.not_applied",
            "the file is changed, but the server has not taken it over yet",
            temporary=True,
            fields={"remedy": "Look at the log, then: mailbox config set again, or restart the server."},
        ) from error


def _check_file(path: Path) -> Check:
    try:
        load(path)
    except ConfigError as error:
        return Check(ok=False, error=error.public_text)
    return Check(ok=True, error="")


# The editor is imported in the thread that needs it: it takes tens of milliseconds, and only once.


def _sections(config: Config) -> Sections:
    from mailbox_app.config import edit

    return Sections(
        [Section(name, doc, [_view(each) for each in settings]) for name, doc, settings in edit.describe(config)]
    )


def _setting(config: Config, key: str) -> SettingView:
    from mailbox_app.config import edit

    return _view(edit.setting(config, key))


def _set(path: Path, values: Mapping[str, str]) -> Sequence[edit.Change]:
    from mailbox_app.config import edit

    return edit.set_keys(path, values)


def _view(setting: edit.Setting) -> SettingView:
    default = None if setting.default is None else _plain(setting.default)
    return SettingView(setting.key, _plain(setting.value), default, setting.doc)


def _plain(value: edit.Plain) -> Plain:
    if isinstance(value, str | int | float | bool):
        return value
    made: Plain = msgspec.to_builtins(value)  # a list, a table of names, a section inside a section
    return made


METHODS = (
    Method("config.show", NoParams, Sections, show, "Everything, with what it means."),
    Method("config.get", Key, SettingView, get, "One setting."),
    Method("config.set", NewValue, Changed, change, "Change one setting.", changes=True),
    Method("config.check", NoParams, Check, check, "Whether the file is valid."),
    Method("config.reload", NoParams, Reloaded, reload, "Read the file again.", changes=True),
)
