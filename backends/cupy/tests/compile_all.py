"""Compile programs for graphics processors that need not be there: ``compile_all.py FOLDER sm_80 sm_90 ...``.

``FOLDER`` holds the programs that a run of the conformance kit needed (``MXCORE_HOSTCUDA_PROGRAMS``).
"""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mxcore.errors import MXNetError
from mxcore_cupy.compiler import compiled


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
        return f"{path.name} for {architecture}: no kernel {', '.join(lost)}" if lost or not kernels else ""

    with ThreadPoolExecutor(2) as pool:
        failures = [said for said in pool.map(one, [(p, a) for p in programs for a in architectures]) if said]
    print("\n".join(failures[:20]))
    print(f"{len(programs)} programs for {', '.join(architectures)}: {len(failures)} failures")
    return min(len(failures), 100)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
