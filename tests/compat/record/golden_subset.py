"""Picks a small part of the golden corpus that stands beside the project: ``python golden_subset.py FOLDER_OF_GOLDEN``.

For every operator of ``mx.nd`` its smallest case, with gradients if there is one, and one that must raise; the files of two
nets and three symbols. The corpus itself was recorded from MXNet 1.9.1.
"""

import gzip
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent.parent / "data" / "golden"
SPACES = ("np", "npx", "npmethod", "npprop", "sparse")
FILES = {"mlp": "gluon", "bi_gru": "gluon", "mlp_softmax": "symbol", "attributes": "symbol", "automatic_names": "symbol"}


def keys(value, found):
    """The names of the arrays that a case reads."""
    if isinstance(value, dict):
        for tag, inner in value.items():
            if tag in ("$a", "$n"):
                found.add(inner)
            elif tag in ("$csr", "$rsp"):
                found.add(None)
            else:
                keys(inner, found)
    elif isinstance(value, list):
        for inner in value:
            keys(inner, found)
    return found


def arrays_of(case):
    found = keys([case.get("args", []), case.get("kwargs", {})], set())
    found.update(o["k"] for o in case.get("out", ()) if "k" in o)
    for name in ("heads", "grads", "after"):
        found.update(case.get(name, {}).values())
    return found


def operators(golden):
    """Cases, and all their arrays as one table: name -> type, shape, place in the bytes."""
    index = json.loads((golden / "ops" / "index.json").read_text())
    shards = [dict(np.load(golden / "ops" / name)) for name in index["shards"]]
    best = {}
    for case in index["cases"]:
        names = arrays_of(case)
        if case["op"].split(".")[0] in SPACES or None in names or "row_sparse" in json.dumps(case):
            continue
        size = sum(shards[case["shard"]][n].nbytes for n in names)
        rank = "raises" not in case and not case.get("grads"), size  # a case with gradients rather than one without
        kind = case["op"], "raises" in case
        if size < 1500 and (kind not in best or rank < best[kind][0]):
            best[kind] = rank, case, names
    cases, table, data = [], {}, io.BytesIO()
    for _, case, names in best.values():
        for name in sorted(names):
            a = shards[case["shard"]][name]
            table[name] = [a.dtype.str, list(a.shape), data.tell()]
            data.write(a.tobytes())
        cases.append({k: v for k, v in case.items() if k not in ("shard", "family")})
    return cases, table, data.getvalue()


def main(golden):
    HERE.mkdir(exist_ok=True)
    cases, table, data = operators(golden)
    text = json.dumps({"cases": cases, "arrays": table}, separators=(",", ":")) + "\n"
    (HERE / "cases.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    (HERE / "cases.bin.gz").write_bytes(gzip.compress(data, 9, mtime=0))
    interop = golden / "interop"
    entries = [e for e in json.loads((interop / "manifest.json").read_text())["entries"] if FILES.get(e["id"]) == e["kind"]]
    for entry in entries:
        for key in ("symbol", "params", "export", "npz"):
            if key in entry:
                target = HERE / Path(entry[key]).name
                shutil.copyfile(interop / entry[key], target)
                entry[key] = target.name
    (HERE / "entries.json").write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
