"""``-symbol.json`` files: MXNet's form of a graph, current and old layouts, both ways.

Every attribute is text. Nodes stand in depth-first order; ``arg_nodes`` lists the variables, ``node_row_ptr`` counts
outputs, ``heads`` names the outputs. Files of MXNet before 1.0 keep operator attributes under ``param`` or ``attr`` and
leave auxiliary states out; they are completed on reading.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..errors import FileFormatError, MXNetError
from ..registry.op import get_op
from ..registry.schema import attr_text
from .node import Entry, Node, Variable, topological

__all__ = ["HIDDEN", "VERSION", "from_json", "to_json", "upgraded"]

#: what files written here say: MXNet 1.9.1
VERSION = 10901
#: user attributes with two names, ``x`` and ``__x__``: old files write the first, others the second
HIDDEN = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage")


def to_json(heads: Sequence[Entry]) -> str:
    """The graph behind ``heads`` as the text of a ``-symbol.json`` file."""
    order = topological([n for n, _ in heads])
    ids = {n: i for i, n in enumerate(order)}
    nodes, rows = [], [0]
    for n in order:
        attrs = dict(n.text or {})
        if n.op is not None:
            attrs.update(n.attrs.given)
            if n.op.schema.variadic:
                attrs[n.op.schema.count] = str(len(n.inputs))  # type: ignore[index]
        entry: dict[str, Any] = {"op": "null" if n.op is None else n.op.name, "name": n.name}
        if attrs:
            entry["attrs"] = {k: attr_text(attrs[k]) for k in sorted(attrs)}
        states = n.op.aux_positions(n.attrs, len(n.inputs)) if n.op is not None else ()
        entry["inputs"] = [[ids[e[0]], e[1], int(i in states)]
                           for i, e in enumerate(n.inputs) if e is not None]
        nodes.append(entry)
        count = 1 if n.op is None else len(n.op.output_names(n.attrs, len(n.inputs)))
        rows.append(rows[-1] + count)
    graph = {"nodes": nodes, "arg_nodes": [i for i, n in enumerate(order) if n.op is None], "node_row_ptr": rows,
             "heads": [[ids[n], j, 0] for n, j in heads], "attrs": {"mxnet_version": ["int", VERSION]}}
    return json.dumps(graph, indent=2)


def from_json(text: str, source: str = "symbol") -> list[Entry]:
    """The heads of the graph that a ``-symbol.json`` text holds.

    Raises
    ------
    FileFormatError
        Not JSON, or not of this form; says at which node.
    """
    try:
        graph = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{source}: not a symbol file: {error}") from error
    if not isinstance(graph, dict) or not isinstance(graph.get("nodes"), list) or not isinstance(graph.get("heads"), list):
        raise FileFormatError(f"{source}: not a symbol file: expected an object with 'nodes' and 'heads'")
    made: list[Node] = []
    for i, spec in enumerate(graph["nodes"]):
        try:
            made.append(_node(spec, made))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, MXNetError):
                name = spec.get("name") if isinstance(spec, dict) else spec
                raise type(error)(f"{source}: node {i} ({name!r}): {error}") from error
            raise FileFormatError(f"{source}: node {i} is malformed: {type(error).__name__}: {error}") from error
    try:
        heads: list[Entry] = [(made[h[0]], int(h[1])) for h in graph["heads"]]
    except (IndexError, TypeError, ValueError) as error:
        raise FileFormatError(f"{source}: heads are malformed: {graph['heads']!r}") from error
    return heads


def _node(spec: dict[str, Any], made: list[Node]) -> Node:
    name = spec["name"]
    merged: dict[str, str] = {}
    for key in ("param", "attr", "attrs"):
        merged.update(spec.get(key) or {})
    if spec["op"] == "null":
        return Variable(name, {upgraded(k): v for k, v in merged.items()})
    op = get_op(spec["op"])
    given, text = {}, {}
    for k, v in merged.items():
        if k in op.schema.attrs or op.name == "Custom" or k == op.schema.count or (k == "ctx" and not op.schema.inputs):
            given[k] = v
        else:
            text[upgraded(k)] = v
    entries: list[Entry] = []
    for e in spec["inputs"]:
        index = int(e[0])
        if not 0 <= index < len(made):
            raise IndexError(f"input {e} refers to a node that does not come before this one")
        entries.append((made[index], int(e[1])))
    attrs = op.parse(given)
    if op.aux and not op.schema.variadic:
        names = op.input_names(attrs)
        for missing in names[len(entries):]:  # files before 0.9 leave auxiliary states out
            if missing in op.aux:  # type: ignore[operator]
                entries.append((Variable(f"{name}_{missing}"), 0))
    return Node(op, attrs, tuple(entries), name, text or None)


def upgraded(key: str) -> str:
    """The name under which a user attribute is kept: ``__lr_mult__`` for ``lr_mult``."""
    return f"__{key}__" if key in HIDDEN else key
