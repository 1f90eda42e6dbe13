"""Random numbers by Philox 4x32-10, which makes them from a key and a counter: nothing has to be kept on the device.

Key and number of the call are arguments of a kernel. A recording has its arguments in it for good, so its kernels read both
from memory, which is written before each replay: :class:`Recorded`.

Salmon et al. 2011, *Parallel Random Numbers: As Easy as 1, 2, 3*. Normal numbers by Box & Muller 1958, gamma by Marsaglia &
Tsang 2000, Poisson by Knuth's products (small means) and by Hoermann's PTRS 1993 (large ones).
"""

from __future__ import annotations

from functools import lru_cache
from struct import pack
from typing import Any

import numpy as np

from mxcore.errors import ArgumentError, MXNetError

from . import source
from .arrays import Array, empty
from .elementwise import cast
from .shapes import broadcast_to

__all__ = ["Generator", "Recorded"]

_F4, _F8, _I8 = np.dtype("float32"), np.dtype("float64"), np.dtype("int64")

#: the layout of a kernel that works at one place
_ONE = source.layout((), ()).packed + pack("q", 0)

PHILOX = """
typedef struct { uint place; ulong call, key; uint turn, drawn[4]; int left; } Stream;
static inline void philox_(Stream *s) {
  uint c0 = s->turn, c1 = s->place, c2 = (uint)s->call, c3 = (uint)(s->call >> 32);
  uint k0 = (uint)s->key, k1 = (uint)(s->key >> 32);
  for (int round = 0; round < 10; ++round) {
    uint h0 = mul_hi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0, h1 = mul_hi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
    c0 = h1 ^ c1 ^ k0; c1 = l1; c2 = h0 ^ c3 ^ k1; c3 = l0;
    k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
  }
  s->drawn[3] = c0; s->drawn[2] = c1; s->drawn[1] = c2; s->drawn[0] = c3;
}
static inline Stream stream_(ulong key, ulong call, int place) {
  Stream s;
  s.key = key; s.call = call; s.place = (uint)place; s.turn = 0; s.left = 0;
  return s;
}
static inline uint bits_(Stream *s) {
  if (s->left == 0) { philox_(s); s->turn += 1; s->left = 4; }
  s->left -= 1;
  return s->drawn[s->left];
}
"""
#: single numbers are handed out in fours, so that a kernel which computes neighbours calls Philox once for them
_SHARED = """
static inline T shared_(ulong key, ulong call, int i) {
  Stream s = stream_(key, call, i / 4);
  philox_(&s);
  uint bits = i & 2 ? (i & 1 ? s.drawn[3] : s.drawn[2]) : (i & 1 ? s.drawn[1] : s.drawn[0]);
  return (bits >> 8) * 5.9604644775390625e-08f;
}
"""
#: by type: a number of [0, 1), of which all digits are random
_UNIFORM = {
    "float32": "static inline T uniform_(Stream *s) { return (bits_(s) >> 8) * 5.9604644775390625e-08f; }\n",
    "float64": """static inline T uniform_(Stream *s) {
  ulong high = bits_(s) >> 5, low = bits_(s) >> 6;
  return (high * 67108864.0 + low) * 1.1102230246251565e-16;
}
""",
}
_METHODS = """
static inline T exponential_(Stream *s) { return -log1p(-uniform_(s)); }
static inline T normal_(Stream *s) {
  T r = sqrt((T)2 * exponential_(s));
  return r * cospi((T)2 * uniform_(s));
}
static inline T gamma_(Stream *s, T shape) {
  if (shape == 0) return 0;
  T boost = 1;
  if (shape < 1) { boost = pow(1 - uniform_(s), 1 / shape); shape += 1; }
  T d = shape - (T)1 / 3, c = 1 / sqrt(9 * d);
  for (int k = 0; k < 10000; ++k) {
    T x = normal_(s), v = 1 + c * x;
    if (v <= 0) continue;
    v = v * v * v;
    if (log(1 - uniform_(s)) < x * x / 2 + d - d * v + d * log(v)) return boost * d * v;
  }
  return NAN;
}
static inline T poisson_(Stream *s, T mean) {
  if (mean < 10) {
    T limit = exp(-mean), product = uniform_(s);
    long n = 0;
    while (product > limit) { product *= uniform_(s); n += 1; }
    return n;
  }
  T b = (T)0.931f + (T)2.53f * sqrt(mean), a = (T)-0.059f + (T)0.02483f * b, scale = (T)1.1239f + (T)1.1328f / (b - (T)3.4f);
  for (int k = 0; k < 10000; ++k) {
    T u = uniform_(s) - (T)0.5f, v = 1 - uniform_(s), us = (T)0.5f - fabs(u);
    T n = floor((2 * a / us + b) * u + mean + (T)0.43f);
    if (us >= (T)0.07f && v <= (T)0.9277f - (T)3.6224f / (b - 2)) return n;
    if (n < 0 || (us < (T)0.013f && v > us)) continue;
    if (log(v) + log(scale) - log(a / (us * us) + b) <= -mean + n * log(mean) - lgamma(n + 1)) return n;
  }
  return NAN;
}
"""


