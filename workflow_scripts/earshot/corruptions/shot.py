"""Shot noise: floor8(Poisson(x c) / c), the grain of a sensor that counts about c photons at full light.

Source: Hendrycks and Dietterich, ICLR 2019 (ImageNet-C), section 3, whose counts are the presets `imagenet_c` and `ame`. The
default is the milder table of UCF101-P (Schiappa et al., CVPR 2023), which fits the published accuracies on UCF101-C; our spec,
`corruptions.md` sections 1 and 2.4. c is a number of photons.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame, Words, compiled, fixed, noise_words

SPEC = Corruption(
    "Shot noise",
    family="noise",
    unit="photons at full light",
    severities={"default": (250, 100, 50, 30, 15), "imagenet_c": (60, 25, 12, 5, 3), "ame": (60, 25, 12, 5, 3)},
    source="ImageNet-C, arXiv 1903.12261; UCF101-P, arXiv 2207.01398",
    randomness="noise",
)
draw = noise_words
_BITS = 12  # of a word: a table of 1 MB, which stays in the processor's cache


@cache
def _quantiles(photons: int) -> NDArray[np.uint8]:
    """Output levels by input level and random word: quantiles of the Poisson law."""
    rates = np.arange(256) * photons / 255
    counts = np.arange(int(photons + 12 * np.sqrt(photons) + 12))
    levels = (np.clip(counts / photons, 0, 1) * 255).astype(np.uint8)
    steps = (np.arange(1 << _BITS) + 0.5) / (1 << _BITS)
    laws = (pdtr(counts, rate) for rate in rates)
    return np.concatenate([levels[np.searchsorted(law, steps)] for law in laws])


@compiled
def _replace(pixels: Frame, words: Words, quantiles: NDArray[np.uint8], out: Frame) -> None:
    for i in range(len(pixels)):
        out[i] = quantiles[(np.uint32(pixels[i]) << np.uint32(12)) | np.uint32(words[i] >> 4)]


def apply(frame: Frame, value: int, drawn: Words) -> Frame:
    """Count photons, `value` of them at full light."""
    out = np.empty_like(frame)
    _replace(fixed(frame).ravel(), drawn, _quantiles(value), out.ravel())
    return out
