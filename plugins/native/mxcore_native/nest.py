"""A loop as C: nested loops over memory around the statements of its expressions.

A function gets one array of words: numbers, addresses, and what it needs to check that arrays lie as it was written for.
Lengths and strides are among the words, so that one function serves many shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from mxcore.registry.source import C, Source

from .shape import Operand, Shape

__all__ = ["HEADER", "Nest", "PRELUDE", "Word"]


class Word:
    """Numbers of the words that every function has."""

    NEXT, FINISHED, SHARES, UNITS, PIECES, STEP, PARALLEL, THREADS, COUNT, RECORDS = range(10)


HEADER = 10

#: what each file begins with; HEAD is the size of the head of a Python object
PRELUDE = """#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef intptr_t word;

/* the beginning of NumPy's PyArrayObject_fields */
struct array { char head[HEAD]; char *data; int ndim; intptr_t *dims, *strides; };

typedef void parallel(void (*)(void *), void *, unsigned, unsigned);

/* Take the addresses of arrays; false where one lies otherwise than expected. */
static bool begin(word *w) {
    word *r = w + w[9];
    for (word k = w[8]; k > 0; k--) {
        const struct array *a = (const struct array *)r[0];
        w[r[1]] = (word)a->data;
        word checks = r[2];
        for (r += 3; checks > 0; checks--, r += 2)
            if (a->strides[r[0]] != r[1]) return false;
    }
    w[0] = w[1] = 0;
    return true;
}
"""

_ENTRY = """
bool NAME_begin(word *w) { return begin(w); }

