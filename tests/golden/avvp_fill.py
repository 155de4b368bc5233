"""Deterministic, name-keyed arrays for golden tests (no dependence on torch or on numpy's distribution code).

Every array is a pure function of (name, shape).  Only the raw PCG64 output stream is used, which numpy keeps stable.
"""

import hashlib
import math

import numpy as np

_ROOT3 = math.sqrt(3.0)


def uniform01(name, shape):
    """float64 in [0, 1): 53-bit uniforms from PCG64 seeded with the first 8 bytes (big endian) of sha256(name)."""
    shape = tuple(int(s) for s in shape)
    n = int(np.prod(shape)) if shape else 1
    seed = int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "big")
    raw = np.random.PCG64(seed).random_raw(n)
    u = (np.asarray(raw, dtype=np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return u.reshape(shape)


def unit(name, shape):
    """float64, zero mean, unit variance, uniform on [-sqrt(3), sqrt(3))."""
    return (2.0 * uniform01(name, shape) - 1.0) * _ROOT3


def param(name, shape):
    """Parameter value for a state-dict entry.

    >=2 axes           : unit / sqrt(prod(shape[1:]))
    1 axis, *.weight   : 1 + 0.1 * unit      (norm scales)
    *bias              : 0.02 * unit         (any entry whose last name part ends with "bias", e.g. in_proj_bias)
    anything else      : 0.1 * unit
    """
    x = unit(name, shape)
    last = name.rsplit(".", 1)[-1]
    if len(shape) >= 2:
        return x / math.sqrt(int(np.prod(shape[1:])))
    if last.endswith("bias"):
        return 0.02 * x
    if last == "weight":
        return 1.0 + 0.1 * x
    return 0.1 * x


def bernoulli(name, shape, p):
    return (uniform01(name, shape) < p).astype(np.float64)
