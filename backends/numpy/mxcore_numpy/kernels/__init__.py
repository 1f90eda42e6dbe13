"""Kernels of the NumPy backend, by operator; the modules are imported at the first call of an operator."""

from typing import Any

TABLE: dict[str, Any] = {}
