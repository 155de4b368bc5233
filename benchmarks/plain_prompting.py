"""DG-SCT's modules, front end and encoders as the published code does them, to be timed against ours: the same numbers.

Images of one column around every product, tokens mixed before channels as a convolution over them, attention to channels and
tokens in all modules with a map from each, a short-time Fourier transform as a dense convolution over the whole repeated sound,
the libraries' own blocks.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from earshot.prompters import Encoded, _hearing
from earshot.prompters._guidance import Guidance


class PlainModule(nn.Module):
    """One module with the parameters of ours."""

    def __init__(self, ours: Guidance) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """The residual (N, L, C) and the map (N, 1, L)."""
        own = self.ours
        x, other = (one.permute(0, 2, 1).unsqueeze(-1) for one in (x, other))
        c = own.conv_adapter(other.transpose(2, 1))
        c = own.fc(c.squeeze(-1)).permute(0, 2, 1).unsqueeze(-1)
        tokens = own.my_tokens[None].expand(x.shape[0], -1, -1)
        scores = torch.bmm(c.squeeze(-1).permute(0, 2, 1), tokens.permute(0, 2, 1)).permute(0, 2, 1)
        tokens = tokens + torch.bmm(scores.softmax(-1), c.squeeze(-1).permute(0, 2, 1))
        scores = torch.bmm(x.squeeze(-1).permute(0, 2, 1), tokens.permute(0, 2, 1))
        x = x + own.gate_av * torch.bmm(scores.softmax(-1), tokens).permute(0, 2, 1).unsqueeze(-1)
        x, attention = self._attended(x.squeeze(-1).permute(0, 2, 1), c.squeeze(-1).permute(0, 2, 1))
        return self._squeezed(own.ln_before(x).permute(0, 2, 1).unsqueeze(-1)), attention

    def _attended(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        own, alpha, beta = self.ours, *self.ours.weights[:2]
        whole = c.mean(1, keepdim=True)
        both = own.fc_affine_audio_1(whole).relu() * own.fc_affine_video_1(x).relu()
        channels = own.fc_affine_v_c_att(own.fc_affine_bottleneck(both.mean(1)).relu()).sigmoid()[:, None]
        query = own.fc_affine_video_2(x * (channels + 1)).relu() * own.fc_affine_audio_2(whole).relu()
        scores = own.fc_affine_v_s_att(query)
        attention = scores.tanh().permute(0, 2, 1).softmax(-1)
        return x * (alpha * channels + beta * scores.sigmoid() + 1 - alpha), attention

    def _squeezed(self, x: Tensor) -> Tensor:
        own = self.ours
        z = _normed(own.bn1, own.down_sampler(x)).relu()
        z = _normed(own.bn2, own.up_sampler(z))
        return own.gate * own.ln_post(z.squeeze(-1).permute(0, 2, 1))


def _normed(norm: nn.BatchNorm1d, image: Tensor) -> Tensor:
    statistics = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    # contiguous, since torch 2.13 gets the gradient wrong for such views on CPUs
    return functional.batch_norm(image.contiguous(), *statistics, norm.training, norm.momentum, norm.eps)


class PlainPair(nn.Module):
    """Both encoders with the weights and modules of a prompter of ours, whose blocks are the libraries' own."""

    def __init__(self, ours) -> None:
        super().__init__()
        self.ours = ours
        self.lists = nn.ModuleDict(
            {
                f"{side}_{which}": nn.ModuleList([PlainModule(one) for one in getattr(ours, f"{side}_adapter_blocks_{which}")])
                for side in ("audio", "vis")
                for which in ("p1", "p2")
            }
        )
        self.kernels = _fourier()

    @torch.no_grad()
    def listen(self, waves: Tensor, segments: int) -> Tensor:
        """As ours, by a dense convolution over all of the repeated sound."""
        sizes = self.ours.sound_shape
        repeated = _hearing.cut(waves, segments).repeat(1, min(segments, sizes.tiles))
        padded = functional.pad(repeated[:, None], (512, 512), mode="reflect")
        real, imaginary = (functional.conv1d(padded, one.to(waves.device), stride=320) for one in self.kernels)
        power = (real**2 + imaginary**2).transpose(1, 2)
        return 10 * (power @ _hearing.log_mel(sizes.mel_bins).banks.to(waves.device)).clamp(min=1e-10).log10()[:, None]

    def forward(self, frames: Tensor, sound: Tensor) -> Encoded:
        """As ours."""
        ours, swin, encoder = self.ours, self.ours.visual, self.ours.audio.audio_encoder
        fv = swin.patch_embed(frames)
        mel = encoder.batch_norm(sound.transpose(1, 3)).transpose(1, 3)
        fa, position, levels = encoder.patch_embed(encoder.reshape_mel2img(mel), None), 0, []
        for stage, layer in enumerate(swin.layers):
            fv = layer.downsample(fv)
            for number, block in enumerate(layer.blocks):
                if number % ours.ratios[stage] != ours.ratios[stage] - 1:
                    fv = block(fv)
                    continue
                fv, fa, maps = self._position(
                    position, block, encoder.layers[stage].blocks[number // ours.ratios[stage]], fv, fa
                )
                position += 1
            levels.append(fv.flatten(1, 2))
            if encoder.layers[stage].downsample is not None:
                fa = encoder.layers[stage].downsample(fa, (math.isqrt(fa.shape[1]),) * 2)
        seen = swin.norm(fv).flatten(1, 2)
        pooled = [torch.bmm(one, tokens)[:, 0] for one, tokens in zip(maps, (seen, fa), strict=True)]
        return Encoded(seen, fa, *pooled, maps[0][:, 0], maps[1][:, 0], (*levels[:-1], seen))

    def _position(self, position: int, block, audio_block, fv: Tensor, fa: Tensor):
        shape, lists = fv.shape, self.lists
        ra, _ = lists["audio_p1"][position](fa, fv.flatten(1, 2))
        rv, _ = lists["vis_p1"][position](fv.flatten(1, 2), fa)
        fv = (fv + block.drop_path1(block.norm1(block._attn(fv)))).flatten(1, 2) + rv
        fa = audio_block(fa, (math.isqrt(fa.shape[1]),) * 2)[0] + ra
        ra, by_sound = lists["audio_p2"][position](fa, fv)
        rv, by_sight = lists["vis_p2"][position](fv, fa)
        fv = fv + block.drop_path2(block.norm2(block.mlp(fv))) + rv
        return fv.view(shape), fa + ra, (by_sight, by_sound)


def _fourier() -> tuple[Tensor, Tensor]:
    """Kernels (513, 1, 1024) of a Fourier transform in Hann windows."""
    samples = torch.arange(1024, dtype=torch.float64)
    angles = torch.outer(samples[:513], samples) * (2 * math.pi / 1024)
    window = torch.hann_window(1024, dtype=torch.float64)
    return tuple((part(angles) * window).float()[:, None] for part in (torch.cos, torch.sin))
