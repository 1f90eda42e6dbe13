"""The whole golden corpus and the files beside it, where the project has them: every operator that exists, every kind of file.

The checkers are those of the corpus (``check_ops.py``, ``check_interop.py``); a part of the data is in ``data/golden``,
and judged by ``test_golden_subset.py`` everywhere.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mxcore as mx

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
pytestmark = [pytest.mark.skipif(not GOLDEN.exists(), reason="the golden corpus is not beside the project"),
              pytest.mark.filterwarnings("ignore")]  # MXNet's programs overflow and divide by zero as they like


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    return load("check_ops")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    previous = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = previous
    return module


def exists(op: str, space: ModuleType) -> bool:
    head, _, name = op.partition(".")
    if head in ("np", "npx", "npmethod", "npprop"):
        return False
    found = space
    for part in [name] if head in ("method", "prop") else op.split("."):
        found = getattr(mx.nd.NDArray if head in ("method", "prop") else found, part, None)
    return found is not None


def sparse(case: dict) -> bool:
    text = json.dumps(case)
    return any(word in text for word in ("$csr", "$rsp", "row_sparse", '"csr"'))


@pytest.mark.parametrize(("via", "least"), [("nd", 1700), ("sym", 1250)])
def test_operators(checker: ModuleType, via: str, least: int) -> None:
    corpus, runner = checker.Corpus(str(GOLDEN / "ops")), checker.Runner("mxcore")
    space = getattr(mx, via)
    cases = [c for c in corpus.index["cases"] if exists(c["op"], space) and not sparse(c) and (via == "nd" or c.get("sym"))]
    assert len(cases) >= least, "operators that used to be there are gone"
    failures = []
    for case in cases:
        try:
            why = checker.check(runner, case, corpus.getter(case), via=via)
        except Exception as error:
            why = f"{type(error).__name__}: {str(error).splitlines()[:1]}"
        if why is not None:
            failures.append(f"{case['id']}: {why}")
    assert not failures, f"{len(failures)} of {len(cases)} differ from MXNet:\n" + "\n".join(failures)


#: files of nets that are made of what exists; each must pass whole
ENTRIES = ["ndarrays/dict of all types", "ndarrays/list", "ndarrays/single", "ndarrays/empty dict", "ndarrays/legacy v0", "ndarrays/v1",
           "gluon/mlp", "gluon/lenet", "gluon/tiny_resnet", "gluon/squeezenet1.1", "gluon/mobilenetv2_0.25", "gluon/lstm_lm",
           "gluon/bi_gru", "gluon/transformer", "gluon/layers1d", "gluon/layers2d", "gluon/layers3d", "gluon/layers_misc", "gluon/qconv",
           "symbol/mlp_softmax", "symbol/attributes", "symbol/automatic_names", "symbol/losses", "symbol/old json 0.8",
           "trainer/trainer sgd_momentum", "trainer/trainer adam", "trainer/trainer rmsprop", "updater/updater sgd",
           "updater/updater adam", "updater/updater adam dump", "updater/updater sgd mp", "updater/updater adagrad",
           "updater/updater ftrl", "model_zoo/model_zoo"]


@pytest.fixture(scope="module")
def interop(checker: ModuleType) -> ModuleType:
    before = sys.modules.get("check_ops")
    sys.modules["check_ops"] = checker
    try:
        return load("check_interop")
    finally:
        if before is None:
            del sys.modules["check_ops"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_files(interop: ModuleType, entry: str, tmp_path: Path) -> None:
    manifest = json.loads((GOLDEN / "interop" / "manifest.json").read_text())
    spec, = (e for e in manifest["entries"] if f"{e['kind']}/{e['id']}" == entry)
    results: list[tuple[str, str | None]] = []
    kit = interop.Kit(mx, mx.cpu(), str(GOLDEN / "interop"), spec, 1.0, lambda e, name, why: results.append((name, why)))
    kit.tmp = str(tmp_path)
    interop.CHECKS[spec["kind"]](kit)
    failures = [f"{name}: {why}" for name, why in results if why is not None]
    assert results and not failures, "\n".join(failures)
