"""Gluon programs give what MXNet 1.9.1 gave: names, printed forms, files, numbers. See ``gluon_cases.py``."""

import json
import math
import runpy
from pathlib import Path
from typing import Any

import pytest

import mxcore as mx

HERE = Path(__file__).parent
PROGRAM = runpy.run_path(str(HERE / "gluon_cases.py"))
EXPECTED = json.loads((HERE / "data" / "gluon" / "cases.json").read_text())


def differences(found: Any, expected: Any, where: str = "") -> list[str]:
    """Where two nested results differ; numbers may by 1e-4 of their size."""
    if type(found) is type(expected) is dict and found.keys() == expected.keys():
        return [d for key in expected for d in differences(found[key], expected[key], f"{where}.{key}")]
    if type(found) is type(expected) is list and len(found) == len(expected):
        return [d for i, item in enumerate(expected) for d in differences(found[i], item, f"{where}[{i}]")]
    if type(found) is type(expected) is float and math.isclose(found, expected, rel_tol=1e-4, abs_tol=2e-5):
        return []
    return [] if found == expected else [f"{where}: {found!r}, MXNet gave {expected!r}"]


def test_every_case_was_recorded() -> None:
    assert sorted(PROGRAM["CASES"]) == sorted(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_case(name: str) -> None:
    assert differences(PROGRAM["run"](mx, name), EXPECTED[name]) == []
