"""``-symbol.json`` files: MXNet's form of a graph, current and old layouts, both ways.

Every attribute is text. Nodes stand in depth-first order; ``arg_nodes`` lists the variables, ``node_row_ptr`` counts
outputs, ``heads`` names the outputs. Files of MXNet before 1.0 keep operator attributes under ``param`` or ``attr`` and
leave auxiliary states out; they are completed on reading.
"""

from __future__ import annotations

import json
import operator
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
            if n.op.schema.count is not None:
                attrs[n.op.schema.count] = str(len(n.inputs))
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
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFormatError(f"{source}: not a symbol file: {error}") from error
    if not isinstance(graph, dict) or not isinstance(graph.get("nodes"), list) or not isinstance(graph.get("heads"), list):
        raise FileFormatError(f"{source}: not a symbol file: expected an object with 'nodes' and 'heads'")
    made: list[Node] = []
    for i, spec in enumerate(graph["nodes"]):
        try:
            made.append(_node(spec, made))
        except MXNetError as error:
            raise type(error)(f"{source}: node {i} ({spec['name']!r}): {error}") from error
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(f"{source}: node {i} is malformed: {type(error).__name__}: {error}") from error
    try:
        return [_entry(h, made) for h in graph["heads"]]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FileFormatError(f"{source}: heads are malformed: {error}") from error


def _node(spec: dict[str, Any], made: list[Node]) -> Node:
    name, kind = spec["name"], spec["op"]
    if not isinstance(name, str) or not isinstance(kind, str):
        raise TypeError(f"'name' and 'op' must be text, not {name!r} and {kind!r}")
    merged: dict[str, str] = {}
    for key in ("param", "attr", "attrs"):
        merged.update(spec.get(key) or {})
    if not all(isinstance(v, str) for v in merged.values()):
        raise TypeError(f"attributes must be text: {merged}")
    if kind == "null":
        return Variable(name, {upgraded(k): v for k, v in merged.items()})
    op = get_op(kind)
    given, text = {}, {}
    for k, v in merged.items():
        if k in op.schema.attrs or op.name == "Custom" or k == op.schema.count or (k == "ctx" and not op.schema.inputs):
            given[k] = v
        else:
            text[upgraded(k)] = v
    entries = [_entry(e, made) for e in spec["inputs"]]
    attrs = op.parse(given)
    names = op.input_names(attrs, len(entries))
    if op.aux and not op.schema.variadic:
        for missing in names[len(entries):]:  # files before 0.9 leave auxiliary states out
            if missing in op.aux:  # type: ignore[operator]
                entries.append((Variable(f"{name}_{missing}"), 0))
    most = len(names) if op.schema.variadic else len(op.schema.inputs)
    if not len(names) <= len(entries) <= most or (op.schema.variadic and not entries):
        raise FileFormatError(f"operator {op.name} takes the inputs {list(names)}, and is given {len(entries)}")
    return Node(op, attrs, tuple(entries), name, text or None)


def _entry(spec: Any, made: list[Node]) -> Entry:
    """An output of a node, as a file names it: number of the node, number of the output."""
    i, j = operator.index(spec[0]), operator.index(spec[1])
    if not 0 <= i < len(made):
        raise IndexError(f"{spec} refers to node {i}, which does not come before")
    node = made[i]
    count = 1 if node.op is None else len(node.op.output_names(node.attrs, len(node.inputs)))
    if not 0 <= j < count:
        raise IndexError(f"{spec} refers to output {j} of {node.name!r}, which has {count}")
    return node, j


def upgraded(key: str) -> str:
    """The name under which a user attribute is kept: ``__lr_mult__`` for ``lr_mult``."""
    return f"__{key}__" if key in HIDDEN else key