def _program(dtype: np.dtype) -> tuple[str, dict]:
    c = source.types_of(dtype)[1]
    text = [source.typed(dtype), source.frame(1).declaration, source.frame(2).declaration, PHILOX, _UNIFORM[dtype.name],
            _METHODS]
    names = {}
    start = "  if (state) { key = state[0]; call += state[1]; }\n  Stream s = stream_(key, call, i);\n"
    tail = ["__global const ulong *state", "ulong key", "ulong call"]
    uniform = "shared_(key, call, i)" if dtype == _F4 else "uniform_(&s)"
    if dtype == _F4:
        text.append(_SHARED)
    for name, value in (("random", uniform), ("normal", "normal_(&s)"), ("exponential", "exponential_(&s)")):
        text.append(source.kernel(f"draw_{name}", [f"__global {c} *p0", *tail], 1, f"{start}  p0[j0] = {value};"))
        names["draw", name, dtype] = f"draw_{name}"
    for name, out, value in (("gamma", c, "gamma_(&s, p1[j1])"), ("poisson", "long", "poisson_(&s, p1[j1])")):
        text.append(source.kernel(f"draw_{name}", [f"__global {out} *p0", f"__global const {c} *p1", *tail], 2,
                                  f"{start}  p0[j0] = {value};"))
        names["draw", name, dtype] = f"draw_{name}"
    text.append(source.kernel("draw_integers", ["__global long *p0", *tail, "long low", "ulong range"], 1, f"""{start}
  ulong high = bits_(&s), wide = high << 32 | bits_(&s);
  p0[j0] = low + (long)(range ? mul_hi(wide, range) : wide);"""))
    names["draw", "integers", dtype] = "draw_integers"
    return "".join(text), names


def _replay_program() -> tuple[str, dict]:
    text = source.kernel("draw_replay", ["__global ulong *p0", "ulong key", "ulong call"], 1, "  p0[0] = key; p0[1] = call;")
    return source.frame(1).declaration + text, {"draw replay": "draw_replay"}


@lru_cache(256)
def _key(seed: int, index: int) -> bytes:
    words = np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(1, np.uint64)
    return pack("Q", int(words[0]))


