"""Root only for the ports: becoming the service's user, and what the kernel is told about a process.

Errors are `ConfigError`s with a remedy. Without root nothing is changed.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
from collections.abc import Sequence
from pathlib import Path

import structlog

from mailbox_app.errors import ConfigError

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def make_folders(folders: Sequence[tuple[Path, int]], user: str) -> None:
    """Make absent folders with these modes; they, and empty ones that are there, become the service user's when we are root."""
    owner = _service_user(user)
    for folder, mode in folders:
        try:
            if folder.is_dir():
                if owner is None or folder.stat().st_uid == owner.pw_uid or any(folder.iterdir()):
                    continue  # what holds something is given to nobody else: `require_writable` says what to do
            else:
                folder.mkdir(mode=mode, parents=True)
            folder.chmod(mode)  # whatever the umask is
            if owner is not None:
                os.chown(folder, owner.pw_uid, owner.pw_gid)
        except OSError as error:
            raise ConfigError(
                "folder.failed",
                f"{folder} cannot be made: {error.strerror}; make it or choose another in the configuration",
            ) from error


def require_writable(folder: Path) -> None:
    """After `drop`: whether what we have become may work in the folder; ConfigError says what to do."""
    if os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container may run as a number without a name
        name = str(os.geteuid())
    raise ConfigError(
        "folder.not_permitted", f"user {name} may not write in {folder}; give it away with: chown -R {name} {folder}"
    )


def drop(user: str, owned: Sequence[Path] = ()) -> None:
    """Become the user for good, when root, and give it these files; a user that does not exist is a warning and root stays."""
    os.umask(0o077)
    if os.geteuid() != 0:
        return
    owner = _service_user(user)
    if owner is None:
        structlog.get_logger("runtime").warning(
            "running as root", user=user, remedy="make this user, or set server.user to one that exists"
        )
        return
    for path in owned:
        os.chown(path, owner.pw_uid, owner.pw_gid)
    os.initgroups(owner.pw_name, owner.pw_gid)
    os.setresgid(owner.pw_gid, owner.pw_gid, owner.pw_gid)
    os.setresuid(owner.pw_uid, owner.pw_uid, owner.pw_uid)


def no_new_privileges() -> None:
    """Nothing this process or its children execute can gain rights."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def die_with(parent_pid: int) -> None:
    """End at once when the parent dies, also if it has died already. After `drop`: a change of user forgets it."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def _service_user(user: str) -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(user)
    except KeyError:
        return None


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")
