"""Two frozen encoders in lock-step, one of frames and one of sound, with adapters between them at positions in depth.

Source: Duan et al., "Cross-modal Prompts", NeurIPS 2023, section 3.2, in the order of its public code: stages of equal depth
are paired block by block; in deeper visual stages every so many blocks meet one of sound, the others run plain. Shapes: N
segments, L tokens, C channels.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from math import isqrt
from typing import Any, ClassVar, Literal

import torch
from timm.layers import drop_path
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from earshot.backbones import WeightsError
from earshot.prompters import Encoded, Widths, _hearing, _trunks, _windows
from earshot.prompters._estimate import Estimate, estimate
from earshot.prompters._latent import Guided, LatentAdapter, Place, recomputing
from earshot.prompters._trunks import Encoders
from earshot.state_files import first_few

Make = Callable[[Place, Place, bool], LatentAdapter]  # own place, the other stream's, whether it is the visual side's

_LISTS = ("audio_adapter_blocks_p1", "vis_adapter_blocks_p1", "audio_adapter_blocks_p2", "vis_adapter_blocks_p2")
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB
NOTHING = re.compile(r"(?!)")  # of names that a publication makes and never uses: there are none
_DROPPED = 0.1  # rate at which the last block of HTS-AT drops its residuals in training; the first drops none


class Paired(nn.Module):
    """What all pairs share: frozen encoders and how they behave in training, adapters and their weights.

    `checkpointing` computes positions again instead of keeping what is inside them. `generator` draws SpecAugment and mixup;
    none: torch's own, which draws dropout too. `mixup` needs `trunk_mode` reference, as SpecAugment and drop-path do.
    """

    widths: Widths
    published: ClassVar[Mapping[str, str]] = {"visual": "swin.", "audio": "htsat."}  # names of encoders in published files

    def __init__(self, encoders: Encoders) -> None:
        super().__init__()
        self.visual: Any = encoders.visual
        self.audio: Any = encoders.audio
        self.trunk_mode: Literal["eval", "reference"] = "eval"
        self.checkpointing = self.mixup = False
        self.generator: torch.Generator | None = None
        self.finetuned: tuple[str, ...] = ()
        self.last_position: tuple[int, ...] = ()  # of the adapters
        self.biases = _windows.Biases()
        self.size = encoders.size
        self.shape, self.sound_shape = _trunks.shape_of(encoders.size)
        for trunk in self._trunks():
            trunk.requires_grad_(False)

    def _trunks(self) -> list[nn.Module]:
        return [one for one in (self.visual, self.audio) if one is not None]

    def add(self, places: Sequence[tuple[Place, Place]], make: Make) -> None:
        """Put four adapters to each position, where the visual and the audio stream have these places."""
        self.last_position = (len(places) - 1,)
        for name in _LISTS:
            visual = name.startswith("vis")
            pairs = [(seen, heard) if visual else (heard, seen) for seen, heard in places]
            setattr(self, name, nn.ModuleList([make(own, other, visual) for own, other in pairs]))

    def pair(self, which: str, position: int) -> tuple[LatentAdapter, LatentAdapter]:
        """The visual and the audio adapter of a position, its first (`p1`) or second (`p2`)."""
        visual, audio = (getattr(self, f"{side}_adapter_blocks_{which}")[position] for side in ("vis", "audio"))
        return visual, audio

    @property
    def adapters(self) -> list[LatentAdapter]:
        """All adapters, list by list."""
        return [one for name in _LISTS for one in getattr(self, name, ())]

    def train(self, mode: bool = True) -> "Paired":
        """As of `nn.Module`, but frozen encoders stay in evaluation mode unless `trunk_mode` is reference."""
        super().train(mode)
        for trunk in self._trunks():
            trunk.train(mode and self.trunk_mode == "reference")
        return self

    def set_trunk_mode(self, mode: Literal["eval", "reference"]) -> None:
        """`reference`: in training, encoders drop paths, mask spectrograms, and their batch norm follows the batches."""
        self.trunk_mode = mode
        self.train(self.training)

    def finetune(self, sides: Sequence[str]) -> None:
        """Train these encoders as a whole, of `visual` and `audio`; raises ValueError for what is not there."""
        for side in sides:
            if getattr(self, side, None) is None or side not in ("visual", "audio"):
                raise ValueError(f"`finetune: {side}`: there is no such encoder in this pair")
        self.finetuned = tuple(sides)
        for side in ("visual", "audio"):
            if (trunk := getattr(self, side)) is not None:
                trunk.requires_grad_(side in sides)

    def state(self) -> Mapping[str, Tensor]:
        """The tensors that training changes: what is trained, and moving statistics beside it."""
        trained = {name for name, one in self.named_parameters() if one.requires_grad}
        moving = tuple(f"{name}." for name in _LISTS)
        if self.trunk_mode == "reference" or "audio" in self.finetuned:
            moving += ("audio.audio_encoder.batch_norm.",)
        buffers = {name for name, _ in self.named_buffers() if name.startswith(moving)}
        return {name: one for name, one in self.state_dict().items() if name in trained | buffers}

    # --- what goes in ---

    def look(self, frames: Tensor) -> Tensor:
        """Frames (N, H, W, 3) uint8, RGB, as the visual encoder takes them: (N, 3, side, side), normalised as on ImageNet."""
        image = frames.permute(0, 3, 1, 2).to(torch.get_default_dtype()) / 255
        if image.shape[-2:] != (self.shape.px, self.shape.px):
            image = functional.interpolate(image, (self.shape.px, self.shape.px), mode="bicubic", align_corners=False)
        mean, std = (torch.tensor(values, device=image.device).view(3, 1, 1) for values in (_MEAN, _STD))
        return (image - mean) / std

    def plain(self, frames: Tensor) -> Tensor:
        """Tokens (N, L, C) of frames as `look` gives them, from the visual encoder alone, without gradients."""
        with torch.no_grad():
            x = self._first_seen(frames)
            for stage, layer in enumerate(self._stages()):
                x = self._merged(stage, x)
                for number, block in enumerate(layer.blocks):
                    x = self._seen_plainly(block, x, (stage, number))
            return self.visual.norm(x)

    # --- parts of the visual encoder ---

    def _stages(self) -> Any:
        return self.visual.layers

    def _first_seen(self, frames: Tensor) -> Tensor:
        return self.visual.patch_embed(frames).flatten(1, 2)

    def _merged(self, stage: int, x: Tensor) -> Tensor:
        """Tokens at the start of a visual stage."""
        if stage == 0:
            return x
        side = isqrt(x.shape[1])
        return self._stages()[stage].downsample(x.unflatten(1, (side, side))).flatten(1, 2)

    def _seen_plainly(self, block: Any, x: Tensor, name: Any) -> Tensor:
        x = x + _windows.seen(block, x, self.biases, name)
        return x + _windows.refined(block, x)

    def _seen_alone(self, stage: int, number: int, x: Tensor) -> Tensor:
        return self._seen_plainly(self._stages()[stage].blocks[number], x, (stage, number))

    def _visual_places(self) -> list[Place]:
        """Tokens and channels of every visual stage."""
        side = self.shape.px // 4
        return [Place((side >> stage) ** 2, self.shape.width << stage) for stage in range(len(self.shape.blocks))]

    # --- parts of the audio encoder, which is HTS-AT's trunk ---

    @property
    def _sound(self) -> Any:
        return self.audio.audio_encoder

    def _first_heard(self, sound: Tensor) -> Tensor:
        """Spectrograms (N, 1, F, M) in dB as the first tokens of sound (N, L, C)."""
        encoder = self._sound
        mel = encoder.batch_norm(sound.transpose(1, 3)).transpose(1, 3)
        if encoder.training:
            mel = _hearing.masked(mel, self.generator)
            mel = _hearing.mixed(mel, self.generator) if self.mixup else mel
        return encoder.patch_embed(encoder.reshape_mel2img(mel), None)

    def _heard(self, block: Any, position: int, x: Tensor) -> Tensor:
        """A whole block; both of its residuals are dropped at rates that rise with depth."""
        rate = _DROPPED * position / (sum(len(stage.blocks) for stage in self._sound.layers) - 1)
        dropped = partial(drop_path, drop_prob=rate, training=self._sound.training)
        return _windows.heard(block, x, self.biases, ("audio", position), dropped)

    # --- what adapters add ---

    def added(self, which: str, position: int, seen: Tensor, heard: Tensor, last: bool = False) -> tuple[Guided, Guided]:
        """What the adapters of a position add to what is seen and to what is heard; both read the same tokens."""
        visual, audio = self.pair(which, position)
        return visual(seen, heard, last), audio(heard, seen, last)

    # --- what comes out ---

    def encoded(self, seen: Tensor, heard: Tensor, levels: tuple[Tensor, ...], maps: Sequence[Tensor]) -> Encoded:
        """Both streams pooled by the maps of the last position or, without any, as their means."""
        even = [torch.full(one.shape[:2], 1 / one.shape[1], device=one.device) for one in (seen, heard)]
        by_sight, by_sound = maps or even
        pooled = self.pooled(by_sight, seen), self.pooled(by_sound, heard)
        return Encoded(seen, heard, *pooled, by_sight, by_sound, levels)

    # --- memory ---

    def estimate(self, clips: int, segments: int, checkpointing: bool = False) -> Estimate:
        """What a training step on so many clips will need; nothing is allocated."""
        return estimate(self, clips, segments, checkpointing)

    def through(self, part: Callable[..., Any], *tensors: Tensor) -> Any:
        """A part of the computation, whose inside is computed again in the backward pass if `checkpointing`."""
        if not (self.checkpointing and torch.is_grad_enabled()):
            return part(*tensors)
        again = partial(recomputing, self.adapters)
        return checkpoint(part, *tensors, use_reentrant=False, context_fn=lambda: (nullcontext(), again()))

    def pooled(self, weights: Tensor, tokens: Tensor) -> Tensor:
        """The mean (N, C) of tokens (N, L, C) by weights (N, L), in single precision."""
        with _windows.in_full(tokens):
            return (weights.float()[:, None] @ tokens.float())[:, 0]


class PairedEncoder(Paired):
    """Swin-V2 for frames and HTS-AT for sound, with adapters where `make` is given.

    Raises ValueError where a visual stage does not have a whole multiple of the blocks of its partner.
    """

    def __init__(self, encoders: Encoders, make: Make | None = None) -> None:
        super().__init__(encoders)
        seen, heard = self._visual_places(), self._audio_places()
        self.ratios = [_ratio(*depths) for depths in zip(self.shape.blocks, self.sound_shape.blocks, strict=True)]
        self.widths = Widths(seen[-1].width, heard[-1].width, *levels_of(seen))
        self.maps = make is not None
        if make is not None:
            deep = [(seen[stage], heard[stage]) for stage, count in enumerate(self.sound_shape.blocks) for _ in range(count)]
            self.add(deep, make)

    def _audio_places(self) -> list[Place]:
        side = self.sound_shape.side // 4
        return [Place((side >> stage) ** 2, self.sound_shape.width << stage) for stage in range(len(self.sound_shape.blocks))]

    @torch.no_grad()
    def listen(self, waves: Tensor, segments: int) -> Tensor:
        """Waves (B, S) at 32 kHz as log-mel spectrograms (B T, 1, F, M) in dB of their T segments, each repeated T times."""
        tiles = min(segments, self.sound_shape.tiles)
        return _hearing.spectrograms(_hearing.cut(waves, segments), tiles, self.sound_shape.mel_bins)[:, None]

    def example(self, count: int) -> tuple[Tensor, Tensor]:
        """Empty inputs of the right shapes for so many segments."""
        px, mel = self.shape.px, self.sound_shape
        frames = mel.side * (mel.side // mel.mel_bins)  # as many as fill the folded spectrogram
        return torch.empty(count, 3, px, px), torch.empty(count, 1, frames, mel.mel_bins)

    def forward(self, frames: Tensor, sound: Tensor) -> Encoded:
        """What `look` and `listen` give of N segments, as tokens and pooled vectors."""
        seen, heard, levels, position = self._first_seen(frames), self._first_heard(sound), [], 0
        maps: tuple[Tensor, ...] = ()
        for stage, (layer, ratio) in enumerate(zip(self._stages(), self.ratios, strict=True)):
            seen = self._merged(stage, seen)
            for number in range(len(layer.blocks)):
                if number % ratio != ratio - 1:
                    seen = self.through(partial(self._seen_alone, stage, number), seen)
                    continue
                seen, heard, *maps = self.through(partial(self._position, position, stage, number), seen, heard)
                position += 1
            levels.append(seen)
            if (merging := self._sound.layers[stage].downsample) is not None:
                heard = merging(heard, (isqrt(heard.shape[1]),) * 2)
        seen = self.visual.norm(seen)
        return self.encoded(seen, heard, (*levels[:-1], seen), maps)

    def _position(self, position: int, stage: int, number: int, seen: Tensor, heard: Tensor) -> tuple[Tensor, ...]:
        """One paired position: both streams after it and, at the last, the maps of both."""
        block, sound = self._stages()[stage].blocks[number], self._sound.layers[stage].blocks[number // self.ratios[stage]]
        if not self.maps:
            return self._seen_plainly(block, seen, (stage, number)), self._heard(sound, position, heard)
        to_seen, to_heard = self.added("p1", position, seen, heard)
        seen = seen + _windows.seen(block, seen, self.biases, (stage, number)) + to_seen.residual
        heard = self._heard(sound, position, heard) + to_heard.residual
        to_seen, to_heard = self.added("p2", position, seen, heard, (position,) == self.last_position)
        seen, heard = seen + _windows.refined(block, seen) + to_seen.residual, heard + to_heard.residual
        return seen, heard, *(one.map for one in (to_seen, to_heard) if one.map is not None)


def _ratio(seen: int, heard: int) -> int:
    """How many visual blocks a stage has for each of sound."""
    if seen % heard:
        raise ValueError(f"a visual stage of {seen} blocks cannot be paired with one of sound of {heard}: no whole multiple")
    return seen // heard


def levels_of(places: Sequence[Place]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels of stages, and the sides of their grids."""
    return tuple(one.width for one in places), tuple(isqrt(one.tokens) for one in places)


