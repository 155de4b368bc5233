"""JPEG: each frame encoded and decoded once, 4:2:0.

Source: Hendrycks and Dietterich, ICLR 2019 (ImageNet-C), section 3; our spec, `corruptions.md` sections 1, 2.7 and 5 (ffmpeg's
own encoder has other quantiser tables). Quality is libjpeg's scale, 1 to 100. Pillow's wheels carry their own libjpeg-turbo, so
equal versions of Pillow give equal frames.
"""

from io import BytesIO

import numpy as np
from PIL import Image

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame

SPEC = Corruption(
    "JPEG compression",
    family="digital",
    unit="quality",
    severities={"default": (25, 18, 15, 10, 7)},
    source="ImageNet-C, arXiv 1903.12261",
)


def apply(frame: Frame, value: int, drawn: None = None) -> Frame:
    """Compress with quality `value`."""
    height, width, _ = frame.shape
    data = BytesIO()
    Image.frombuffer("RGB", (width, height), frame).save(data, "JPEG", quality=value, subsampling="4:2:0")
    return np.array(Image.open(data))
