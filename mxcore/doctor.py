"""``python -m mxcore.doctor``: what is installed, what works, what failed and why."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

from . import plugins
from ._version import __version__
from .base import SETTINGS, default_threads
from .errors import BackendMissingError

__all__ = ["main", "report"]


def _versions() -> list[str]:
    lines = []
    for name in ("numpy", "scipy", "ml_dtypes", "pluggy", "safetensors", "pillow", "onnx", "cupy-cuda13x", "cupy-cuda12x",
                 "pyopencl", "onednn-cpu-gomp"):
        try:
            lines.append(f"  {name:18} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lines.append(f"  {name:18} -")
    return lines


def _blas() -> list[str]:
    import numpy as np

    config = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {}) if isinstance(config, dict) else {}
    lines = [f"  NumPy's BLAS       {blas.get('name', '?')} {blas.get('version', '')}".rstrip()]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        if name in os.environ:
            lines.append(f"  {name:18} {os.environ[name]}")
    lines.append(f"  threads            {default_threads()} (of {os.cpu_count()} cores)")
    return lines


def report() -> tuple[list[str], int]:
    """The report as lines, and how many problems it holds."""
    from .ops import load
    from .runtime.device import backend_named

    load()  # enters the operators of plugins, or records why one failed
    problems = 0
    lines = [f"mxcore {__version__} on Python {platform.python_version()}, {platform.platform()}", "", "packages:", *_versions(),
             "", "arithmetic:", *_blas(), "", "settings that are set:"]
    found = [f"  {n} = {s.read()}" for n, s in SETTINGS.items() if n in os.environ or (s.mxnet and s.mxnet in os.environ)]
    lines += found or ["  none"]
    lines += ["", "plugins:"]
    said = plugins.descriptions()
    for r in plugins.records():
        lines.append(f"  {r.name:18} {r.status}  {r.distribution} {r.version}")
        if r.name in said:
            lines.append(f"    {said[r.name]}")
        if r.traceback:
            problems += 1
            lines += ["    " + line for line in r.traceback.rstrip().splitlines()]
    if not plugins.records():
        lines.append("  none (MXCORE_PLUGINS is empty, or nothing is installed)")
    lines += ["", "backends and devices:"]
    infos = plugins.backend_infos()
    for info in infos:
        try:
            backend = backend_named(info.name)
            count = backend.device_count()
            free, total = backend.memory_info(0) if count else (0, 0)
            lines.append(f"  {info.name:18} {info.describe()}; {count} device(s), serves {', '.join(info.kinds)}; "
                         f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
        except BackendMissingError as error:  # it works, but there is nothing here that it could serve
            lines.append(f"  {info.name:18} no device: {error}")
        except Exception as error:
            problems += 1
            lines.append(f"  {info.name:18} FAILED: {type(error).__name__}: {error}")
    if not infos:
        problems += 1
        lines.append("  none: pip install mxcore-numpy")
    lines += ["", f"{problems} problem(s)" if problems else "all well"]
    return lines, problems


def main() -> int:
    """Print the report; exit status 1 if there are problems."""
    lines, problems = report()
    print("\n".join(lines))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
