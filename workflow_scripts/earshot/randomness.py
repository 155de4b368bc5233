"""Random numbers that depend only on what they are for: never on workers, order or global state."""

import hashlib

import numpy as np


def seed_of(*parts: object, bits: int = 64) -> int:
    """A seed of `bits` bits from any parts, for example (seed, clip_id, corruption, severity, frame)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[: bits // 8], "big")


def numpy_generator(*parts: object, bits: int = 64) -> np.random.Generator:
    """A NumPy generator (SFC64) keyed by the parts."""
    return np.random.Generator(np.random.SFC64(seed_of(*parts, bits=bits)))
