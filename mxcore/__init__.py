"""mxcore: MXNet's system as a plugin framework. ``import mxcore as mx``.

Names are resolved at first use, so that importing costs little: the front-ends, operators and backends load when they
are touched.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .context import Context, cpu, cpu_pinned, cpu_shared, current_context, gpu, gpu_memory_info, num_gpus
from .errors import MXNetError

if TYPE_CHECKING:
    from . import (
        attribute,
        autograd,
        gluon,
        initializer,
        lr_scheduler,
        metric,
        model,
        monitor,
        name,
        operator,
        optimizer,
        profiler,
        random,
        runtime,
    )
    from . import initializer as init
    from . import monitor as mon
    from . import ndarray as nd
    from . import symbol as sym
    from .attribute import AttrScope
    from .ndarray import NDArray
    from .symbol import Symbol

#: public name -> where it is; "module" or "module:attribute"
_PLACES = {
    "nd": "ndarray", "sym": "symbol", "init": "initializer", "mon": "monitor", "opt": "optimizer", "rnd": "random",
    "AttrScope": "attribute:AttrScope", "NDArray": "ndarray:NDArray", "Symbol": "symbol:Symbol",
    "waitall": "ndarray:waitall",
}
_INSTALL = {"cuda": "cuda13", "opencl": "opencl"}  # device kind -> the extra that brings it
_MODULES = (
    "attribute", "autograd", "base", "context", "dtype", "errors", "executor", "gluon", "initializer",
    "lr_scheduler", "metric", "model", "monitor", "name", "ndarray", "operator", "optimizer", "plugins", "profiler", "random",
    "runtime", "symbol", "testing", "util", "doctor", "registry", "engine",
)
__all__ = ["AttrScope", "Context", "MXNetError", "NDArray", "Symbol", "__version__", "autograd", "cpu", "cpu_pinned",
           "cpu_shared", "current_context", "gluon", "gpu", "gpu_memory_info", "init", "initializer", "lr_scheduler", "metric",
           "model", "monitor", "nd", "ndarray", "num_gpus", "optimizer", "profiler", "random", "sym", "symbol"]


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name, name if name in _MODULES else None)
    if place is None:
        return _kind(name)
    module, _, attribute = place.partition(":")
    try:
        found = importlib.import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as error:
        if error.name == f"{__name__}.{module}":
            raise AttributeError(f"module 'mxcore' has no attribute {name!r}") from None
        raise
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def _kind(name: str) -> Any:
    """``mx.opencl(i)``: a context of a device kind that an installed backend serves."""
    if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}") is None:  # no module on its way in
        from .plugins import backend_infos

        if any(name in info.kinds for info in backend_infos()):
            def context(device_id: int = 0) -> Context:
                return Context(name, device_id)

            context.__name__ = context.__qualname__ = name
            context.__doc__ = f"The context of ``{name}`` device number ``device_id``."
            return globals().setdefault(name, context)
    hint = _INSTALL.get(name)
    more = f": no installed backend serves devices of that kind; pip install mxcore[{hint}]" if hint else ""
    raise AttributeError(f"module 'mxcore' has no attribute {name!r}{more}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES, *_MODULES})
