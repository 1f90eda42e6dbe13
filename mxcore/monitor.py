"""``mx.monitor``: statistics of what flows through a bound symbol, every few batches."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from .errors import ArgumentError
from .ndarray import NDArray

__all__ = ["Monitor", "StatisticError"]


class StatisticError(ArgumentError, AssertionError):
    """The function of a monitor's statistic returned something that is no array."""


def _size(x: NDArray) -> NDArray:
    """The root of the mean square."""
    return x.norm() / x.size**0.5


class Monitor:
    """Looks at outputs of operators, and at weights, while a bound symbol runs.

    Parameters
    ----------
    interval : int
        Look at every so many batches.
    stat_func : callable, optional
        Gives an NDArray, or a list of NDArrays, for an NDArray; default: the root of the mean square.
    pattern : str
        A regular expression; arrays whose name it matches from the beginning are looked at.
    sort : bool
        Results in the order of names, rather than of computation.
    monitor_all : bool
        Inputs of operators too, not only outputs.

    Notes
    -----
    An executor with a monitor computes the graph a second time in each forward run, with everything kept. Unlike MXNet's,
    it does not look at operators of the backward run.

    Examples
    --------
    >>> net = sym.FullyConnected(sym.var("data"), num_hidden=2, name="fc")
    >>> executor = net.simple_bind(mx.cpu(), data=(1, 3))
    >>> for array in executor.arg_arrays:
    ...     array[:] = 1
    >>> monitor = mx.mon.Monitor(interval=1, pattern=".*output|.*bias")
    >>> monitor.install(executor)
    >>> monitor.tic()
    >>> out = executor.forward()
    >>> monitor.toc()
    [(1, 'fc_output', '4.0\\t'), (1, 'fc_bias', '1.0\\t')]
    """

    def __init__(self, interval: int, stat_func: Callable[[NDArray], Any] | None = None, pattern: str = ".*", sort: bool = False,
                 monitor_all: bool = False) -> None:
        self.stat_func = _size if stat_func is None else stat_func
        self.interval = interval
        self.activated = False
        self.queue: list[tuple[int, str, Any]] = []
        self.step = 0
        self.exes: list[Any] = []
        self.re_prog = re.compile(pattern)
        self.sort = sort
        self.monitor_all = monitor_all

    def stat_helper(self, name: str, array: NDArray) -> None:
        """Called by executors with the name and value of each array."""
        if self.activated and self.re_prog.match(name):
            self.queue.append((self.step, name, self.stat_func(array)))

    def install(self, exe: Any) -> None:
        """Look at an executor from now on; several may be looked at.

        Parameters
        ----------
        exe : Executor
            From ``Symbol.bind`` or ``simple_bind``.
        """
        exe.set_monitor_callback(self.stat_helper, self.monitor_all)
        self.exes.append(exe)

    def tic(self) -> None:
        """Call before the forward run of a batch: begins to look, if it is the turn of this one."""
        if self.step % self.interval == 0:
            self.queue = []
            self.activated = True
        self.step += 1

    def toc(self) -> list[tuple[int, str, str]]:
        """Call after the batch.

        Returns
        -------
        list of (int, str, str)
            Number of the batch, name of the array, and its statistics as text, each followed by a tab. Empty for
            batches that were passed over.

        Raises
        ------
        StatisticError
            ``stat_func`` gave neither an NDArray nor a list of NDArrays.
        """
        if not self.activated:
            return []
        for exe in self.exes:
            for name, array in (*exe.arg_dict.items(), *exe.aux_dict.items()):
                self.stat_helper(name, array)
        self.activated = False
        found, self.queue = self.queue, []
        if self.sort:
            found.sort(key=lambda one: one[1])
        return [(step, name, _text(name, value)) for step, name, value in found]

    def toc_print(self) -> None:
        """Call after the batch: :meth:`toc`, into the log."""
        for step, name, text in self.toc():
            logging.getLogger().info("Batch: %7d %-30s %s", step, name, text)


def _text(name: str, statistics: Any) -> str:
    several = statistics if isinstance(statistics, list) else [statistics]
    for one in several:
        if not isinstance(one, NDArray):
            raise StatisticError(f"the statistic of {name!r} must be an NDArray or a list of NDArrays, not {type(one).__name__}")
    return "".join(f"{one.asscalar() if one.size == 1 and one.ndim < 2 else one.asnumpy()}\t" for one in several)
