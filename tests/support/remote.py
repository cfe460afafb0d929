"""A remote mail server on loopback that does as it is told: the demo's, under the name that tests know."""

from mailbox_app.demo.remote_server import Received, Script
from mailbox_app.demo.remote_server import RemoteServer as FakeRemote

__all__ = ["FakeRemote", "Received", "Script"]