def import_adapters(state: Mapping[str, Tensor], model: Paired, dead: re.Pattern[str]) -> dict[str, Tensor]:
    """The tensors of `model.state()` from a published state dict, in which encoders and a head may lie as well.

    `dead` finds names that the publication makes and never uses; a model that has them takes them. What training changed of the
    encoders is taken as well, and asked for. Raises WeightsError.
    """
    plain = {re.sub(r"^(module\.)+", "", key): value for key, value in state.items()}
    wanted = model.state()
    names = [key for key in plain if key.startswith(_LISTS)]
    found = {key: plain[key] for key in names if key in wanted or not dead.search(key)}
    own = {key: value for key, value in wanted.items() if not key.startswith(_LISTS)} | _changed_in_encoders(plain, model)
    found |= {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked") and key not in found} | own
    shapes = [key for key in set(found) & set(wanted) if found[key].shape != wanted[key].shape]
    wrong = {"missing": set(wanted) - set(found), "unknown": set(found) - set(wanted), "of another shape": shapes}
    if any(wrong.values()):
        told = "; ".join(f"{name} {first_few(sorted(keys)) or 'none'}" for name, keys in wrong.items())
        raise WeightsError(f"these modules do not fit: {told}; do `size` of the encoders and `hyper` fit the checkpoint?")
    return {key: found[key] for key in wanted}


def _changed_in_encoders(state: Mapping[str, Tensor], model: Paired) -> dict[str, Tensor]:
    """Those tensors of `model.state()` that lie in its encoders, from the encoders in the file.

    Raises WeightsError where the file's encoders differ from those of the model in anything else.
    """
    changed = {key for key in model.state() if key.startswith(("visual.", "audio."))}
    found: dict[str, Tensor] = {}
    for side, prefix in model.published.items():
        inside = {key: value for key, value in state.items() if key.startswith(prefix)}
        own: Any = getattr(model, side)
        if own is None or not inside:
            continue
        copies = Encoders(deepcopy(model.visual), deepcopy(model.audio), model.size)
        _trunks.import_encoder(copies, side, inside)
        published = getattr(copies, side).state_dict()
        differ = {key for key, value in own.state_dict().items() if not torch.allclose(published[key], value, 1e-4, 1e-6)}
        _must_be_known(side, differ, {key.removeprefix(f"{side}.") for key in changed})
        found |= {f"{side}.{key}": value for key, value in published.items() if f"{side}.{key}" in changed}
    if lost := sorted(changed - set(found)):
        raise WeightsError(
            f"training changes {first_few(lost)}, by `train: {{finetune, trunk_mode}}`, and this file holds none"
        )
    return found


def _must_be_known(side: str, differ: set[str], changed: set[str]) -> None:
    """Raise WeightsError where the file's encoder differs from the frozen one in what training does not change."""
    if not (surprising := sorted(differ - changed)):
        return
    moved = all(".batch_norm." in key for key in surprising)
    way = "train: {trunk_mode: reference}" if moved else f"train: {{finetune: [{side}]}}"
    raise WeightsError(
        f"the {side} encoder in this file is not the frozen one: {first_few(surprising)} differ; set `{way}` if it was "
        "trained as well, or take the encoders that the file was made with"
    )
