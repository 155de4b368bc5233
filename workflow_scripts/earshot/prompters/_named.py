"""CLIP and CLAP in lock-step, with modules between them or none, and the names of classes as both read them.

Source: Duan et al., "Cross-modal Prompts", NeurIPS 2023, the few- and zero-shot variant, as summarised in our spec, `dgsct.md`
sections 2.4 and 10. Shapes: N segments, L tokens, C channels, K names, E dimensions of a space shared with texts.

Our readings: a picture's vector is CLIP's own, of its class token; that of a sound is CLAP's own, the mean of its normalised
tokens; both are then projected. Modules at p2 read what those at p1 have added to. Maps are those of the last modules, without
CLIP's class token. Images are normalised as on ImageNet, which is not CLIP's own way, as published.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isqrt
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from earshot.audio_models._logmel import LogMel
from earshot.knobs import Section
from earshot.prompters import Encoded, Widths, _clip_clap, _hearing
from earshot.prompters._estimate import Estimate
from earshot.prompters._latent import Place
from earshot.prompters._paired import Make, Paired
from earshot.prompters._trunks import Encoders

BACKGROUND = "background"  # the name after those of the classes
_FRONT_END = _hearing.Bins(32_000, window=1024, hop=320, low_hz=50, high_hz=14_000)
_OF_CLAP = _hearing.Bins(48_000, window=1024, hop=480, low_hz=50, high_hz=14_000)
_NORM = "audio.model.audio_model.audio_encoder.batch_norm."


class Reading(Section):
    """How names are read, and through which filters sounds are heard."""

    sentence: str = Field("The sounds of {}", pattern=r"\{\}", description="what CLAP reads in place of a name")
    mel: Literal["checkpoint", "rate"] = Field(
        "checkpoint", description="filters; checkpoint: CLAP's for 48 kHz, though the sound has 32 kHz, as published (inferred)"
    )


class Words(Reading):
    """The same, with vectors that are learnt."""

    context: int = Field(4, ge=1, description="learnt vectors before a name that CLIP reads")
    context_std: float = Field(0.02, gt=0, description="of their initial values")


class NamedPair(Paired):
    """CLIP for frames and CLAP for sound, with adapters where `make` is given; `rename` tells it the names of the classes."""

    visual: Any  # a `Clip`
    audio: Any  # a `Clap`
    seen_names: Tensor
    heard_names: Tensor

    published: ClassVar[Mapping[str, str]] = {}  # the names of CLIP and CLAP in published files are not known

    def __init__(self, encoders: Encoders, words: Reading, make: Make | None = None) -> None:
        super().__init__(encoders)
        self.words, self.maps = words, make is not None
        self.sizes = _clip_clap.shape_of(encoders.size)
        self.shape = self.sizes  # type: ignore[assignment]  # of which `look` takes the side of the frames
        self.context = None
        if isinstance(words, Words):
            self.context = nn.Parameter(words.context_std * torch.randn(words.context, self.sizes.text))
        self.mel = LogMel(replace(_FRONT_END, bins=self.sizes.mel_bins))
        if words.mel == "checkpoint":
            self.mel.banks.copy_(replace(_OF_CLAP, bins=self.sizes.mel_bins).banks())
        side = self.sizes.px // self.sizes.patch
        self.widths = Widths(self.sizes.clip_space, self.sizes.clap_space, (self.sizes.visual,), (side,))
        self.tokens: _clip_clap.Tokens | None = None
        for which in ("seen_names", "heard_names"):
            self.register_buffer(which, torch.empty(0), persistent=False)
        if make is not None:
            self.add(self._places(side * side + 1), make)

    def _places(self, seen: int) -> list[tuple[Place, Place]]:
        """Tokens and channels of both streams at every position."""
        side, visual = self.sizes.spectrogram // 4, Place(seen, self.sizes.visual)
        stages = [Place((side >> stage) ** 2, self.sizes.audio << stage) for stage in range(len(self.sizes.depths))]
        return [(visual, stages[stage]) for stage, count in enumerate(self.sizes.depths) for _ in range(count)]

    def rename(self, classes: Sequence[str]) -> None:
        """Take other names of classes, after which background comes; what is not learnt of them is read now, once."""
        names = [*(name.replace("_", " ") for name in classes), BACKGROUND]
        device = self.heard_names.device
        sentences = [self.words.sentence.replace("{}", name) for name in names]
        self.heard_names = self.audio.read(self.audio.words.tokens(sentences).to(device))
        self.tokens = self.visual.words.tokens([f"{name}." for name in names]).to(device)
        if self.context is None:
            with torch.no_grad():
                self.seen_names = self.visual.read(self.tokens, torch.empty(0, self.sizes.text, device=device))

    def state(self) -> Mapping[str, Tensor]:
        """As of all pairs; the names of classes are no part of it."""
        own = dict(super().state())
        moving = self.trunk_mode == "reference" or "audio" in self.finetuned
        return own | {name: one for name, one in self.state_dict().items() if moving and name.startswith(_NORM)}

    @torch.no_grad()
    def listen(self, waves: Tensor, segments: int) -> Tensor:
        """Waves (B, S) at 32 kHz as log-mel spectrograms (B T, 1, F, M) in dB of their T segments, each repeated T times."""
        with torch.autocast(waves.device.type, enabled=False):
            tiles = min(segments, self.sizes.tiles)
            return self.mel(_hearing.cut(waves, segments).float().repeat(1, tiles))[:, None]

    def example(self, count: int) -> tuple[Tensor, Tensor]:
        """Empty input of `forward`, for so many segments of a second."""
        frames = 100 * self.sizes.tiles + 1
        return torch.zeros(count, 3, self.sizes.px, self.sizes.px), torch.zeros(count, 1, frames, self.sizes.mel_bins)

    def estimate(self, clips: int, segments: int, checkpointing: bool = False) -> Estimate:
        """What a training step on so many clips will need, but for the names, which are few; nothing is allocated."""
        names, self.tokens = self.tokens, None
        try:
            return super().estimate(clips, segments, checkpointing)
        finally:
            self.tokens = names

    def forward(self, frames: Tensor, sound: Tensor) -> Encoded:
        """What `look` and `listen` give of N segments; `named` holds the names' vectors, (K, E) each, and both scales."""
        vision, encoder = self._vision(), self._sound
        seen, heard = vision.pre_layrnorm(vision.embeddings(frames)), self._first_heard(sound)
        position, maps = 0, ()
        for stage in encoder.layers:
            for block in stage.blocks:
                seen, heard, *maps = self.through(partial(self._position, position, block), seen, heard)
                position += 1
            if stage.downsample is not None:
                heard = stage.downsample(heard, (isqrt(heard.shape[1]),) * 2)
        return self._encoded(vision.post_layernorm(seen), encoder.norm(heard), maps)

    def plain(self, frames: Tensor) -> Tensor:
        """Tokens (N, L, C) of frames as `look` gives them, from CLIP alone, without gradients and the class token."""
        with torch.no_grad():
            vision = self._vision()
            hidden = vision.encoder(inputs_embeds=vision.pre_layrnorm(vision.embeddings(frames))).last_hidden_state
            return vision.post_layernorm(hidden)[:, 1:]

    def _vision(self) -> Any:
        return self.visual.model.vision_model

    @property
    def _sound(self) -> Any:
        return self.audio.model.audio_model.audio_encoder

    def _position(self, position: int, block: Any, seen: Tensor, heard: Tensor) -> tuple[Tensor, ...]:
        """One position: both blocks up to CLIP's MLP, modules that read the new states, modules beside the MLP."""
        layer = self._vision().encoder.layers[position]
        seen = seen + _attended(layer.self_attn, layer.layer_norm1(seen))
        heard = self._heard(block, position, heard)
        if not self.maps:
            return seen + layer.mlp(layer.layer_norm2(seen)), heard
        to_seen, to_heard = self.added("p1", position, seen, heard)
        seen, heard = seen + to_seen.residual, heard + to_heard.residual
        to_seen, to_heard = self.added("p2", position, seen, heard, (position,) == self.last_position)
        seen = seen + layer.mlp(layer.layer_norm2(seen)) + to_seen.residual
        return seen, heard + to_heard.residual, *(one.map for one in (to_seen, to_heard) if one.map is not None)

    def _encoded(self, seen: Tensor, heard: Tensor, maps: Sequence[Tensor]) -> Encoded:
        clip, clap = self.visual.model, self.audio.model
        even = [torch.full(one.shape[:2], 1 / one.shape[1], device=one.device) for one in (seen, heard)]
        by_sight, by_sound = maps or even
        by_sight = by_sight[:, 1:] / by_sight[:, 1:].sum(-1, keepdim=True)
        pooled = clip.visual_projection(seen[:, 0]), clap.audio_projection(heard.mean(1))
        tokens = seen[:, 1:]
        scales = {"clip_scale": clip.logit_scale, "clap_scale": clap.logit_scale_a}
        return Encoded(tokens, heard, *pooled, by_sight, by_sound, (tokens,), named={**self._names(), **scales})

    def _names(self) -> dict[str, Tensor]:
        """Vectors of the names (K, E) as CLIP and CLAP read them; none before `rename`."""
        if self.tokens is None:
            return {}
        learnt = self.context is not None
        seen = self.visual.read(self.tokens.to(self.heard_names.device), self.context) if learnt else self.seen_names
        return {"clip_text": seen, "clap_text": self.heard_names}


def _attended(layer: Any, x: Tensor) -> Tensor:
    """CLIP's attention among tokens (N, L, C), in torch's fused form."""
    parts = (layer.q_proj, layer.k_proj, layer.v_proj)
    q, k, v = (part(x).unflatten(-1, (layer.num_heads, -1)).transpose(1, 2) for part in parts)
    found = functional.scaled_dot_product_attention(q, k, v, None, scale=layer.scale)
    return layer.out_proj(found.transpose(1, 2).flatten(2))
