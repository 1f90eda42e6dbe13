"""What executes: devices and backends, the eager call, graph programs, random numbers.

``mx.runtime`` also answers what this installation can do: ``Features``, ``feature_list``, ``fallbacks``, ``routed``.
"""

from typing import Any

__all__ = ["Feature", "Features", "fallbacks", "feature_list", "routed"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import features

        return getattr(features, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
