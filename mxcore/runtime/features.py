"""What this installation can do, as MXNet's ``mx.runtime`` tells it."""

from __future__ import annotations

import collections
import importlib.util

from .. import plugins
from .fallback import fallbacks, routed

__all__ = ["Feature", "Features", "fallbacks", "feature_list", "routed"]

Feature = collections.namedtuple("Feature", ["name", "enabled"])
Feature.__doc__ = "A feature and whether it is there."


def _found() -> dict[str, bool]:
    kinds = {k for i in plugins.backend_infos() for k in (*i.kinds, i.name)}
    have = {r.name for r in plugins.records() if r.status == "loaded"}

    def module(name: str) -> bool:
        return importlib.util.find_spec(name) is not None

    return {
        "CUDA": "cupy" in kinds, "CUDNN": "cupy" in kinds and module("nvidia") and module("nvidia.cudnn"),
        "NCCL": False, "OPENCL": "opencl" in kinds,
        "CPU": "cpu" in kinds, "MKLDNN": "onednn" in have, "BLAS_OPEN": "numpy" in kinds, "LAPACK": module("scipy"),
        "OPENCV": module("PIL"), "DIST_KVSTORE": "mpi" in have, "INT64_TENSOR_SIZE": True, "F16C": True,
        "SIGNAL_HANDLER": False, "PROFILER": True, "TENSORRT": False, "TVM_OP": False,
    }


class Features(collections.OrderedDict):
    """The features by name; print it, or ask :meth:`is_enabled`.

    >>> mx.runtime.Features().is_enabled("INT64_TENSOR_SIZE")
    True
    """

    def __init__(self) -> None:
        super().__init__((name, Feature(name, on)) for name, on in _found().items())

    def is_enabled(self, feature_name: str) -> bool:
        """Whether a feature is there.

        Raises
        ------
        RuntimeError
            There is no feature of that name.
        """
        name = feature_name.upper()
        if name not in self:
            raise RuntimeError(f"Feature '{feature_name}' is unknown, known features are: {list(self)}")
        return self[name].enabled

    def __repr__(self) -> str:
        return f"[{', '.join(('✔ ' if f.enabled else '✖ ') + n for n, f in self.items())}]"


def feature_list() -> list[Feature]:
    """All features."""
    return list(Features().values())
