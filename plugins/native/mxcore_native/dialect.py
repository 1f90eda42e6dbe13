"""C as it is compiled here: functions of float32 that compilers can make vector instructions of, where the C library's are
slow or only take one number at a time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from mxcore.registry.source import C, Dialect

__all__ = ["FAST", "dialect"]

_NEAR = """#ifndef NEAR
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define NEAR(a, b, c) __builtin_fmaf(a, b, c)
#else
#define NEAR(a, b, c) ((a) * (b) + (c))
#endif
#endif
"""

#: exp(x) = 2^n exp(r), |r| <= log(2) / 2, exp(r) = 1 + r + r^2 P(r), the greatest relative error of which is 3e-9: within 1
#: unit in the last place. 2^n is two factors, as it may be no normal number. log(2) is split so that the first product is
#: exact.
_EXP = _NEAR + """#define near_exp exp
static inline float near_expf(float x) {
    float c = x > 89.0f ? 89.0f : x;
    c = c < -104.0f ? -104.0f : c;
    const float n = rintf(c * 1.44269504f);
    const float r = NEAR(n, 2.12194440e-4f, NEAR(n, -0.693359375f, c));
    float p = 0.0013814540107388467f;
    p = NEAR(p, r, 0.00836874519556133f);
    p = NEAR(p, r, 0.041668390791335164f);
    p = NEAR(p, r, 0.16666520398319062f);
    p = NEAR(p, r, 0.4999999343207701f);
    p = NEAR(p, r * r, r) + 1.0f;
    const int32_t i = x != x ? 0 : (int32_t)n, half = i >> 1;
    const uint32_t bits = (uint32_t)(half + 127) << 23, more = (uint32_t)(i - half + 127) << 23;
    float s, t;
    memcpy(&s, &bits, 4);
    memcpy(&t, &more, 4);
    return p * s * t;
}"""

#: tanh(x) and erf(x) are x P(x^2) / Q(x^2), fitted by least squares, reweighted until the greatest relative error (2e-8) is
#: least (Lawson's method), over [0, 9.02] and [0, 3.93]; beyond, both are 1. All coefficients are positive, so nothing
#: cancels: within 6 units in the last place.
_TANH = _NEAR + """#define near_tanh tanh
static inline float near_tanhf(float x) {
    float c = x > 9.02f ? 9.02f : x;
    c = c < -9.02f ? -9.02f : c;
    const float u = c * c;
    float p = 1.3319136284383059e-08f, q = 7.762047383462873e-07f;
    p = NEAR(p, u, 2.0583533053368413e-05f);
    p = NEAR(p, u, 0.003494037925963285f);
    p = NEAR(p, u, 0.13379720846084528f);
    p = NEAR(p, u, 0.9999999790295874f);
    q = NEAR(q, u, 0.00032830981926020405f);
    q = NEAR(q, u, 0.02587108622644991f);
    q = NEAR(q, u, 0.467130360907441f);
    q = NEAR(q, u, 1.0f);
    float y = c * p / q;
    y = y > 1.0f ? 1.0f : y;
    return y < -1.0f ? -1.0f : y;
}"""
_ERF = _NEAR + """#define near_erf erf
static inline float near_erff(float x) {
    float c = x > 3.93f ? 3.93f : x;
    c = c < -3.93f ? -3.93f : c;
    const float u = c * c;
    float p = 2.041972246921622e-06f, q = 3.800405894451536e-05f;
    p = NEAR(p, u, 0.0002848079987038966f);
    p = NEAR(p, u, 0.003779588719771893f);
    p = NEAR(p, u, 0.052790221410905856f);
    p = NEAR(p, u, 0.1907833713360503f);
    p = NEAR(p, u, 1.1283791453697258f);
    q = NEAR(q, u, 0.0011652074964386364f);
    q = NEAR(q, u, 0.014997396112621002f);
    q = NEAR(q, u, 0.11425732896050862f);
    q = NEAR(q, u, 0.5024100802857425f);
    q = NEAR(q, u, 1.0f);
    float y = c * p / q;
    y = y > 1.0f ? 1.0f : y;
    return y < -1.0f ? -1.0f : y;
}"""

#: functions of C that are written here
FAST = frozenset(("expf", "tanhf", "erff"))


def dialect(vector: Collection[str]) -> Dialect:
    """C for a compiler that calls the functions ``vector`` for several numbers at once.

    >>> dialect(["expf", "tanhf", "erff"]).functions
    {'erf': 'near_erf({0})'}
    """
    names = [n for n in ("exp", "tanh", "erf") if n + "f" not in vector or n == "erf"]  # libmvec's erf takes twice as long
    return replace(C, functions={n: f"near_{n}({{0}})" for n in names},
                   own={**C.own, "near_exp": _EXP, "near_tanh": _TANH, "near_erf": _ERF})
