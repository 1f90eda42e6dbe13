"""Compile programs for graphics processors that need not be there: ``compile_all.py FOLDER sm_80 sm_90 ...``.

``FOLDER`` holds the programs that a run of the conformance kit needed (``MXCORE_HOSTCUDA_PROGRAMS``). Each kernel has to be in
the machine code, and to do without memory of its threads' own: that is a copy of a parameter, or registers that do not suffice.
"""

import re
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mxcore.errors import MXNetError
from mxcore_cupy.compiler import compiled

#: bytes of a thread's own memory: sine of doubles and the like keep a table there for large arguments
_MOST = 64
_FRAME_SIZE, _VALUES = 0x11, 4  # of the section .nv.info


def frames(code: bytes) -> dict[str, int]:
    """Bytes of memory of its own that a thread of each kernel has, from machine code (ELF)."""
    at, (size, count, names) = struct.unpack_from("<Q", code, 0x28)[0], struct.unpack_from("<3H", code, 0x3A)
    sections = [struct.unpack_from("<2I4Q2I2Q", code, at + k * size) for k in range(count)]

    def text(offset: int) -> str:
        return code[offset : code.index(b"\0", offset)].decode()

    named = {text(sections[names][4] + s[0]): s for s in sections}
    symbols, info, found = named[".symtab"], named[".nv.info"], {}
    place, end = info[4], info[4] + info[5]
    while place < end:
        kind, attribute, length = struct.unpack_from("<2BH", code, place)
        if kind == _VALUES and attribute == _FRAME_SIZE:
            symbol, frame = struct.unpack_from("<2I", code, place + 4)
            found[text(sections[symbols[6]][4] + struct.unpack_from("<I", code, symbols[4] + 24 * symbol)[0])] = frame
        place += 4 + (length if kind == _VALUES else 0)
    return found


def main(folder: str, *architectures: str) -> int:
    """How many did not compile; their messages are printed."""
    programs = sorted(Path(folder).glob("*.cl"))
    if not programs or not architectures:
        print(__doc__)
        return 1

    def one(job: tuple[Path, str]) -> str:
        path, architecture = job
        source = path.read_text()
        try:
            code = compiled(source, architecture)
        except MXNetError as error:
            return f"{path.name} for {architecture}: {error}"
        kernels = re.findall(r"__kernel[^;{]*?void\s+(\w+)\(", source)
        lost = [k for k in kernels if f".text.{k}\0".encode() not in code]  # sections of machine code that can be launched
        if lost or not kernels:
            return f"{path.name} for {architecture}: no kernel {', '.join(lost)}"
        large = {k: frame for k, frame in frames(code).items() if frame > _MOST}
        return f"{path.name} for {architecture}: kernels with memory of their own: {large}" if large else ""

    with ThreadPoolExecutor(2) as pool:
        failures = [said for said in pool.map(one, [(p, a) for p in programs for a in architectures]) if said]
    print("\n".join(failures[:20]))
    print(f"{len(programs)} programs for {', '.join(architectures)}: {len(failures)} failures")
    return min(len(failures), 100)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
