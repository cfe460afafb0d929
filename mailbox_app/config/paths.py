"""Where things lie on disk: the configuration file, the data folder, the run folder, the sockets.

As a service: /etc/mailserver/config.toml, /var/lib/mailserver, /run/mailserver. Otherwise the user's own folders. Nothing is
made here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from mailbox_app.config.schema import Config

SERVICE_NAME = "mailserver"
SERVICE_CONFIG = Path("/etc/mailserver/config.toml")
SERVICE_DATA = Path("/var/lib/mailserver")
SERVICE_RUN = Path("/run/mailserver")


@dataclass(frozen=True, slots=True)
class Paths:
    """The resolved places."""

    config_file: Path
    data_dir: Path
    run_dir: Path

    @property
    def control_socket(self) -> Path:
        """Where the daemon takes requests of the command line and the console."""
        return self.run_dir / "control.sock"

    @property
    def imap_socket(self) -> Path:
        """Where `mailbox imap` comes in, without a login."""
        return self.run_dir / "imap.sock"

    @property
    def submit_socket(self) -> Path:
        """Where `mailbox sendmail` hands mail in; anybody on this machine may connect, and is asked of the kernel who it is."""
        return self.run_dir / "submit.sock"

    @property
    def hub_socket(self) -> Path:
        """Where the processes of one daemon exchange hints."""
        return self.run_dir / "hub.sock"


def config_path(given: str | None = None) -> Path:
    """The file to use: the given one, else MAILBOX_CONFIG, else the service's, else the user's own."""
    if chosen := given or os.environ.get("MAILBOX_CONFIG"):
        return Path(chosen).absolute()
    if SERVICE_CONFIG.exists() or os.geteuid() == 0:
        return SERVICE_CONFIG
    return Path(platformdirs.user_config_dir(SERVICE_NAME)) / "config.toml"


def resolve(config: Config | None, config_file: Path) -> Paths:
    """The places of a loaded configuration; None: what they would be with an empty one."""
    data, run = (config.server.data_dir, config.server.run_dir) if config else ("", "")
    as_service = config_file == SERVICE_CONFIG
    default_data = SERVICE_DATA if as_service else Path(platformdirs.user_data_dir(SERVICE_NAME))
    data_dir = Path(data) if data else default_data
    run_dir = Path(run) if run else SERVICE_RUN if data_dir == SERVICE_DATA else data_dir / "run"
    return Paths(config_file, data_dir, run_dir)
