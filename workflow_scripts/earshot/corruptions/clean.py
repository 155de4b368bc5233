"""The clean condition: frames as they are.

Source: our spec, `corruptions.md` section 4: a clean clip goes through the same decoder and encoder as the corrupted ones, so
that the two differ by the corruption alone.
"""

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame

SPEC = Corruption(
    "Clean",
    family="none",
    unit="none",
    severities={"default": (None, None, None, None, None)},
    source="identity",
)


def apply(frame: Frame, value: None, drawn: None = None) -> Frame:
    """The frame itself."""
    return frame
