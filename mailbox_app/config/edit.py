"""Changes keys of the configuration file and keeps its comments and order; tells what every key means.

A change is checked as part of the whole file before the file is replaced: write temporary, fsync, rename, fsync the
folder; mode and owner stay. A change that does not validate changes nothing and raises the same `ConfigError` as loading.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mailbox_app.config.load import load, parse
from mailbox_app.config.manual import MANUAL
from mailbox_app.config.schema import Config
from mailbox_app.errors import ConfigError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import InlineTable, Item, Table

Plain = str | int | float | bool | Sequence[str]
"""What a setting can be."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key with what it is, would be and means. `key` is dotted; `default` is None where there is none."""

    key: str
    value: Plain
    default: Plain | None
    doc: str


@dataclass(frozen=True, slots=True)
class Change:
    """A change made, perhaps with others."""

    key: str
    old: Plain
    new: Plain
    config: Config
    """The whole configuration after it."""


def describe(config: Config) -> Sequence[tuple[str, str, Sequence[Setting]]]:
    """(section, its manual, its settings) in the schema's order."""
    sections = []
    for section_field in msgspec.structs.fields(Config):
        section = getattr(config, section_field.name)
        settings = [
            Setting(
                f"{section_field.name}.{field.name}",
                getattr(section, field.name),
                _default(field),
                MANUAL[f"{section_field.name}.{field.name}"],
            )
            for field in msgspec.structs.fields(type(section))
        ]
        sections.append((section_field.name, MANUAL[section_field.name], settings))
    return sections


def setting(config: Config, key: str) -> Setting:
    """One setting by its dotted key, or one entry of a table such as policy.checks.ptr, empty when it is not there;
    `config.unknown_key`."""
    for _, _, settings in describe(config):
        for each in settings:
            if each.key == key:
                return each
            parent, _, name = key.rpartition(".")
            if each.key == parent and isinstance(each.value, Mapping):
                return Setting(key, str(each.value.get(name, "")), "", each.doc)
    raise ConfigError("config.unknown_key", f"{key}: there is no such setting; config show lists all")


def set_key(path: Path, key: str, value: str) -> Change:
    """Set one dotted key to a TOML value; a bare word that is no TOML is taken as a string."""
    return set_keys(path, {key: value})[0]


def set_keys(path: Path, values: Mapping[str, str]) -> Sequence[Change]:
    """As `set_key` for several keys at once: only the whole must be valid, like a certificate with its key."""
    import tomlkit  # the daemon holds this module, but few ever change a setting
    from tomlkit import items

    before = load(path)
    old = {key: setting(before, key).value for key in values}
    document = tomlkit.parse(path.read_text("utf-8"))
    for key, value in values.items():
        *names, name = key.split(".")
        section: TOMLDocument | Table | InlineTable = document
        for part in names:
            if part not in section:
                section.add(part, tomlkit.table())
            inner = section[part]
            if not isinstance(inner, items.Table | items.InlineTable):
                raise ConfigError("config.invalid", f"{path}: {part} is not written as a [{part}] section")
            section = inner
        section[name] = _toml_value(value, is_text=isinstance(old[key], str))
    text = tomlkit.dumps(document)
    after = parse(text, path)
    _replace(path, text)
    return [Change(key, old[key], setting(after, key).value, after) for key in values]


def _toml_value(text: str, *, is_text: bool) -> Item:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError
    from tomlkit.items import String

    try:
        item = tomlkit.value(text)
    except (TOMLKitError, ValueError):
        return tomlkit.string(text)
    if is_text and not isinstance(item, String):
        return tomlkit.string(text)
    return item


def _default(field: msgspec.structs.FieldInfo) -> Plain | None:
    if field.default is not msgspec.NODEFAULT:
        default: Plain = field.default
        return default
    if field.default_factory is not msgspec.NODEFAULT:
        made: Plain = field.default_factory()
        return made
    return None


def _replace(path: Path, text: str) -> None:
    """Put the text in the file's place, whole or not at all."""
    path = path.resolve()
    status = path.stat()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, status.st_mode & 0o7777)
            with suppress(PermissionError):  # a member of the file's group may edit, but not give away
                os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
