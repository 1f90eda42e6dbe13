"""``mx.random``: seeds, and random arrays."""

from .runtime.random import seed

__all__ = ["seed"]
