"""The temporal pixel-wise audio-visual interaction of AVSBench (TPAVI; Zhou et al., ECCV 2022), without its quadratic matrix.

Its weights are dot products without a softmax, so that (theta phi^T / N) g = theta (phi^T g) / N with N = T H W positions; and
phi is of the sound, the same all over a frame, so that phi^T g is a sum over frames (our spec, `dgsct.md` section 5.8).

Channels come last and norms see rows of them: of maps of one pixel, gradients of the library's batch norm in other layouts
are wrong on the CPU (PyTorch 2.13), since their strides do not tell channels from positions.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class Tpavi(nn.Module):
    """What is seen everywhere in a clip, weighted by the sound of its seconds. Names of parameters are the published ones."""

    def __init__(self, channels: int, audio: int) -> None:
        super().__init__()
        inner = channels // 2
        self.align_channel = nn.Linear(audio, channels)
        self.norm_layer = nn.LayerNorm(channels)
        self.g, self.theta, self.phi = (nn.Conv3d(channels, inner, 1) for _ in range(3))
        self.W_z = nn.Sequential(nn.Conv3d(inner, channels, 1), nn.BatchNorm1d(channels))
        nn.init.zeros_(self.W_z[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Map what is seen (B, T, H, W, C) and heard (B, T, A) to what is seen, and to what is heard in C channels."""
        positions = x.flatten(1, 3)  # (B, N, C)
        aligned = self.align_channel(audio)
        by_frame = _pixelwise(self.g, x).sum(dim=(2, 3))  # (B, T, C / 2)
        gathered = _pixelwise(self.phi, aligned).transpose(1, 2) @ by_frame / positions.shape[1]
        found = _pixelwise(self.W_z[0], _pixelwise(self.theta, positions) @ gathered)
        mixed = self.W_z[1](found.flatten(0, 1)).view_as(x) + x
        return self.norm_layer(mixed), aligned


def _pixelwise(layer: nn.Module, x: Tensor) -> Tensor:
    """A convolution of one pixel, on channels that come last."""
    weight, bias = layer.weight, layer.bias
    return F.linear(x, weight.flatten(1), bias)  # type: ignore[operator, arg-type]
