"""The conformance kit with CUDA on the host: ``python backends/cupy/tests/kit.py [arguments of the kit]``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import hostcuda

if __name__ == "__main__":
    sys.modules.update(hostcuda.modules())
    from mxcore.testing.conformance import main

    raise SystemExit(main(sys.argv[1:]))
