"""How arrays and symbols look in notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

__all__ = ["array_html", "symbol_html"]


def array_html(x: Any) -> str:
    """Shape, type and device, values as a table (at most 8 x 8 of the last two axes), and minimum, mean, maximum."""
    host = x.asnumpy()
    head = f"<b>{type(x).__name__}</b> {' × '.join(map(str, x.shape))} {host.dtype} on {x.context}"
    if host.size and host.dtype.kind in "fiu" and host.size > 1:
        values = host.astype(np.float64)
        head += f" &nbsp; min {values.min():.4g}, mean {values.mean():.4g}, max {values.max():.4g}"
    plane = host.reshape((-1, host.shape[-1]) if host.ndim > 1 else (1, -1)) if host.size else host.reshape(0, 0)
    rows = []
    for r in plane[:8]:
        cells = [f"<td style='text-align:right'>{escape(f'{v:.4g}' if host.dtype.kind == 'f' else str(v))}</td>" for v in r[:8]]
        rows.append("<tr>" + "".join(cells) + ("<td>…</td>" if len(r) > 8 else "") + "</tr>")
    more = f"<tr><td>… {len(plane) - 8} more rows</td></tr>" if len(plane) > 8 else ""
    return f"<div>{head}<table>{''.join(rows)}{more}</table></div>"


def symbol_html(sym: Any) -> str:
    """The graph as a table of nodes: name, operator, inputs, attributes."""
    rows = []
    for n in sym._order():
        inputs = ", ".join(e[0].name for e in n.inputs if e is not None)
        attrs = ", ".join(f"{k}={v}" for k, v in (n.attrs.given if n.op else n.text or {}).items())
        kind = n.op.name if n.op else "variable"
        cells = [f"<td style='text-align:left'>{escape(c)}</td>" for c in (n.name, kind, inputs, attrs)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    title = escape(repr(sym))
    return (f"<div><b>{title}</b><table><tr><th>name</th><th>operator</th><th>inputs</th><th>attributes</th></tr>"
            f"{''.join(rows)}</table></div>")
