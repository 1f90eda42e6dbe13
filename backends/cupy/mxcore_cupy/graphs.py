"""CUDA graphs: launches that are recorded once and replayed for the price of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mxcore.errors import MXNetError

from .devices import CudaMachine

__all__ = ["recorded"]


def recorded(machine: CudaMachine, run: Callable[[], None]) -> Callable[[], None]:
    """Record what ``run`` launches; the result replays it on the current stream.

    Memory comes from a pool of its own, which lives as long as the graph: to CuPy's common pool the blocks would be free, and
    a replay would write into arrays of others.

    Raises
    ------
    MXNetError
        ``run`` waits for the device, copies to the host or otherwise does what a stream cannot record.
    """
    cuda = machine.cupy.cuda
    if machine.blocking:
        raise MXNetError("MXCORE_CUDA_BLOCKING=1 waits for each kernel")
    machine.enter()
    machine.finish()
    pool, stream = cuda.MemoryPool(), cuda.Stream(non_blocking=True)
    read: list[Any] = []
    with machine.errors("recording launches"), cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        machine.recorded = read
        try:
            run()
        except BaseException:
            _abandon(machine, stream)
            raise
        finally:
            machine.recorded = None
        graph = stream.end_capture()
    return _Replay(machine, graph, pool, read)


def _abandon(machine: CudaMachine, stream: Any) -> None:
    """End a recording that has failed; the driver says so once more, which is no news."""
    try:
        stream.end_capture()
    except machine.cupy.cuda.runtime.CUDARuntimeError:
        return


class _Replay:
    """A graph, and what its launches read and write."""

    def __init__(self, machine: CudaMachine, graph: Any, pool: Any, read: list[Any]) -> None:
        self.machine, self.graph, self.pool, self.read = machine, graph, pool, read

    def __call__(self) -> None:
        machine = self.machine
        machine.enter()
        with machine.errors("replaying launches"):
            self.graph.launch(machine.cupy.cuda.get_current_stream())
