"""Weights and clips drawn from their names, so that golden numbers need no weight file.

A generator PCG64 is seeded with the first 8 bytes (big-endian) of the SHA-256 of a name; float64 normals are scaled by the
role of the parameter and cast to float32.
"""

import hashlib

import numpy as np
import torch

_HEAD_GAIN = {"new_fc.weight": 8.0, "cls_head.fc_cls.weight": 2.0}


def generator(name):
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "big")))


def normal(name, shape):
    return generator(name).standard_normal(shape).astype(np.float32)


def checkpoint(entries):
    """A published checkpoint by (key, shape, kind), filled by name; what its model makes itself is left as zeros."""
    shapes = {name: tuple(shape) for name, shape, _ in entries}
    norms = {
        n.rpartition(".")[0]
        for n, shape in shapes.items()
        if n.endswith("running_mean") or (n.endswith("weight") and len(shape) == 1)
    }
    return {name: _tensor(name, shape, norms) for name, shape in shapes.items()}


def _tensor(name, shape, norms):
    module, _, leaf = name.rpartition(".")
    if leaf in ("num_batches_tracked", "relative_position_index"):
        return torch.zeros(shape, dtype=torch.int64)
    z = generator(name).standard_normal(shape)
    if leaf == "running_var":
        z = np.exp(0.1 * z)
    elif leaf == "relative_position_bias_table":
        z = 0.2 * z
    elif leaf == "weight" and module in norms:
        z = 1 + 0.05 * z
    elif leaf == "weight":
        z = _HEAD_GAIN.get(name, 1.0) * z / np.sqrt(float(np.prod(shape[1:])))
    else:  # biases and running means
        z = 0.05 * z
    return torch.from_numpy(np.asarray(z, np.float32))


def clip(name, frames, size, cell=16):
    """A seeded clip (3, T, size, size): tint, flicker by frame, static blocks and pixel noise, drawn in this order."""
    rng = generator(name)
    blocks = -(-size // cell)
    tint = rng.standard_normal(3)
    flicker = rng.standard_normal((frames, 3))
    block = rng.standard_normal((3, blocks, blocks)).repeat(cell, 1).repeat(cell, 2)[:, :size, :size]
    noise = rng.standard_normal((frames, 3, size, size))
    frames_first = tint[None, :, None, None] + 0.5 * flicker[:, :, None, None] + block[None] + 0.25 * noise
    return torch.from_numpy(frames_first.astype(np.float32)).transpose(0, 1).contiguous()