class Generator:
    """A stream of random numbers: the seed is the key, and each call has a number.

    Devices of different numbers have different streams. Copies (``copy.deepcopy``) draw the same numbers again.
    """

    def __init__(self, machine: Any, seed: int, call: int = 0) -> None:
        self.machine, self.seed, self.call = machine, seed, call
        self._key = _key(seed, machine.index)
        self._state: Any = bytes(8)  # where kernels find key and call instead; the null pointer: nowhere

    def __deepcopy__(self, memo: Any) -> Generator:
        return Generator(self.machine, self.seed, self.call)

    def recording(self) -> Recorded:
        """What is to be drawn from while launches are recorded: see :class:`mxcore.runtime.backend.Backend`."""
        return Recorded(self.machine)

    def next(self) -> tuple[Any, bytes, bytes]:
        """What a kernel is given for the next call: where key and number are on the device (or nowhere), and both."""
        self.machine.leave()  # what a call has drawn is not what its repetition draws
        self.call += 1
        return self._state, self._key, pack("Q", self.call)

    def _wanted(self, dtype: Any) -> tuple[np.dtype, np.dtype]:
        dtype = np.dtype(dtype)
        work = dtype if dtype in (_F4, _F8) else _F4
        return dtype, _F4 if work == _F8 and not self.machine.fp64 else work

    def _draw(self, name: str, size: Any, dtype: Any) -> Array:
        dtype, work = self._wanted(dtype)
        new = empty(self.machine, _shape(size), work)
        plan = source.layout(new.shape, new.strides)
        if plan.n:
            kernel = self.machine.kernel(("draw", name, work), lambda: _program(work))
            self.machine.launch(kernel, plan.n, new.memory, *self.next(), plan.packed + pack("q", 0))
        return cast(new, dtype)

    def random(self, size: Any = None, dtype: Any = "float64") -> Array:
        """Uniform in [0, 1)."""
        return self._draw("random", size, dtype)

    def standard_normal(self, size: Any = None, dtype: Any = "float64") -> Array:
        """Mean 0, variance 1."""
        return self._draw("normal", size, dtype)

    def standard_exponential(self, size: Any = None, dtype: Any = "float64") -> Array:
        """Mean 1."""
        return self._draw("exponential", size, dtype)

    def _with(self, name: str, parameter: Any, size: Any, out: Any, work: np.dtype) -> Array:
        xp = self.machine.xp
        parameter = cast(parameter, work) if isinstance(parameter, Array) else xp.scalar(float(parameter), work)
        shape = parameter.shape if size is None else _shape(size)
        parameter = broadcast_to(parameter, shape)
        new = empty(self.machine, shape, _I8 if name == "poisson" else work)
        plan = source.layout(shape, new.strides, parameter.strides)
        if plan.n:
            kernel = self.machine.kernel(("draw", name, work), lambda: _program(work))
            self.machine.launch(kernel, plan.n, new.memory, parameter.memory, *self.next(),
                                plan.packed + pack("2q", 0, parameter.offset))
        return cast(new, np.dtype(out))

    def standard_gamma(self, shape: Any, size: Any = None, dtype: Any = "float64") -> Array:
        """Of scale 1."""
        dtype, work = self._wanted(dtype)
        return self._with("gamma", shape, size, dtype, work)

    def poisson(self, lam: Any, size: Any = None) -> Array:
        """Numbers of events."""
        return self._with("poisson", lam, size, _I8, _F8 if self.machine.fp64 else _F4)

    def integers(self, low: int, high: int | None = None, size: Any = None, dtype: Any = "int64") -> Array:
        """Uniform in [low, high)."""
        low, high = (0, int(low)) if high is None else (int(low), int(high))
        if high <= low:
            raise ArgumentError(f"random integers need low < high, not {low} and {high}")
        new = empty(self.machine, _shape(size), _I8)
        plan = source.layout(new.shape, new.strides)
        if plan.n:
            kernel = self.machine.kernel(("draw", "integers", _F4), lambda: _program(_F4))
            self.machine.launch(kernel, plan.n, new.memory, *self.next(), pack("q", low), pack("Q", (high - low) % (1 << 64)),
                                plan.packed + pack("q", 0))
        return cast(new, np.dtype(dtype))

    def permutation(self, n: int) -> Array:
        """The numbers below ``n`` in random order: a table of the host, made from the next number of the stream."""
        self.call += 1
        order = np.random.Generator(np.random.Philox(key=[int.from_bytes(self._key, "little"), self.call])).permutation(n)
        return self.machine.xp.asarray(order)


class Recorded(Generator):
    """The random numbers of a recording: calls count from its beginning, what comes before is told at each replay."""

    def __init__(self, machine: Any) -> None:
        super().__init__(machine, 0)
        self._state = machine.allocate(16)

    def __deepcopy__(self, memo: Any) -> Generator:
        raise MXNetError("a recording cannot keep the state of its random numbers")

    def replay(self, generator: Generator) -> None:
        """Have the launches, which are replayed next, draw what ``generator`` would have drawn, and move that on."""
        before, generator.call = generator.call, generator.call + self.call
        kernel = self.machine.kernel("draw replay", _replay_program)
        self.machine.launch(kernel, 1, self._state, generator._key, pack("Q", before), _ONE)

    def permutation(self, n: int) -> Array:
        """Refused: the host would make the order once and for all."""
        raise MXNetError("random orders are made by the host, so they cannot be recorded")


def _shape(size: Any) -> tuple[int, ...]:
    return () if size is None else (int(size),) if isinstance(size, (int, np.integer)) else tuple(size)
