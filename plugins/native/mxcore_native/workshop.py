"""Making functions of sources: from the cache, or by the compiler, which runs in the background.

One compiler runs at a time, for all sources that wait. Nobody waits for it, except where ``MXCORE_NATIVE=wait``.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import hashlib
import os
import subprocess
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from . import cache
from .compiler import CompileError, compiler
from .nest import PRELUDE

__all__ = ["Kernel", "Workshop", "WORKSHOP"]

_GATHER = 0.1  # seconds for which the first source waits for others
_BATCH = 24  # sources that are compiled together, at most
_NICE = 15


class Kernel:
    """A function, or what it will be made of.

    Attributes
    ----------
    key : str
    functions, text
        As of :class:`mxcore_native.nest.Nest`.
    call, quick, begin, work
        The functions, once they are there: all of it; the same without letting other Python threads run; preparing; the
        shares that nobody has taken yet.
    failed : bool
        The compiler failed; there will be none.
    """

    def __init__(self, key: str, text: str, functions: Mapping[str, str]) -> None:
        self.key, self.functions = key, dict(functions)
        self.text = text.replace("NAME", f"loop_{key}")
        self.call: Any = None
        self.quick: Any = None
        self.begin: Any = None
        self.work: Any = None
        self.failed = False

    def take(self, library: ctypes.CDLL) -> None:
        """The functions of a library."""
        name = f"loop_{self.key}"
        self.begin, self.work, call = library[f"{name}_begin"], library[f"{name}_work"], library[name]
        self.quick = ctypes.PyDLL(library._name, handle=library._handle)[name]
        for f in (self.begin, self.work, self.quick, call):
            f.argtypes, f.restype = (ctypes.c_void_p,), ctypes.c_int
        self.begin.restype, self.work.restype = ctypes.c_bool, None
        self.call = call  # last: others look at it


class Workshop:
    """Kernels of this process, by key.

    Attributes
    ----------
    loaded, compiled : int
        Kernels that came from the cache, and that were compiled by this process.
    trouble : str or None
        Why compiling failed, or why the cache could not be written.
    """

    def __init__(self) -> None:
        self.kernels: dict[str, Kernel] = {}
        self.loaded = self.compiled = 0
        self.trouble: str | None = None
        self._told = False
        self._waiting: dict[str, Kernel] = {}
        self._batch: dict[str, Kernel] = {}
        self._alone()
        os.register_at_fork(after_in_child=self._alone)
        atexit.register(self._stop)

    def _alone(self) -> None:
        """At the start, and in a forked child: threads did not come along; what they were at is to be done again."""
        self._lock, self._building = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen | None = None
        self._waiting.update(self._batch)

    def _stop(self) -> None:
        """At the end of the process: a compiler that still runs is of no use."""
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()

    # ------------------------------------------------------------ asking
    def kernel(self, text: str, functions: Mapping[str, str]) -> Kernel:
        """The kernel of a source: there already, from the cache, or still to be asked for.

        Raises
        ------
        CompileError
            The compiler cannot be run at all.
        """
        made = hashlib.sha256()
        for part in (_prelude(), *functions.values(), text, compiler().identity):
            made.update(part.encode() + b"\0")
        key = made.hexdigest()[:32]
        with self._lock:
            found = self.kernels.get(key)
            if found is None:
                found = self.kernels[key] = Kernel(key, text, functions)
                library = cache.load(key)
                if library is not None:
                    found.take(library)
                    self.loaded += 1
        return found

    def ask(self, kernel: Kernel) -> None:
        """Have a kernel made in the background; may be called again and again."""
        if self._thread is not None and (kernel.key in self._waiting or kernel.key in self._batch):
            return
        self.note(kernel)
        with self._lock:
            if self._waiting and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="mxcore-native", daemon=True)
                self._thread.start()

    def note(self, kernel: Kernel) -> None:
        """Have a kernel made at the next :meth:`finish`."""
        with self._lock:
            if kernel.call is None and not kernel.failed and kernel.key not in self._batch:
                self._waiting[kernel.key] = kernel

    def finish(self) -> None:
        """Make all that wait, now; what another thread is making is there too when this returns."""
        while self._make():
            pass

    def tell(self) -> None:
        """Warn of trouble, once."""
        if self.trouble is not None and not self._told:
            self._told = True
            warnings.warn(f"mxcore-native: {self.trouble}", RuntimeWarning, stacklevel=2)

    # ------------------------------------------------------------ making
    def _work(self) -> None:
        """The thread: until nothing waits."""
        time.sleep(_GATHER)
        while True:
            self._make()
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return

    def _make(self) -> bool:
        """Compile some of what waits; False if nothing did."""
        with self._building:
            with self._lock:
                batch = self._batch = dict(list(self._waiting.items())[:_BATCH])
                for key in batch:
                    del self._waiting[key]
            kernels = list(batch.values())
            try:
                self._compile(kernels)
            except CompileError as error:
                self.trouble = str(error)
                for one in kernels if len(kernels) > 1 else ():
                    try:
                        self._compile([one])
                    except CompileError as again:
                        self.trouble = str(again)
            except OSError as error:
                self.trouble = f"compiled loops cannot be kept in {cache.folder()}: {error}"
            for kernel in kernels:
                kernel.failed = kernel.call is None
            self._batch = {}
        return bool(kernels)

    def _compile(self, kernels: Sequence[Kernel]) -> None:
        if not kernels:
            return
        definitions: dict[str, str] = {}
        for kernel in kernels:
            definitions |= kernel.functions
        text = "\n".join([_prelude(), *definitions.values(), *[k.text for k in kernels]])
        with cache.build_folder() as folder:
            source, target = folder / "loops.c", folder / "loops.so"
            source.write_text(text, encoding="utf-8")
            try:
                compiler().build(source, target, self._started)
            finally:
                self._process = None
            # from here, since a library that this process has loaded under the name in the cache would be found again
            library = ctypes.CDLL(str(target))
            for kernel in kernels:
                kernel.take(library)
            self.compiled += len(kernels)
            cache.enter(target, [k.key for k in kernels])

    def _started(self, process: subprocess.Popen) -> None:
        self._process = process
        if self._thread is threading.current_thread():
            with contextlib.suppress(OSError):  # it is done already
                os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)


def _prelude() -> str:
    """What each file begins with."""
    return compiler().prototypes + PRELUDE.replace("HEAD", str(object.__basicsize__))


WORKSHOP = Workshop()


def describe() -> str:
    """The compiler, what it did in this process, and what went wrong, as a sentence."""
    try:
        found = compiler()
    except CompileError as error:
        return str(error)
    parts = [f"{found.version} at {found.command[0]}, {len(found.vector)} vector functions, cache {cache.folder()}",
             f"{WORKSHOP.compiled} loops compiled, {WORKSHOP.loaded} from the cache"]
    return "; ".join([*parts, WORKSHOP.trouble] if WORKSHOP.trouble else parts)
