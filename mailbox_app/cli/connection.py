"""Finds the configuration, the folders and the running server for a command."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import Any

from mailbox_app.config.paths import Paths, config_path, resolve
from mailbox_app.control.client import ControlClient
from mailbox_app.errors import ConfigError, ControlError
from mailbox_app.runtime import data_lock

_LOCK_SECONDS = 3.0
"""By then a starting server has taken its data folder, unless it is a first start, which may have to unpack itself before."""
_START_SECONDS = 10.0


def paths(config_file: str | None) -> Paths:
    """Where things lie; also found when the file has a mistake elsewhere, so that a running server can be asked."""
    from mailbox_app.config.load import load

    file = config_path(config_file)
    if not file.exists():
        if config_file:
            raise ConfigError("config.unreadable", f"{file}: there is no such file")
        return resolve(None, file)
    try:
        return resolve(load(file), file)
    except ConfigError as error:
        if error.code == "config.unreadable":
            raise
        return _paths_despite(file, error)


def connect(config_file: str | None, *, patient: bool = True) -> ControlClient:
    """A connection to the running server; a patient one also to one that was started a moment ago, in a script's line before."""
    places = paths(config_file)
    began = time.monotonic()
    while True:
        try:
            return ControlClient(places.control_socket)
        except ControlError as error:
            waited = time.monotonic() - began
            if error.code != "control.unreachable" or not patient or waited > _START_SECONDS:
                raise
            if waited > _LOCK_SECONDS and _is_initialised(places.data_dir) and not data_lock.is_held(places.data_dir):
                raise
        time.sleep(0.05)


def _is_initialised(data_dir: Path) -> bool:
    try:
        return any(data_dir.iterdir())
    except OSError:
        return False


def call(config_file: str | None, method: str, *, patient: bool = True, **params: object) -> dict[str, Any]:
    """One question, one answer."""
    with connect(config_file, patient=patient) as client:
        return client.call(method, params)


def every(client: ControlClient, method: str, field: str, **params: object) -> dict[str, Any]:
    """All pages of a listing as one."""
    found = client.call(method, params)
    while len(found[field]) < found["total"]:
        page = client.call(method, {**params, "offset": len(found[field])})[field]
        if not page:  # it became shorter meanwhile
            break
        found[field] += page
    return found


def _paths_despite(file: Path, error: ConfigError) -> Paths:
    try:
        server = tomllib.loads(file.read_text("utf-8")).get("server", {})
        folders = {key: server[key] for key in ("data_dir", "run_dir") if isinstance(server.get(key), str)}
    except (ValueError, RecursionError, AttributeError):
        raise error from None
    plain = resolve(None, file)
    data_dir = file.parent / folders["data_dir"] if folders.get("data_dir") else plain.data_dir
    default_run = plain.run_dir if data_dir == plain.data_dir else data_dir / "run"
    return Paths(file, data_dir, file.parent / folders["run_dir"] if folders.get("run_dir") else default_run)
