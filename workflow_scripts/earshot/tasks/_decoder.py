"""The decoder of AVSBench (Zhou et al., ECCV 2022): maps of four sizes, fused from the smallest to the largest.

Names of parameters are the published ones. The published units overwrite their input with its ReLU, so that what is added
back is the ReLU as well; here this is written out (our spec, `dgsct.md` section 7.5).
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class _ResidualUnit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x.relu()
        return x + self.conv2(self.conv1(x).relu())


class Fusion(nn.Module):
    """A map, and perhaps a finer one that is added to it, in twice the size; the first of a decoder has no finer one."""

    def __init__(self, channels: int, first: bool) -> None:
        super().__init__()
        if not first:
            self.resConfUnit1 = _ResidualUnit(channels)
        self.resConfUnit2 = _ResidualUnit(channels)

    def forward(self, x: Tensor, finer: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W), and the finer one of the same size, to (N, C, 2 H, 2 W)."""
        if finer is not None:
            x = x + self.resConfUnit1(finer)
        return F.interpolate(self.resConfUnit2(x), scale_factor=2, mode="bilinear", align_corners=True)


class Decoder(nn.Module):
    """Maps (N, C, H_i, W_i) of four sizes, each half of the one before, to logits (N, 4 H_1, 4 W_1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.path4 = Fusion(channels, first=True)
        self.path3, self.path2, self.path1 = (Fusion(channels, first=False) for _ in range(3))
        half, few = max(channels // 2, 1), max(channels // 8, 1)
        self.output_conv = nn.Sequential(
            nn.Conv2d(channels, half, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(half, few, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(few, 1, 1),
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        first, second, third, fourth = maps
        x = self.path3(self.path4(fourth), third)
        return self.output_conv(self.path1(self.path2(x, second), first))[:, 0]
