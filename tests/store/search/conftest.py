"""The store every test of this folder works on."""

from tests.support.store_place import place

__all__ = ["place"]
