"""What a server that was treated roughly must look like afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from pathlib import Path

from tests.support.daemon import Daemon


def trouble(daemon: Daemon) -> list[str]:
    """Log lines with a traceback, and lines no logger wrote."""
    lines = daemon.log_path.read_text(errors="replace").splitlines()
    return [line for line in lines if not line.startswith("{") or "traceback" in json.loads(line)]


def metric(daemon: Daemon, name: str) -> float:
    """The value of one metric without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.ports['metrics']}/metrics", timeout=20) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"mailserver_{name} "):
                return float(line.rpartition(" ")[2])
    raise AssertionError(f"there is no metric {name}")


def tree(folder: Path, *without: Path) -> dict[str, str]:
    """Every file and folder below, links not followed, with a digest of what is in it."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(place, name) not in without]
        found[os.path.relpath(place, folder) + "/"] = ""
        for name in names:
            path = Path(place, name)
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            found[os.path.relpath(path, folder)] = hashlib.sha256(content).hexdigest()
    return found
