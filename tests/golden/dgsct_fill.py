"""Deterministic, weight-free parameter filling used by every golden case in this folder.

A tensor's values depend only on its *name* and *shape*:

    seed  = little-endian uint64 of sha256(name.encode("utf-8")).digest()[:8]
    z     = numpy.random.Generator(numpy.random.PCG64(seed)).standard_normal(shape)   (float64)

followed by a rule chosen from the last component of the name and the number of dimensions
(see ``rule``).  The result is cast to float32.  No weights are stored anywhere.
"""

import hashlib
import math

import numpy as np
import torch

#: substrings of state-dict keys that are never filled (fixed transforms / index buffers)
SKIP = (
    "relative_position_index",
    "relative_coords_table",
    "attn_mask",
    "spectrogram_extractor",
    "logmel_extractor",
    "num_batches_tracked",
)


def _normal(name: str, shape) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "little")
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(tuple(shape))


def rule(name: str, shape) -> np.ndarray:
    """float64 values for one parameter or buffer."""
    z = _normal(name, shape)
    last = name.rsplit(".", 1)[-1]
    n = len(tuple(shape))
    if last == "running_mean":
        return 0.1 * z
    if last == "running_var":
        return 1.0 + 0.1 * np.abs(z)
    if n == 0 or (tuple(shape) == (1,) and "bias" not in last and last != "weight"):
        return 0.5 + 0.1 * z  # scalar gates
    if n == 1 and "bias" in last:
        return 0.05 * z  # every kind of bias (q_bias, bias_ih_l0, ...)
    if n == 1 and last == "weight":
        return 1.0 + 0.1 * z  # norm scale
    if n == 1:
        return 0.1 * z
    fan_in = int(np.prod(tuple(shape)[1:]))
    return z / math.sqrt(max(fan_in, 1))


def fill_tensor(name: str, shape) -> torch.Tensor:
    return torch.from_numpy(np.asarray(rule(name, shape), dtype=np.float32).reshape(tuple(shape)))


def fill_module(module: torch.nn.Module, prefix: str = "", keymap=None):
    """Fill every floating tensor of ``module.state_dict()`` in place.

    ``prefix`` is prepended to the state-dict key before hashing; ``keymap`` (optional) turns a
    local key into the canonical key to hash.  Returns the list of (canonical key, shape).
    """
    done = []
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if not tensor.is_floating_point() or any(s in key for s in SKIP):
                continue
            name = prefix + (keymap(key) if keymap else key)
            tensor.copy_(fill_tensor(name, tensor.shape))
            done.append((name, tuple(tensor.shape)))
    return done


def make_input(name: str, shape, scale: float = 1.0) -> torch.Tensor:
    """Seeded model input: standard normal * scale, hashed under ``"input:" + name``."""
    return torch.from_numpy((scale * _normal("input:" + name, shape)).astype(np.float32))


def make_uniform(name: str, shape) -> torch.Tensor:
    """Seeded input in (0, 1): Phi(z) with z from ``make_input``'s stream (erf form)."""
    z = torch.from_numpy(_normal("input:" + name, shape))
    return (0.5 * (1.0 + torch.erf(z / math.sqrt(2.0)))).float()
