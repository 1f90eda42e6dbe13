"""Configuration: one table of environment variables, read once, each with its meaning."""

import os
from dataclasses import dataclass

__all__ = ["SETTINGS", "Setting", "config", "default_threads"]


@dataclass(frozen=True)
class Setting:
    """One environment variable: its MXNet name (if any), default and meaning."""

    name: str
    default: str | None
    meaning: str
    mxnet: str | None = None

    def read(self) -> str | None:
        """The current value: the mxcore name, then the MXNet name, then the default."""
        value = os.environ.get(self.name)
        if value is None and self.mxnet:
            value = os.environ.get(self.mxnet)
        return self.default if value is None else value


SETTINGS: dict[str, Setting] = {s.name: s for s in (
    Setting("MXCORE_PLUGINS", None, "comma list of plugins to load; empty: none; unset: all that are installed"),
    Setting("MXCORE_BACKEND_CPU", None, "name of the backend that serves mx.cpu()"),
    Setting("MXCORE_BACKEND_GPU", None, "name of the backend that serves mx.gpu()"),
    Setting("MXCORE_NUM_THREADS", None, "threads of BLAS and kernels; default: the cores available", "OMP_NUM_THREADS"),
    Setting("MXCORE_PASSES", None, "graph passes on hybridized nets: comma list, '-name' leaves one out, 'none'; unset: all"),
    Setting("MXCORE_KEEP_MEMORY", "1", "1: memory of freed arrays is kept for the next ones; 0: the C library's default"),
    Setting("MXCORE_PROFILER_AUTOSTART", "0", "1: the profiler runs from the start; profile.json is written at exit",
            "MXNET_PROFILER_AUTOSTART"),
    Setting("MXCORE_FALLBACK", "warn", "host fallbacks of a backend: 'allow', 'warn' or 'error'"),
    Setting("MXCORE_CUDA_BLOCKING", "0", "1: wait for each CUDA kernel, so that an error comes from the line that caused it"),
    Setting("MXCORE_CUDA_TF32", "0", "1: float32 products and convolutions may use TensorFloat-32; read when a device is opened"),
    Setting("MXCORE_OPENCL_ROUTE", None, "'gpu': products of matrices run on OpenCL devices that are CPUs too; 'cpu': on none"),
    Setting("MXCORE_FUSE_AFTER", "2", "an expression becomes a kernel of its own after so many calls (OpenCL, CUDA)"),
    Setting("MXCORE_NATIVE", "background", "compiled loops: 'background', 'wait' for the compiler, or 'off'"),
    Setting("MXCORE_ONEDNN_LIBRARY", None, "path of libdnnl.so.3; default: that of the wheel onednn-cpu-gomp"),
    Setting("MXCORE_OPTIMIZER_AGGREGATION_SIZE", None, "weights updated in one call; default: all of a type, LARS 4, LAMB 45",
            "MXNET_OPTIMIZER_AGGREGATION_SIZE"),
    Setting("MXCORE_HOME", None, "folder of data sets and caches; default ~/.mxnet", "MXNET_HOME"),
    Setting("MXCORE_GLUON_REPO", None, "address to download data sets and models from, instead of their own sites",
            "MXNET_GLUON_REPO"),
)}


def config(name: str) -> str | None:
    """The value of a setting, read from the environment now.

    >>> config("MXCORE_FALLBACK") in ("allow", "warn", "error")
    True
    """
    return SETTINGS[name].read()


def default_threads() -> int:
    """Threads that kernels may use: ``MXCORE_NUM_THREADS``, else the cores this process may run on."""
    value = config("MXCORE_NUM_THREADS")
    if value and value.isdigit() and int(value) > 0:
        return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
