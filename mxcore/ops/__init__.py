"""The operators, one place each: kernel and schema, shape rule, gradient, documentation."""

import importlib
import pkgutil

__all__ = ["load"]


def load() -> None:
    """Import every module of this package, then let plugins add theirs: the table is complete afterwards."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    from .. import plugins

    plugins.load_operators()
