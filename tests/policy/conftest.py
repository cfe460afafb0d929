"""Fixtures of the policy's tests."""

from __future__ import annotations

from tests.support.state_place import place

__all__ = ["place"]
