"""TANet's structure: a residual network over frames whose every bottleneck mixes neighbouring frames adaptively.

Source: Liu et al., "TAM: Temporal Adaptive Module for Video Recognition", ICCV 2021, sections 3.1 and 3.2; key layout of the
public checkpoints (`base_model.layer{s}.{i}.net.*`, `.tam.G.*`, `.tam.L.*`, `new_fc.*`, which is `head.*` here).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torchvision.models.resnet import Bottleneck

from earshot.backbones._classifier import Rule, encoded, fit, layers_of

_RULES: tuple[Rule, ...] = (
    (r"new_fc\.", "head."),
    (r"cls_head\.fc_cls\.", "head."),  # the layout of mmaction2's own TANet, recalled and not seen
    (r"backbone\.conv1\.conv\.", "base_model.conv1."),
    (r"backbone\.conv1\.bn\.", "base_model.bn1."),
    (r"backbone\.(layer\d\.\d+)\.block\.conv(\d)\.conv\.", r"base_model.\1.net.conv\2."),
    (r"backbone\.(layer\d\.\d+)\.block\.conv(\d)\.bn\.", r"base_model.\1.net.bn\2."),
    (r"backbone\.(layer\d\.\d+)\.block\.downsample\.conv\.", r"base_model.\1.net.downsample.0."),
    (r"backbone\.(layer\d\.\d+)\.block\.downsample\.bn\.", r"base_model.\1.net.downsample.1."),
    (r"backbone\.(layer\d\.\d+)\.tam\.", r"base_model.\1.tam."),
)


class TemporalAdaptiveModule(nn.Module):
    """A gate by position in time (L) and a 3-tap temporal kernel for each clip and channel (G)."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.G = nn.Sequential(
            nn.Linear(frames, 2 * frames, bias=False),
            nn.BatchNorm1d(2 * frames),
            nn.ReLU(),
            nn.Linear(2 * frames, 3, bias=False),
            nn.Softmax(-1),
        )
        self.L = nn.Sequential(
            nn.Conv1d(channels, channels // 4, 3, padding=1, bias=False),
            nn.BatchNorm1d(channels // 4),
            nn.ReLU(),
            nn.Conv1d(channels // 4, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (V*T, C, H, W) to the same shape."""
        _, channels, height, width = x.shape
        clips = x.view(-1, self.frames, channels, height, width)
        pooled = clips.mean((3, 4)).transpose(1, 2)  # (V, C, T)
        kernel = self.G(pooled.reshape(-1, self.frames)).view(-1, 1, channels, 3)
        gate = self.L(pooled).transpose(1, 2)[..., None]  # (V, T, C, 1)
        # gate and kernel together are one small number for each frame, channel and tap
        before, now, after = (kernel * gate).to(x.dtype)[..., None, None].unbind(3)
        return _TemporalMix.apply(clips, before, now, after).view_as(x)


class _TemporalMix(torch.autograd.Function):
    """out_t = before_{t-1} x_{t-1} + now_t x_t + after_{t+1} x_{t+1}, with nothing beyond both ends.

    Clips (V, T, C, H, W), weights (V, T, C, 1, 1). Written out, because autograd would keep and copy five volumes of the
    clips' size: this takes three passes each way, and half the time.
    """

    @staticmethod
    def forward(ctx: Any, clips: Tensor, before: Tensor, now: Tensor, after: Tensor) -> Tensor:
        ctx.save_for_backward(clips, before, now, after)
        mixed = torch.mul(now, clips, out=torch.empty_like(clips))  # the layout in memory is that of the clips
        mixed[:, 1:].addcmul_(before[:, :-1], clips[:, :-1])
        mixed[:, :-1].addcmul_(after[:, 1:], clips[:, 1:])
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        clips, before, now, after = ctx.saved_tensors
        of_clips = torch.mul(now, gradient, out=torch.empty_like(clips))
        of_clips[:, :-1].addcmul_(before[:, :-1], gradient[:, 1:])
        of_clips[:, 1:].addcmul_(after[:, 1:], gradient[:, :-1])
        of_before, of_after = torch.zeros_like(before), torch.zeros_like(after)
        of_before[:, :-1] = _over_space(gradient[:, 1:] * clips[:, :-1])
        of_after[:, 1:] = _over_space(gradient[:, :-1] * clips[:, 1:])
        return of_clips, of_before, _over_space(gradient * clips), of_after


def _over_space(products: Tensor) -> Tensor:
    return products.sum((3, 4), keepdim=True)


class TemporalBottleneck(nn.Module):
    """A torchvision bottleneck with a temporal adaptive module after its first convolution."""

    def __init__(self, net: Bottleneck, frames: int) -> None:
        super().__init__()
        self.net = net
        self.tam = TemporalAdaptiveModule(net.conv1.out_channels, frames)

    def forward(self, x: Tensor) -> Tensor:
        """Map (V*T, C, H, W) to (V*T, C', H', W')."""
        net = self.net
        out = net.relu(net.bn1(net.conv1(x)))
        out = net.relu(net.bn2(net.conv2(self.tam(out))))
        out = net.bn3(net.conv3(out))
        return net.relu(out + (x if net.downsample is None else net.downsample(x)))


class TANet(nn.Module):
    """Frame logits of a residual network with temporal bottlenecks, averaged over time.

    `base` is a torchvision ResNet, or a module with the same attributes, that ends in features (V*T, D).
    """

    def __init__(self, base: Any, n_features: int, frames: int, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.frames, self.precision = frames, "fp32"
        for stage in (base.layer1, base.layer2, base.layer3, base.layer4):
            for index, block in enumerate(stage):
                stage[index] = TemporalBottleneck(block, frames)
        base.fc = nn.Dropout(dropout)
        self.base_model = base
        self.head = nn.Linear(n_features, n_classes)

    def features(self, clips: Tensor) -> Tensor:
        """Map (V, 3, T, H, W) to (V, D): the mean over frames, which the linear head may follow instead of precede."""
        if clips.shape[2] != self.frames:  # the length is part of the weights of G
            raise ValueError(f"this model takes clips of {self.frames} frames, not {clips.shape[2]}")
        frames = clips.transpose(1, 2).flatten(0, 1)
        return encoded(self.base_model, frames, self.precision).view(len(clips), self.frames, -1).mean(1)

    def forward(self, clips: Tensor) -> Tensor:
        """Map (V, 3, T, H, W) to logits (V, K)."""
        return self.head(self.features(clips))


def candidate_layers(model: nn.Module) -> list[str]:
    """All BatchNorm2d layers in order, the layers of the published statistics files (53 for ResNet-50)."""
    return layers_of(model, nn.BatchNorm2d)


def aligned_layers(model: nn.Module) -> list[str]:
    """The BatchNorm2d layers of the last two stages (29 for ResNet-50): ViTTA, section 4."""
    stages = ("base_model.layer3.", "base_model.layer4.")
    return [name for name in candidate_layers(model) if name.startswith(stages)]


def last_stage(model: nn.Module) -> list[str]:
    """The last of the four stages."""
    return ["base_model.layer4"]


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map a published checkpoint, whose last layer is `new_fc`, to the keys of `model`; raises WeightsError."""
    return fit(state, model, _RULES)
