"""Gluon: networks as trees of blocks, trained imperatively or compiled."""

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from .block import Block, HybridBlock, SymbolBlock
from .parameter import Constant, DeferredInitializationError, Parameter, tensor_types
from .parameter_dict import ParameterDict
from .trainer import Trainer

__all__ = ["Block", "Constant", "DeferredInitializationError", "HybridBlock", "Parameter", "ParameterDict",
           "SymbolBlock", "Trainer", "tensor_types"]

_MODULES = ("contrib", "data", "loss", "model_zoo", "nn", "rnn")
#: MXNet's ``gluon.utils``: name -> module here.
_UTILS = {"split_data": "batch", "split_and_load": "batch", "clip_global_norm": "batch", "HookHandle": "hooks",
          "check_sha1": "download", "download": "download", "shape_is_known": "parameter"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])


def _gathered(name: str, doc: str, table: dict[str, str]) -> ModuleType:
    """A module, importable under ``name``, whose members are taken at first use from where they are defined."""
    module = ModuleType(name, doc)

    def member(key: str) -> Any:
        if key not in table:
            raise AttributeError(f"module {name!r} has no attribute {key!r}")
        value = getattr(import_module(f".{table[key]}", __name__), key)
        setattr(module, key, value)
        return value

    module.__dict__.update(__getattr__=member, __dir__=lambda: sorted(table), __all__=sorted(table))
    sys.modules[name] = module
    return module


utils = _gathered(f"{__name__}.utils", "Batches, gradients and downloads, under MXNet's name for them.", _UTILS)
utils.replace_file = os.replace  # type: ignore[attr-defined]
