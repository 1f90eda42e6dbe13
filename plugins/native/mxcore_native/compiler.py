"""The C compiler of the system: which one it is, what it can do, and calling it."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mxcore.base import config
from mxcore.errors import MXNetError

__all__ = ["CompileError", "Compiler", "compiler", "find", "missing"]

SWITCH = "MXCORE_NATIVE"
MODES = ("background", "wait", "off")
_NAMES = ("cc", "gcc", "clang")
_FLAGS = ("-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fopenmp-simd", "-fPIC", "-shared",
          "-w")
_MACHINES = {"x86_64": ("-march=native", "-mprefer-vector-width=512"), "aarch64": ("-mcpu=native",)}
_GNU = ("--param=max-completely-peel-times=1",)  # what is left of a row is a loop too: less code
_VECTOR_NAMES = {"x86_64": "_ZGVbN{lanes}{v}_{name}", "aarch64": "_ZGVnN{lanes}{v}_{name}"}
_MATH = ("exp", "expm1", "log", "log2", "log10", "log1p", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
         "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "pow", "hypot", "atan2")
_OF_TWO = frozenset(("pow", "hypot", "atan2"))


class CompileError(MXNetError):
    """The C compiler failed."""


def mode() -> str:
    """``MXCORE_NATIVE``: background (the default), wait or off.

    Raises
    ------
    MXNetError
        It is something else.
    """
    found = config(SWITCH) or MODES[0]
    if found not in MODES:
        raise MXNetError(f"{SWITCH}={found} is not one of {', '.join(MODES)}")
    return found


def find() -> tuple[str, ...] | None:
    """The command of the compiler: what ``CC`` says, or the first of cc, gcc, clang on the path."""
    named = shlex.split(os.environ.get("CC", ""))
    if named:
        program = shutil.which(named[0])
        return (program, *named[1:]) if program else None
    return next(((program,) for name in _NAMES if (program := shutil.which(name))), None)


def missing() -> str | None:
    """Why nothing is compiled, as a sentence; None where a compiler is there."""
    if mode() == "off":
        return f"off ({SWITCH})"
    if os.name != "posix":
        return "works on Linux and macOS only"
    if find() is None:
        named = os.environ.get("CC")
        return f"CC={named} was not found" if named else "no C compiler was found (cc, gcc, clang); loops run in NumPy"
    if not _arrays_fit():
        return "the arrays of this Python's NumPy cannot be read from C"
    return None


def _arrays_fit() -> bool:
    """Whether lists and arrays begin as the C APIs of Python and NumPy say, at the address that ``id`` tells."""
    import numpy as np

    if sys.implementation.name != "cpython":
        return False
    array = np.empty((3, 4), np.int16)[1:, ::2]
    sample = [None, array]
    head, word, read = object.__basicsize__, ctypes.sizeof(ctypes.c_void_p), ctypes.c_ssize_t.from_address
    size, items = read(id(sample) + head).value, read(id(sample) + head + word).value
    if read(id(sample) + head - word).value != id(list) or size != 2 or read(items + word).value != id(array):
        return False
    at = id(array) + head
    ndim, data, strides = ctypes.c_int.from_address(at + word).value, read(at).value, read(at + 3 * word).value
    return ndim == 2 and data == array.__array_interface__["data"][0] and \
        tuple((ctypes.c_ssize_t * 2).from_address(strides)) == array.strides


@dataclass(frozen=True)
class Compiler:
    """A compiler.

    Attributes
    ----------
    command : tuple of str
    version : str
        The first line that ``--version`` prints.
    flags : tuple of str
    vector : frozenset of str
        Functions (``"expf"``) that it calls for several numbers at once.
    """

    command: tuple[str, ...]
    version: str
    flags: tuple[str, ...]
    vector: frozenset[str]

    @functools.cached_property
    def prototypes(self) -> str:
        """Declarations that make it do so."""
        lines = []
        for name in sorted(self.vector):
            kind, plain = ("float", name[:-1]) if name[-1] == "f" and name[:-1] in _MATH else ("double", name)
            arguments = ", ".join([kind] * (2 if plain in _OF_TWO else 1))
            lines.append(f'__attribute__((simd("notinbranch"))) {kind} {name}({arguments});')
        return "\n".join(lines) + "\n"

    @functools.cached_property
    def identity(self) -> str:
        """What the machine code depends on, besides the source."""
        return "\n".join((self.version, *self.command[1:], *self.flags, _processor()))

    def build(self, source: Path, target: Path, started: Callable[[subprocess.Popen], None] | None = None) -> None:
        """Compile a file into a shared library, at low priority.

        Parameters
        ----------
        started
            Called with the process.

        Raises
        ------
        CompileError
            With what the compiler said.
        """
        libraries = ("-lmvec", "-lm") if self.vector else ("-lm",)
        command = [*self.command, *self.flags, "-o", str(target), str(source), *libraries]
        try:
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, errors="replace", start_new_session=True) as process:
                if started is not None:
                    started(process)
                said, _ = process.communicate()
        except OSError as error:
            raise CompileError(f"{self.command[0]} cannot be run: {error}") from error
        if process.returncode:
            raise CompileError(f"{shlex.join(command)} failed with status {process.returncode}: {said.strip()[:2000]}")


@functools.cache
def compiler() -> Compiler:
    """The compiler of this process.

    Raises
    ------
    CompileError
        It does not say what it is.
    """
    command = find()
    if command is None:
        raise CompileError(f"there is no C compiler: {missing()}")
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompileError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode or not done.stdout:
        raise CompileError(f"{command[0]} --version failed: {(done.stderr or done.stdout).strip()[:500]}")
    version = done.stdout.splitlines()[0]
    machine = _MACHINES.get(platform.machine(), ())
    if "clang" in done.stdout.lower():
        return Compiler(command, version, _FLAGS + machine[:1], frozenset())
    return Compiler(command, version, _FLAGS + machine + _GNU, _vector_functions())


def _vector_functions() -> frozenset[str]:
    """Functions of which libmvec, the vector library of glibc, has versions for this processor."""
    pattern = _VECTOR_NAMES.get(platform.machine())
    if pattern is None:
        return frozenset()
    try:
        library = ctypes.CDLL("libmvec.so.1")
    except OSError:
        return frozenset()
    found = []
    for plain in _MATH:
        v = "vv" if plain in _OF_TWO else "v"
        for name, lanes in ((plain + "f", 4), (plain, 2)):
            if hasattr(library, pattern.format(lanes=lanes, v=v, name=name)):
                found.append(name)
    return frozenset(found)


def _processor() -> str:
    """The processor, as far as code that is made for it differs."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
            lines = f.read().split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kept = [line for line in lines if line.partition(":")[0].strip() in (
        "model name", "flags", "CPU implementer", "CPU part", "CPU variant", "Features")]
    return "\n".join(kept) or platform.machine()
