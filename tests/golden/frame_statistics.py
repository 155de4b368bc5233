"""What stats.json states of a corrupted frame."""

import numpy as np


def statistics(frame, clean):
    """As defined in stats.json."""
    residual = frame.astype(int) - clean
    return {
        "mean": frame.mean((0, 1)),
        "std": frame.std((0, 1)),
        "psnr": 10 * np.log10(255**2 / np.mean(residual**2)),
        "ssim": similarity(frame, clean),
        "hist_tv": np.abs(brightness(frame) - brightness(clean)).sum() / 2,
        "resid_mean": residual.mean(),
        "resid_std": residual.std(),
        "frac0": (frame == 0).mean(),
        "frac255": (frame == 255).mean(),
    }


def similarity(a, b):
    """Structural similarity over windows of 7 x 7 that lie inside the frame; sums in whole numbers."""
    a, b = a.astype(np.int64), b.astype(np.int64)
    sums = np.stack([a, b, a * a, b * b, a * b])
    for axis in (1, 2):
        padded = np.cumsum(np.insert(sums, 0, 0, axis), axis)
        length = padded.shape[axis]
        sums = np.take(padded, range(7, length), axis) - np.take(padded, range(length - 7), axis)
    mean_a, mean_b, square_a, square_b, product = sums / 49
    variances = (square_a + square_b - mean_a**2 - mean_b**2) * 49 / 48
    covariance = (product - mean_a * mean_b) * 49 / 48
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    share = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))
    return share.mean()


def brightness(frame):
    """Shares of the pixels in 32 bins of luma."""
    luma = frame @ np.array([0.299, 0.587, 0.114])
    return np.histogram(luma, 32, (0, 256))[0] / luma.size
