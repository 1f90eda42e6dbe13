"""Passes: what is done to a graph before it becomes a program.

``MXCORE_PASSES`` chooses: unset or ``all``; ``none``; a comma list of names; or names with ``-`` in front, which are left
out of all. The names are the keys of :data:`STEPS`.
"""

from __future__ import annotations

from collections.abc import Callable

from ...base import config
from ...errors import ArgumentError
from .batch_norm import fold_batch_norm
from .duplicates import duplicates
from .identities import constants, identities, shapes_only
from .inline import inline
from .joint import Joint
from .pointwise import pointwise

__all__ = ["STEPS", "Joint", "chosen", "optimise"]

#: what can be switched, in the order in which it happens; the last five belong to the making of the program
STEPS: dict[str, str] = {
    "plugins": "passes of plugins (hook mxcore_graph_pass)",
    "fold": "batch normalisation with fixed statistics goes into the layer before it",
    "inline": "composites are replaced by their definitions where the backend has no kernel for the whole",
    "identities": "operators that change nothing for the shapes and types at hand are left out",
    "constants": "what depends on no input is computed once",
    "duplicates": "equal calls are made once",
    "pointwise": "elementwise operators and sums become fused loops",
    "bind": "kernels are prepared for their shapes and write into planned memory",
    "epilogue": "what follows a convolution or product happens while its result is still in registers",
    "layout": "kernels choose the order of axes in memory",
    "hoist": "what depends on parameters only is computed when they change",
    "memory": "values share the memory of one block, by their lifetimes",
}


def chosen(text: str | None = None) -> frozenset[str]:
    """The names of the steps that are switched on, by ``MXCORE_PASSES`` or by ``text``.

    >>> sorted(chosen("duplicates,inline"))
    ['duplicates', 'inline']
    >>> "memory" in chosen("-memory")
    False

    Raises
    ------
    ArgumentError
        A name is unknown.
    """
    text = (config("MXCORE_PASSES") if text is None else text) or "all"
    names = [n.strip() for n in text.split(",") if n.strip()]
    if names == ["none"]:
        return frozenset()
    unknown = [n for n in names if n.removeprefix("-") not in (*STEPS, "all")]
    if unknown:
        raise ArgumentError(f"MXCORE_PASSES: unknown {unknown}; there are 'all', 'none' and {list(STEPS)}")
    only = {n for n in names if not n.startswith("-")}
    on = set(STEPS) if not only or "all" in only else only
    return frozenset(on - {n[1:] for n in names if n.startswith("-")})


def optimise(joint: Joint, on: frozenset[str], compute: Callable) -> None:
    """Run the passes that are switched on.

    Parameters
    ----------
    joint : Joint
    on : set of names
    compute : function
        ``compute(node, arrays) -> arrays`` runs an operator (for constants).
    """
    if "fold" in on:
        fold_batch_norm(joint)
    if "inline" in on:
        inline(joint)
    shapes_only(joint)
    if "identities" in on:
        identities(joint)
    if "constants" in on:
        constants(joint, compute)
    if "duplicates" in on:
        duplicates(joint)
    if "pointwise" in on:
        pointwise(joint)
