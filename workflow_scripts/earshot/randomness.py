"""Random numbers that depend only on what they are for: never on workers, order or global state."""

import hashlib

import numpy as np


def seed_of(*parts: object) -> int:
    """A 64-bit seed from any parts, for example (seed, clip_id, corruption, severity, frame)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def numpy_generator(*parts: object) -> np.random.Generator:
    """A NumPy generator (SFC64) keyed by the parts."""
    return np.random.Generator(np.random.SFC64(seed_of(*parts)))