int NAME(word *w) {
    if (!begin(w)) return 1;
    if (w[6]) ((parallel *)w[6])(NAME_work, w, (unsigned)w[7], 0);
    else NAME_work(w);
    return 0;
}
"""


class Nest:
    """The function of a loop.

    Attributes
    ----------
    text : str
        Its definition; ``NAME`` stands for its name.
    functions : dict
        Definitions that it needs, by name.
    words : list of int
        What it is called with; addresses are to be filled in.
    objects : list of (word, kind, number)
        Where the address of which array (the Python object) belongs.
    buffers : list of (word, elements)
        Where the addresses of zeroed float64 memory belong.
    """

    def __init__(self, shape: Shape, threads: int) -> None:
        self.shape, self.cut = shape, shape.cut
        loop = shape.loop
        self.source = Source(C, loop.dtype)
        self.words = [0] * HEADER
        self.objects: list[tuple[int, str, int]] = []
        self.buffers: list[tuple[int, int]] = []
        self.top = len(self.cut.nest)  # the level of the innermost loop's body; 0 is a unit's
        count = self.cut.count(shape.dims)
        partial = not all(map(shape.is_apart, shape.sums))  # one sum for each share
        self.shares = 1 if threads < 2 else min(count, (2 if partial else 4) * threads)
        self.before: list[str] = []
        self.before_share: list[str] = []
        self.opening: list[list[str]] = [[] for _ in range(self.top + 1)]
        self.closing: list[list[str]] = [[] for _ in range(self.top + 1)]
        self.after: list[str] = []
        self.folded: list[str] = []  # accumulators of the innermost loop
        self.patterns: dict[tuple[int, ...], int] = {}
        self.levels = {loop.names[o.number]: self._level(o) for o in shape.operands if o.kind == "in"}
        self._dims()
        self._patterns()
        self._loads()
        self._results()
        self._records()
        self.functions = self.source.functions
        self.text = self._text()
        self.words[Word.SHARES], self.words[Word.UNITS] = self.shares, count
        self.words[Word.PIECES], self.words[Word.STEP] = self.cut.pieces(shape.dims), self.cut.step

    # ------------------------------------------------------------ names
    def _word(self, value: int = 0) -> int:
        self.words.append(value)
        return len(self.words) - 1

    def _level(self, o: Operand) -> int:
        """The level of the innermost loop along which an operand changes."""
        return max((k + 1 for k, d in enumerate(self.cut.nest) if o.strides[d]), default=0)

    def _dims(self) -> None:
        for d, n in enumerate(self.shape.dims):
            self.before.append(f"const word n{d} = w[{self._word(n)}];")

    def _patterns(self) -> None:
        """Offsets of operands, at each level; those with equal strides share them."""
        for o in self.shape.operands:
            if o.strides in self.patterns:
                continue
            p = self.patterns[o.strides] = len(self.patterns)
            terms = {}
            for d, s in enumerate(o.strides):
                if s == 1:
                    terms[d] = f"i{d}"
                elif s:
                    self.before.append(f"const word s{p}_{d} = w[{self._word(s)}];")
                    terms[d] = f"i{d} * s{p}_{d}"
            start = " + ".join(terms[d] for d in self.cut.units if d in terms) or "0"
            self.opening[0].append(f"const word o{p}_0 = {start};")
            for k, d in enumerate(self.cut.nest):
                self.opening[k + 1].append(f"const word o{p}_{k + 1} = o{p}_{k}{' + ' + terms[d] if d in terms else ''};")

    def _at(self, o: Operand, level: int) -> str:
        return f"o{self.patterns[o.strides]}_{level}"

    # ------------------------------------------------------------ what is computed
    def _loads(self) -> None:
        for o in self.shape.operands:
            if o.kind != "in":
                continue
            name = self.shape.loop.names[o.number]
            kind = C.types[o.spec.dtype.name]
            self.before.append(f"const {kind} *const in{o.number} = (const {kind} *)w[{self._slot(o)}];")
            self.source.operand(name, f"in{o.number}[{self._at(o, self.levels[name])}]", o.spec.dtype)

    def _slot(self, o: Operand) -> int:
        found = self._word()
        self.objects.append((found, o.kind, o.number))
        return found

    def _results(self) -> None:
        loop, source = self.shape.loop, self.source
        values = [source.number(source.value(e)) for e in loop.exprs]
        for s in source.statements:
            level = max((self.levels[n] for n in s.reads), default=0)
            self.opening[level].append(s.text + ";")
        for o in self.shape.operands:
            if o.kind == "in":
                continue
            j = o.number
            kind = C.types[o.spec.dtype.name]
            self.before.append(f"{kind} *const out{j} = ({kind} *)w[{self._slot(o)}];")
            if o.kind == "out":
                self.closing[self.top].append(f"out{j}[{self._at(o, self.top)}] = {source.element(values[j], o.spec.dtype)};")
            else:
                self._sum(o, values[j])

    def _sum(self, o: Operand, value: str) -> None:
        """Numbers are summed in double precision: along the innermost loops in a register, then in memory."""
        j, level, at = o.number, self._level(o), self._at(o, self._level(o))
        apart = self.shape.is_apart(o)
        if level < self.top:
            self.opening[level].insert(0, f"double sum{j} = 0.0;")
            self.opening[self.top].append(f"sum{j} += (double){value};")
            self.folded.append(f"sum{j}")
            value = f"sum{j}"
        if apart and all(o.strides[d] for d in self.cut.nest[:level]):
            self.closing[level].append(f"out{j}[{at}] = {self.source.element(value, o.spec.dtype)};")
            return
        size = prod(n for n, s in zip(self.shape.dims, o.strides, strict=True) if s)
        copies = 1 if apart else self.shares
        slot = self._word()
        self.buffers.append((slot, size * copies))
        self.before += [f"double *const all{j} = (double *)w[{slot}];", f"const word size{j} = w[{self._word(size)}];"]
        self.before_share.append(f"double *const part{j} = all{j}{'' if apart else f' + share * size{j}'};")
        self.closing[level].append(f"part{j}[{at}] += (double){value};")
        if not apart:
            self.after.append(f"for (word s = 1; s < shares; s++)\n    for (word k = 0; k < size{j}; k++) {{\n"
                              f"        all{j}[k] += all{j}[s * size{j} + k];\n        all{j}[s * size{j} + k] = 0.0;\n    }}")
        element = self.source.element(f"all{j}[k]", o.spec.dtype)
        self.after.append(f"for (word k = 0; k < size{j}; k++) {{\n    out{j}[k] = {element};\n    all{j}[k] = 0.0;\n}}")

    def _records(self) -> None:
        """What arrays must be like: strides along the axes that have more than one element."""
        specs = {(o.kind, o.number): o.spec for o in self.shape.operands}
        self.words[Word.COUNT], self.words[Word.RECORDS] = len(self.objects), len(self.words)
        places = []
        for slot, kind, number in self.objects:
            spec = specs[kind, number]
            checks = [(axis, s) for axis, (n, s) in enumerate(zip(spec.shape, spec.strides, strict=True)) if n > 1]
            places.append((self._word(), kind, number))
            self.words += [slot, len(checks), *(x for check in checks for x in check)]
        self.objects = places

    # ------------------------------------------------------------ text
    def _text(self) -> str:
        lines = ["void NAME_work(void *given) {", "    word *const w = given;",
                 "    const word shares = w[2], units = w[3], pieces = w[4], step = w[5];"]
        lines += _indented(self.before, 1)
        lines.append("    for (word share; (share = __atomic_fetch_add(w, 1, __ATOMIC_RELAXED)) < shares;) {")
        lines += _indented(self.before_share, 2)
        lines += ["        const word end = units * (share + 1) / shares;",
                  "        for (word unit = units * share / shares; unit < end; unit++) {"]
        lines += _indented(self._unit(), 3)
        lines.append("        }")
        if self.after:
            lines.append("        if (__atomic_add_fetch(w + 1, 1, __ATOMIC_ACQ_REL) == shares) {")
            lines += [*_indented("\n".join(self.after).split("\n"), 3), "        }"]
        return "\n".join([*lines, "    }", "}"]) + "\n" + _ENTRY

    def _unit(self) -> list[str]:
        """The body of the loop over units."""
        cut, lines = self.cut, ["word rest = unit;"]
        if cut.axis is not None:
            d = cut.axis
            lines += ["const word from = rest % pieces * step;", f"const word to = from + step < n{d} ? from + step : n{d};",
                      "rest /= pieces;"]
        for k, d in enumerate(reversed(cut.units)):
            whole = k == len(cut.units) - 1
            lines.append(f"const word i{d} = {'rest' if whole else f'rest % n{d}'};")
            if not whole:
                lines.append(f"rest /= n{d};")
        return lines + self._level_body(0)

    def _level_body(self, level: int) -> list[str]:
        lines = list(self.opening[level])
        if level < self.top:
            d = self.cut.nest[level]
            if level == self.top - 1:
                folded = f" reduction(+:{','.join(self.folded)})" if self.folded else ""
                lines.append(f"#pragma omp simd{folded}")
            limits = ("from", "to") if d == self.cut.axis else ("0", f"n{d}")
            lines.append(f"for (word i{d} = {limits[0]}; i{d} < {limits[1]}; i{d}++) {{")
            lines += [*_indented(self._level_body(level + 1), 1), "}"]
        return lines + self.closing[level]


def _indented(lines: Sequence[str], depth: int) -> list[str]:
    return ["    " * depth + line for line in lines]
