"""Timing in rounds: what is compared runs by turns, so that a change of the machine's speed meets all of it alike."""

from __future__ import annotations

import gc
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Bench", "Variant"]

ROOT = Path(__file__).resolve().parents[2]
#: before the first round; a recording is made at the third call of each program
WARM = 5
ROUNDS = 7
#: of one block of steps, which ends with a synchronisation
BLOCK_SECONDS = 0.25
TOP = 10


@dataclass
class Variant:
    """One way to do a piece of work.

    Attributes
    ----------
    name : str
        Its column; those of the other side begin with ``PyTorch``.
    build : callable
        Makes the network or arrays; gives the function of a step, whose result is the loss, if there is one.
    totals, issues : list of float
        Seconds of a step in each round: with the synchronisation, and until all was issued.
    memory : dict
        Bytes, after the first steps: ``driver`` (taken from the driver), ``pool`` (held by the allocator), ``arrays`` (the most
        that was in use at a time, where the library counts it).
    error : str
        Why there is no figure.
    """

    name: str
    build: Callable[[], Callable[[], Any]]
    totals: list[float] = field(default_factory=list)
    issues: list[float] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    error: str = ""
    loss: float | None = None
    step: Callable[[], Any] | None = None
    count: int = 1

    def failed(self, error: Exception) -> None:
        """Keep what an error says, and nothing of what it holds."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        self.error = f"{type(error).__name__}: {' '.join(lines)[:240]}"
        self.step = None
        gc.collect()

    def result(self, scale: Callable[[float], float]) -> dict[str, Any]:
        """The figures, each through ``scale`` from seconds of a step."""
        finite = self.loss is None or math.isfinite(self.loss)
        found: dict[str, Any] = {"error": self.error, "memory": self.memory, "loss": self.loss if finite else str(self.loss)}
        if self.totals:
            found.update(median=scale(statistics.median(self.totals)), best=scale(min(self.totals)),
                         host=scale(statistics.median(self.issues)), rounds=len(self.totals), steps=self.count)
        return found


class Bench:
    """A device, seen from mxcore and, where it is installed, from PyTorch.

    Parameters
    ----------
    kind : str
        ``"cuda"`` or ``"cpu"``.
    tiny : bool
        Small shapes and short blocks: to see that everything runs.
    tf32 : bool
        Whether float32 products may be computed in TensorFloat-32, on both sides. For mxcore the environment says it.
    seconds : float
        Rounds are left out after so many.
    """

    def __init__(self, kind: str, tiny: bool, tf32: bool, seconds: float) -> None:
        self.tiny, self.until = tiny, time.perf_counter() + seconds
        self.torch, self.torch_note = _torch(kind, tiny)  # first: it brings libraries that mxcore uses too
        if kind == "cuda" and os.environ.get("MXCORE_TEST_CUDA") == "host":
            _imitate()
        import mxcore as mx

        self.mx, self.ctx = mx, mx.Context(kind)
        self.real = kind == "cuda"
        self.torch_device = "cpu"
        if self.torch is not None:
            self.torch_device = "cuda" if kind == "cuda" and self.torch.cuda.is_available() else "cpu"
            _precision(self.torch, tf32)
        self.random = np.random.default_rng(0)

    def uniform(self, *shape: int) -> np.ndarray:
        """Float32 numbers between -1 and 1."""
        return self.random.random(shape, np.float32) * 2 - 1

    # ------------------------------------------------------------------ the device
    def about(self) -> dict[str, str]:
        """What was measured, in words."""
        found = {"date": time.strftime("%Y-%m-%d"), "Python": sys.version.split()[0], "mxcore": self.mx.__version__}
        infos = {i.name: i for i in self.mx.plugins.backend_infos()}
        name = "cupy" if self.real else "numpy"
        found["device"] = infos[name].describe() if name in infos else name
        if self.torch is None:
            return {**found, "PyTorch": self.torch_note}
        cuda = f", CUDA {self.torch.version.cuda}, cuDNN {self.torch.backends.cudnn.version()}" if self.torch_device == "cuda" else ""
        return {**found, "PyTorch": f"{self.torch.__version__} on {self.torch_device}{cuda}"}

    def sync(self) -> None:
        """Wait for all that was issued, by either side."""
        self.mx.nd.waitall()
        if self.torch_device == "cuda":
            self.torch.cuda.synchronize()

    def _release(self) -> None:
        gc.collect()
        self.sync()
        self.ctx.empty_cache()
        if self.torch_device == "cuda":
            self.torch.cuda.empty_cache()
            self.torch.cuda.reset_peak_memory_stats()

    def _taken(self) -> int:
        """Bytes of the device that are not free for others, as the driver sees it."""
        free, total = self.mx.gpu_memory_info()  # counts what the pool holds in reserve as free
        used, held = self.ctx.pool_info()
        return total - free + held - used

    def _pool(self, theirs: bool) -> int:
        if theirs:
            return self.torch.cuda.memory_reserved() if self.torch_device == "cuda" else 0
        return self.ctx.pool_info()[1]

    # ------------------------------------------------------------------ measuring
    def compare(self, variants: list[Variant]) -> None:
        """Build and warm up one after the other, then measure in rounds."""
        for v in variants:
            try:
                self._prepare(v)
            except Exception as error:  # its row says so; the others go on
                v.failed(error)
        for turn in range(ROUNDS):
            if turn >= 2 and time.perf_counter() > self.until:
                break
            for v in variants if turn % 2 else variants[::-1]:
                if v.step is not None:
                    try:
                        issued, total = self._block(v.step, v.count)
                    except Exception as error:
                        v.failed(error)
                    else:
                        v.issues.append(issued)
                        v.totals.append(total)
        for v in variants:
            if v.step is not None:
                v.loss = _number(v.step())

    def _prepare(self, v: Variant) -> None:
        theirs = v.name.startswith("PyTorch")
        if self.real:
            self._release()
            before, held = self._taken(), self._pool(theirs)
            arrays = self.torch.cuda.memory_allocated() if self.torch_device == "cuda" else 0
        v.step = v.build()
        for _ in range(WARM):
            v.step()
        self.sync()
        if self.real:
            v.memory = {"driver": self._taken() - before, "pool": self._pool(theirs) - held}
            if theirs and self.torch_device == "cuda":
                v.memory["arrays"] = self.torch.cuda.max_memory_allocated() - arrays
        _, total = self._block(v.step, 1 if self.tiny else 3)
        v.count = max(1, min(1000, int((0.0 if self.tiny else BLOCK_SECONDS) / total)))

    def _block(self, step: Callable[[], Any], count: int) -> tuple[float, float]:
        """Seconds of one step of ``count``: until they are issued, and until they are done."""
        start = time.perf_counter()
        for _ in range(count):
            step()
        issued = time.perf_counter()
        self.sync()
        return (issued - start) / count, (time.perf_counter() - start) / count

    def kernels(self, step: Callable[[], Any], steps: int = 3) -> dict[str, Any]:
        """The kernels that take longest: ``{"wall": ms, "busy": ms, "launches": number, "top": [(name, ms, number)]}``,
        of one step.

        PyTorch's profiler records those of all libraries in the process.
        """
        profiler, cuda = self.torch.profiler, self.torch_device == "cuda"
        what = profiler.ProfilerActivity.CUDA if cuda else profiler.ProfilerActivity.CPU
        with profiler.profile(activities=[what]) as seen:
            _, wall = self._block(step, steps)
        kind = self.torch.autograd.DeviceType.CUDA if cuda else self.torch.autograd.DeviceType.CPU
        spent = [(e.key, (e.self_device_time_total if cuda else e.self_cpu_time_total) / steps / 1e3, e.count / steps)
                 for e in seen.key_averages() if e.device_type == kind]
        spent.sort(key=lambda entry: -entry[1])
        return {"wall": wall * 1e3, "busy": sum(ms for _, ms, _ in spent), "launches": sum(n for _, _, n in spent),
                "top": spent[:TOP]}

    def load_libraries(self) -> None:
        """Products and convolutions, before the first variant is charged with the memory for them."""
        nd = self.mx.nd
        x, w = nd.ones((1, 8, 8, 8), ctx=self.ctx), nd.ones((8, 8, 3, 3), ctx=self.ctx)
        nd.dot(nd.Convolution(x, w, kernel=(3, 3), num_filter=8, no_bias=True).reshape((8, -1)), nd.ones((36, 3), ctx=self.ctx))
        if self.torch is not None:
            one, many, few = (self.torch.ones(shape, device=self.torch_device) for shape in ((1, 8, 8, 8), (8, 8, 3, 3), (36, 3)))
            self.torch.nn.functional.conv2d(one, many).reshape(8, -1) @ few
        self.sync()


def _torch(kind: str, tiny: bool) -> tuple[Any, str]:
    """PyTorch, or nothing and the reason."""
    try:
        import torch
    except ImportError as error:
        return None, f"not compared: {error}"
    if kind == "cuda" and not tiny and not torch.cuda.is_available():
        return None, f"not compared: PyTorch {torch.__version__} sees no device of CUDA"
    return torch, ""


def _precision(torch: Any, tf32: bool) -> None:
    if hasattr(torch.backends.cudnn, "conv"):  # PyTorch 2.9 and later
        for flags in (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
            flags.fp32_precision = "tf32" if tf32 else "ieee"
    else:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32


def _imitate() -> None:
    """CUDA on the host, as the tests of the CUDA backend have it: to run this script where there is no device."""
    sys.path.insert(0, str(ROOT / "backends" / "cupy" / "tests"))
    import hostcuda

    sys.modules.update(hostcuda.modules())


def _number(loss: Any) -> float | None:
    """The mean of a loss of either side."""
    if loss is None:
        return None
    return float(loss.astype("float32").mean().asscalar() if hasattr(loss, "asscalar") else loss.detach().float().mean())
