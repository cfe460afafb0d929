"""Fixtures of the accounts' tests."""

from __future__ import annotations

from tests.support.state_place import place

__all__ = ["place"]
