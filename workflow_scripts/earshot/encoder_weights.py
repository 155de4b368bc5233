"""Weights of frozen encoders on disk: both of a pair in one file, and where they come from."""

from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from earshot import weights
from earshot.importing import checkpoint_facts, read_published
from earshot.prompters import _clip_clap, _trunks
from earshot.prompters._trunks import Encoders
from earshot.randomness import seed_of

CLIP_CLAP = "clip_clap"  # the kind of pair that reads names of classes as well
_SIDES = ("visual", "audio")


def fresh(kind: str, size: str, seed: int) -> Encoders:
    """A pair of encoders with initial weights that depend on the seed."""
    torch.manual_seed(seed_of("encoders", seed) % 2**63)
    return _built(kind, size)


def _built(kind: str, size: str) -> Encoders:
    return _clip_clap.build(size) if kind == CLIP_CLAP else _trunks.build_encoders(kind, size)


def write(out: str, encoders: Encoders, facts: Mapping[str, Any]) -> None:
    """Write both encoders of a pair; what only one kind of pair has is left out where it is none."""
    state = {f"{side}.{name}": tensor for side, one in _parts(encoders).items() for name, tensor in one.state_dict().items()}
    weights.save(out, state, facts)


def load(path: str, kind: str, size: str) -> tuple[Encoders, dict[str, Any]]:
    """A pair of encoders of that kind, and what is told of them; a pair of which one is not needed may be read as well."""
    encoders, state = _built(kind, size), load_file(path)
    for side, one in _parts(encoders).items():
        one.load_state_dict(
            {name.removeprefix(f"{side}."): value for name, value in state.items() if name.startswith(f"{side}.")}
        )
    return encoders, weights.facts_of(path)


def initialise_encoders(job: Mapping[str, Any], out: str) -> None:
    """Write encoders that were never trained."""
    encoders = fresh(job["kind"], job["size"], job["seed"])
    write(out, encoders, {"origin": "random", "kind": job["kind"], "size": job["size"], "seed": job["seed"]})


def import_encoders(manifests: Mapping[str, str], job: Mapping[str, Any], out: str) -> None:
    """Write published encoders; raises WeightsError if a file is not of the encoder that it is named for."""
    encoders = fresh(job["kind"], job["size"], job["seed"])
    facts: dict[str, Any] = {"origin": "imported", "kind": job["kind"], "size": job["size"]}
    for side in _parts(encoders):
        about, published = read_published(manifests[side])
        if job["kind"] != CLIP_CLAP:
            _trunks.import_encoder(encoders, side, published)
        elif side == "visual":
            _clip_clap.import_clip(published, about["folder"], encoders.visual)  # type: ignore[arg-type]
        else:
            _clip_clap.import_clap(published, about["folder"], encoders.audio)  # type: ignore[arg-type]
        facts[side] = checkpoint_facts(about)
    write(out, encoders, facts)


def _parts(encoders: Encoders) -> dict[str, nn.Module]:
    """The encoders of a pair by side; pairs that share one have it once."""
    return {side: one for side in _SIDES if (one := getattr(encoders, side)) is not None}
