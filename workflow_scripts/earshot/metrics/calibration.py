"""Expected calibration error: how far a model's confidence is from how often it is right (Guo et al., ICML 2017, eq. 3)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 15


def bin_of(confidence: ArrayLike, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each confidence in [0, 1]: equal widths, the upper edge belongs to the bin; 0 falls into the first."""
    return np.clip(np.ceil(np.asarray(confidence, np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)


def calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error in percent of confidences (N,) and of right answers (N,); NaN if there are none.

    In each bin the distance of mean confidence and accuracy, weighted by the share of rows in the bin.
    """
    sure = np.asarray(confidence, np.float64)
    gaps = np.bincount(bin_of(sure, bins), weights=np.asarray(right, np.float64) - sure)
    return float(100 * np.abs(gaps).sum() / len(sure)) if len(sure) else float("nan")
