"""A loop as C: nested loops over memory around the statements of its expressions.

A function gets one array of words: numbers, addresses, and what it needs to check that arrays lie as it was written for.
Lengths and strides are among the words, so that one function serves many shapes; only those of a group of short dimensions
are part of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod

from mxcore.registry.source import Dialect, Source, Statement

from .shape import Operand, Shape

__all__ = ["HEADER", "Nest", "PRELUDE", "Word"]


class Word:
    """Numbers of the words that every function has."""

    NEXT, FINISHED, SHARES, UNITS, PIECES, STEP, PARALLEL, THREADS, INS, INPUTS, OUTS, OUTPUTS, LIST, COUNT, RECORDS = range(15)


HEADER = 15

#: what each file begins with; HEAD is the size of the head of a Python object
PRELUDE = """#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef intptr_t word;

/* the beginning of a Python object, its type last; of a list, and of NumPy's PyArrayObject_fields */
struct object { char head[HEAD - sizeof(void *)]; const void *type; };
struct array { struct object object; char *data; int ndim; intptr_t *dims, *strides; };
struct list { struct object object; intptr_t size; struct array **items; };

typedef void parallel(void (*)(void *), void *, unsigned, unsigned);

/* Take the addresses of the arrays in two lists; false where one lies otherwise than expected. */
static bool begin(word *w) {
    const struct list *const lists[] = {(const struct list *)w[8], (const struct list *)w[10]};
    for (int k = 0; k < 2; k++)
        if (lists[k]->object.type != (const void *)w[12] || lists[k]->size != w[9 + 2 * k]) return false;
    const word *r = w + w[14];
    for (word k = w[13]; k > 0; k--) {
        const struct array *a = lists[r[0]]->items[r[1]];
        w[r[2]] = (word)a->data;
        word checks = r[3];
        for (r += 4; checks > 0; checks--, r += 2)
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

_BLOCK = 256  #: elements of rows that are gone through together, at least
_REPEATED = -1  #: the level of what changes along a group only: it is computed once for a block


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
    buffers : list of (word, elements)
        Where the addresses of zeroed float64 memory belong.
    shares : int
    """

    def __init__(self, shape: Shape, threads: int, dialect: Dialect) -> None:
        self.shape, self.cut, self.dims = shape, shape.cut, shape.dims
        count = self.cut.count(self.dims)
        partial = not all(map(shape.is_apart, shape.sums))  # one sum for each share
        self.shares = 1 if threads < 2 else min(count, (2 if partial else 4) * threads)
        self.source, self.types = Source(dialect, shape.loop.dtype), dialect.types
        self.words = [0] * HEADER
        self.slots: list[tuple[int, Operand]] = []  # where the addresses of arrays belong
        self.buffers: list[tuple[int, int]] = []
        self.top = len(self.cut.nest)  # the level of the innermost loop's body; 0 is a unit's
        self.row = prod(self.dims[d] for d in self.cut.group)  # elements of a group
        self.rows = -(-_BLOCK // self.row) if self.cut.group else 0  # groups in a block
        self.before: list[str] = []
        self.before_share: list[str] = []
        self.opening: list[list[str]] = [[] for _ in range(self.top + 1)]
        self.closing: list[list[str]] = [[] for _ in range(self.top + 1)]
        self.repeated: list[Statement] = []
        self.block_start: list[str] = []
        self.block_end: list[str] = []
        self.after: list[str] = []
        self.folded: list[str] = []  # accumulators of the innermost loop
        self.patterns: dict[tuple[int, ...], int] = {}
        self.levels = {shape.loop.names[o.number]: self._level(o) for o in shape.operands if o.kind == "in"}
        for d, n in enumerate(self.dims):
            self.before.append(f"const word n{d} = w[{self._word(n)}];")
        self._patterns()
        self._loads()
        self._results()
        self._records()
        self.functions = self.source.functions
        self.text = self._text()
        self.words[Word.SHARES], self.words[Word.UNITS] = self.shares, count
        self.words[Word.PIECES], self.words[Word.STEP] = self.cut.pieces(self.dims), self.cut.step

    # ------------------------------------------------------------ places
    def _word(self, value: int = 0) -> int:
        self.words.append(value)
        return len(self.words) - 1

    def _slot(self, o: Operand) -> int:
        found = self._word()
        self.slots.append((found, o))
        return found

    def _level(self, o: Operand) -> int:
        """The level of the innermost loop along which an operand changes."""
        level = self._outer(o)
        return _REPEATED if level < self.top and any(o.strides[d] for d in self.cut.group) else level

    def _outer(self, o: Operand) -> int:
        """The same without regard to a group."""
        return max((k + 1 for k, d in enumerate(self.cut.nest) if o.strides[d]), default=0)

    def _patterns(self) -> None:
        """Offsets of operands, at each level; those with equal strides share them."""
        for o in self.shape.operands:
            if o.strides in self.patterns:
                continue
            p = self.patterns[o.strides] = len(self.patterns)
            terms = {}
            for d, s in enumerate(o.strides[: len(o.strides) - len(self.cut.group)]):
                if s == 1:
                    terms[d] = f"i{d}"
                elif s:
                    self.before.append(f"const word s{p}_{d} = w[{self._word(s)}];")
                    terms[d] = f"i{d} * s{p}_{d}"
            start = " + ".join(terms[d] for d in self.cut.units if d in terms) or "0"
            self.opening[0].append(f"const word o{p}_0 = {start};")
            for k, d in enumerate(self.cut.nest):
                lines = self.block_start if self.cut.group and k == self.top - 1 else self.opening[k + 1]
                lines.append(f"const word o{p}_{k + 1} = o{p}_{k}{' + ' + terms[d] if d in terms else ''};")

    def _at(self, o: Operand, level: int) -> str:
        """Where an operand's element is, at a level."""
        if level == _REPEATED:
            return f"o{self.patterns[o.strides]}_{self.top - 1} + {self._within(o, f'k % {self.row}')}"
        offset = f"o{self.patterns[o.strides]}_{level}"
        return f"{offset} + {self._in_block(o)}" if self.cut.group and level == self.top else offset

    def _in_block(self, o: Operand) -> str:
        """The place of element m of a block, from where the block begins."""
        step, last = o.strides[self.cut.nest[-1]], o.strides[self.cut.group[-1]]
        if step == self.row * last and self._is_dense(o):
            return f"m * {last}"
        return f"m / {self.row} * {step} + {self._within(o, f'm % {self.row}')}"

    def _within(self, o: Operand, place: str) -> str:
        """The place of an element of a group."""
        if self._is_dense(o):
            return f"{place} * {o.strides[self.cut.group[-1]]}"
        terms, size = [], 1
        for d in reversed(self.cut.group):
            if o.strides[d]:
                terms.append(f"{place} / {size} % {self.dims[d]} * {o.strides[d]}")
            size *= self.dims[d]
        return " + ".join(terms) or "0"

    def _is_dense(self, o: Operand) -> bool:
        """Whether the elements of a group lie at equal distances."""
        size = 1
        for d in reversed(self.cut.group):
            if o.strides[d] != size * o.strides[self.cut.group[-1]]:
                return False
            size *= self.dims[d]
        return True

    # ------------------------------------------------------------ what is computed
    def _loads(self) -> None:
        for o in self.shape.operands:
            if o.kind != "in":
                continue
            name = self.shape.loop.names[o.number]
            kind = self.types[o.spec.dtype.name]
            self.before.append(f"const {kind} *const in{o.number} = (const {kind} *)w[{self._slot(o)}];")
            self.source.operand(name, f"in{o.number}[{self._at(o, self.levels[name])}]", o.spec.dtype)

    def _results(self) -> None:
        loop, source = self.shape.loop, self.source
        values = [source.number(source.value(e)) for e in loop.exprs]
        for s in source.statements:
            levels = [self.levels[n] for n in s.reads]
            level = max(levels, default=0)
            if _REPEATED in levels and level < self.top:
                self.repeated.append(s)
            else:
                self.opening[level].append(s.text)
        for o in self.shape.operands:
            if o.kind == "in":
                continue
            j = o.number
            kind = self.types[o.spec.dtype.name]
            self.before.append(f"{kind} *const out{j} = ({kind} *)w[{self._slot(o)}];")
            if o.kind == "out":
                self.closing[self.top].append(f"out{j}[{self._at(o, self.top)}] = {source.element(values[j], o.spec.dtype)};")
            elif self.cut.group:
                self._sum_of_groups(o, values[j])
            else:
                self._sum(o, values[j])

    def _sum(self, o: Operand, value: str) -> None:
        """Numbers are summed in double precision: along the innermost loops in a register, then in memory."""
        level = self._outer(o)
        if level < self.top:
            value = self._in_register(o, level, value)
        self.closing[level].append(self._give(o, self.cut.nest[:level], self._at(o, level), value))

    def _in_register(self, o: Operand, level: int, value: str) -> str:
        name = f"sum{o.number}"
        self.opening[level].insert(0, f"double {name} = 0.0;")
        self.opening[self.top].append(f"{name} += (double){value};")
        self.folded.append(name)
        return name

    def _sum_of_groups(self, o: Operand, value: str) -> None:
        j, above = o.number, self.cut.nest[:-1]
        kept = [o.strides[d] != 0 for d in self.cut.group]
        if not o.strides[self.cut.nest[-1]]:
            if not any(kept):  # everything
                level = self._outer(o)
                value = self._in_register(o, level, value)
                self.closing[level].append(self._give(o, self.cut.nest[:level], self._at(o, level), value))
                return
            size = self.rows * self.row  # over groups: one sum for each place of a block
            self.opening[self.top - 1].insert(0, f"double sum{j}[{size}] = {{0.0}};")
            self.opening[self.top].append(f"sum{j}[m] += (double){value};")
            place = self._at(o, _REPEATED)
            self.closing[self.top - 1].append(
                f"for (int k = 0; k < {size}; k++) {self._give(o, None, place, f'sum{j}[k]')}")
        elif all(kept):
            self.closing[self.top].append(self._give(o, above, self._at(o, self.top), value))
        else:
            self.block_start.append(f"{self.types[self.source.dtype]} run{j}[{self.rows * self.row}];")
            self.opening[self.top].append(f"run{j}[m] = {value};")
            if any(kept):
                give = self._give(o, None, self._at(o, self.top), f"run{j}[m]")
                self.block_end.append(f"for (int m = 0; m < length; m++) {give}")
                return
            at = f"o{self.patterns[o.strides]}_{self.top} + r * {o.strides[self.cut.nest[-1]]}"
            self.block_end += [  # of each group: sums of many side by side
                f"double sum{j}[{self.rows}] = {{0.0}};", f"for (int k = 0; k < {self.row}; k++)", "#pragma omp simd",
                f"    for (int r = 0; r < length / {self.row}; r++) sum{j}[r] += (double)run{j}[r * {self.row} + k];",
                f"for (int r = 0; r < length / {self.row}; r++) {self._give(o, above, at, f'sum{j}[r]')}"]

    def _give(self, o: Operand, outside: Sequence[int] | None, at: str, value: str) -> str:
        """Store a sum, or add it to what is there already: from other units, or from other places of ``outside``, the
        dimensions that are looped over around it; None: there are always others."""
        j, apart = o.number, self.shape.is_apart(o)
        if apart and outside is not None and all(o.strides[d] for d in outside):
            return f"out{j}[{at}] = {self.source.element(value, o.spec.dtype)};"
        size = prod(n for n, s in zip(self.dims, o.strides, strict=True) if s)
        slot = self._word()
        self.buffers.append((slot, size if apart else size * self.shares))
        self.before += [f"double *const all{j} = (double *)w[{slot}];", f"const word size{j} = w[{self._word(size)}];"]
        self.before_share.append(f"double *const part{j} = all{j}{'' if apart else f' + share * size{j}'};")
        if not apart:
            self.after += ["for (word s = 1; s < shares; s++)", f"    for (word k = 0; k < size{j}; k++) {{",
                           f"        all{j}[k] += all{j}[s * size{j} + k];", f"        all{j}[s * size{j} + k] = 0.0;", "    }"]
        element = self.source.element(f"all{j}[k]", o.spec.dtype)
        self.after += [f"for (word k = 0; k < size{j}; k++) {{", f"    out{j}[k] = {element};", f"    all{j}[k] = 0.0;", "}"]
        return f"part{j}[{at}] += (double){value};"

    def _records(self) -> None:
        """What arrays must be like: strides along the axes that have more than one element."""
        loop = self.shape.loop
        self.words[Word.INPUTS], self.words[Word.OUTPUTS], self.words[Word.LIST] = len(loop.names), len(loop.exprs), id(list)
        self.words[Word.COUNT], self.words[Word.RECORDS] = len(self.slots), len(self.words)
        for slot, o in self.slots:
            checks = [(axis, s) for axis, (n, s) in enumerate(zip(o.spec.shape, o.spec.strides, strict=True)) if n > 1]
            self.words += [int(o.kind != "in"), o.number, slot, len(checks), *(x for check in checks for x in check)]

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
            lines += [*_indented(self.after, 3), "        }"]
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
        return lines + self._body(0)

    def _body(self, level: int) -> list[str]:
        """What is done at a level, with the loops inside."""
        lines = list(self.opening[level])
        if level < self.top:
            d = self.cut.nest[level]
            begin, end = ("from", "to") if d == self.cut.axis else ("0", f"n{d}")
            inner = level == self.top - 1
            if inner and self.cut.group:
                lines += self._blocks(d, begin, end)
            else:
                lines += [self._simd()] if inner else []
                lines += [f"for (word i{d} = {begin}; i{d} < {end}; i{d}++) {{", *_indented(self._body(level + 1), 1), "}"]
        return lines + self.closing[level]

    def _simd(self) -> str:
        return "#pragma omp simd" + (f" reduction(+:{','.join(self.folded)})" if self.folded else "")

    def _blocks(self, d: int, begin: str, end: str) -> list[str]:
        """The loop over blocks of groups, and what is computed once for all of them."""
        inner = self._body(self.top)
        read = {name for line in inner for name in re.findall(r"\w+", line)}
        kept = [s for s in self.repeated if s.name in read]
        lines = []
        if kept:
            size = self.rows * self.row
            lines = [*(f"{s.kind} {s.name}_[{size}];" for s in kept), f"for (int k = 0; k < {size}; k++) {{",
                     *_indented([s.text for s in self.repeated], 1), *(f"    {s.name}_[k] = {s.name};" for s in kept), "}"]
        again = [f"const {s.kind} {s.name} = {s.name}_[m];" for s in kept]
        return [*lines, f"for (word i{d} = {begin}; i{d} < {end}; i{d} += {self.rows}) {{",
                f"    const int length = ({end} - i{d} < {self.rows} ? {end} - i{d} : {self.rows}) * {self.row};",
                *_indented(self.block_start, 1), "    " + self._simd(), "    for (int m = 0; m < length; m++) {",
                *_indented([*again, *inner], 2), "    }", *_indented(self.block_end, 1), "}"]


def _indented(lines: Sequence[str], depth: int) -> list[str]:
    return ["    " * depth + line for line in lines]
