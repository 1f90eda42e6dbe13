"""Programs compiled by NVRTC to machine code, and kept on disk for the next process.

CuPy's own compilation flushes denormal numbers and asks the device for its architecture; this one gives IEEE's numbers, and
needs neither device nor driver.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path

from mxcore.errors import MXNetError
from mxcore.files.atomic import atomic_write
from mxcore.files.cache import cache_folder, prune

from .prelude import options, translated

__all__ = ["architecture_for", "architectures", "compiled", "folder"]


def folder() -> Path:
    """Where programs are kept: ``cuda`` in ``MXCORE_HOME``, or in the folder of the system for caches."""
    return cache_folder("cuda")


def architectures() -> list[int]:
    """The compute capabilities that the installed NVRTC compiles for, as numbers like 90."""
    from cupy.cuda import nvrtc

    return sorted(nvrtc.getSupportedArchs())


def architecture_for(capability: int) -> str:
    """What to compile for: the device itself, or portable code of the nearest older kind where NVRTC does not know it yet.

    Raises
    ------
    MXNetError
        The device is older than all that NVRTC knows.
    """
    known = [a for a in architectures() if a <= capability]
    if not known:
        raise MXNetError(f"this NVRTC compiles for compute capability {architectures()[0] / 10} and later; the device has "
                         f"{capability / 10}. An older CuPy (mxcore[cuda12]) may support it")
    return f"sm_{capability}" if known[-1] == capability else f"compute_{known[-1]}"


def compiled(source: str, architecture: str) -> bytes:
    """The machine code of a program, from the folder where it was compiled before.

    Parameters
    ----------
    source : str
        OpenCL C of the kind that :mod:`mxcore_device.source` describes.
    architecture : str
        As ``"sm_90"``, or ``"compute_90"`` for code that the driver translates.

    Raises
    ------
    MXNetError
        With the compiler's messages and the lines that they mean.
    """
    from cupy.cuda import nvrtc

    text, flags = translated(source), options(source, architecture)
    key = hashlib.sha256("\0".join((text, *flags, str(nvrtc.getVersion()))).encode()).hexdigest()
    path = folder() / f"{key}.cubin"
    found = _read(path)
    if found is None:
        found = _compile(text, source, flags)
        _write(path, found)
    return found


def _compile(text: str, source: str, flags: tuple[str, ...]) -> bytes:
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(text, "program.cu", (), ())
    try:
        nvrtc.compileProgram(program, flags)
        portable = any("=compute_" in f for f in flags)
        return bytes(nvrtc.getPTX(program)) if portable else bytes(nvrtc.getCUBIN(program))
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        version = ".".join(map(str, nvrtc.getVersion()))
        raise MXNetError(f"NVRTC {version} refuses a generated program ({error}). This is a bug of mxcore-cupy or of the "
                         f"compiler.\n{_shown(log, source)}") from error
    finally:
        nvrtc.destroyProgram(program)


def _shown(log: str, source: str) -> str:
    """The first messages, and the lines of the source that they complain about."""
    lines = source.splitlines()
    messages = [line for line in log.splitlines() if line.strip()][:12]
    numbers = dict.fromkeys(int(n) for line in messages if "error" in line for n in re.findall(r"program\.cl\((\d+)\)", line))
    return "\n".join([*messages, *[f"line {n}: {lines[n - 1].strip()}" for n in list(numbers)[:5] if 0 < n <= len(lines)]])


# ---------------------------------------------------------------- on disk
def _read(path: Path) -> bytes | None:
    """What was written whole: the file ends with a checksum."""
    try:
        content = path.read_bytes()
        os.utime(path)
    except OSError:  # not there, or not ours to touch: it is compiled
        return None
    body, digest = content[:-32], content[-32:]
    return body if hashlib.sha256(body).digest() == digest else None


def _write(path: Path, body: bytes) -> None:
    """Whole or not at all. A disk that cannot be written costs the next process the compilation, no more."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_write(path) as f:
            f.write(body + hashlib.sha256(body).digest())
        prune(path.parent, "*.cubin")
