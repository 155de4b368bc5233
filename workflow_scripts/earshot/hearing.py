"""Scores of what is heard: audio models over the sound of clips, and scores that were made elsewhere.

Every file of scores names its label space by the fingerprint of its label list, so that scores and label maps that do not
belong together are refused; and what turns its logits into probabilities.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from earshot import contracts, label_spaces, media, plugins, weights
from earshot.audio_models import Activation, AudioModel
from earshot.errors import MediaError, SetupError
from earshot.loading import prefetched

_LEFT_OUT = 0.1  # of a window: clips of ten seconds are often a little longer


class _Window(NamedTuple):
    """A piece (N,) of the sound of the clip at `place` in the table, and how much of it is sound, in samples."""

    place: int
    wave: np.ndarray
    length: int


def score(audio: str, weights_path: str, batch: int, device: str, torch_threads: int, loading_threads: int, out: str) -> None:
    """Write the logits of every clip's sound; a clip without sound, or with non-finite scores, is marked as not heard.

    Windows of all clips go through the model `batch` at a time, in the order of the table.
    """
    weights.use_threads(torch_threads)
    device = weights.pick_device(device)
    facts = weights.facts_of(weights_path)
    spec, model = load(weights_path, device)
    rows = contracts.read(audio, contracts.AUDIO)
    if wrong := sorted({row["rate"] for row in rows if row["heard"]} - {spec.rate_hz}):
        raise SetupError(f"{audio}: sound at {wrong[0]} Hz, but {facts['plugin']} listens at {spec.rate_hz} Hz")
    problems = {place: row["problem"] for place, row in enumerate(rows) if not row["heard"]}
    logits: dict[int, list[Tensor]] = {}
    pieces = _all_windows(rows, Path(audio).parent, spec, loading_threads, problems)
    while some := list(islice(pieces, batch)):
        for window, scores in zip(some, listen(model, [w.wave for w in some], [w.length for w in some]), strict=True):
            logits.setdefault(window.place, []).append(scores)
    scored = {place: pooled(torch.stack(parts), spec.activation) for place, parts in logits.items()}
    table = [
        scored_row(row["clip_id"], scored.get(place), problems.get(place, ""), len(facts["labels"]))
        for place, row in enumerate(rows)
    ]
    contracts.write(table, contracts.AUDIO_SCORES, out, score_facts(facts["labels"], spec.activation))


def load(path: str | Path, device: str) -> tuple[AudioModel, nn.Module]:
    """An audio model from weights that the workflow wrote, ready to listen, and what it expects."""
    facts = weights.facts_of(path)
    module = plugins.load("audio_models", facts["plugin"])
    options = module.Options.model_validate(facts["options"])
    model = module.build(len(facts["labels"]), options)
    model.load_state_dict(load_file(path))
    return module.spec(options), model.to(device).eval()


@torch.no_grad()
def listen(model: nn.Module, waves: Sequence[np.ndarray], lengths: Sequence[int]) -> Tensor:
    """Logits (B, A) of windows (N,), of which so many samples each are sound; computed where the model is."""
    where = next(model.parameters()).device
    batch = torch.from_numpy(np.stack(waves)).to(where)
    return model(batch, torch.tensor(lengths, device=where)).float().cpu()


def pooled(logits: Tensor, activation: Activation) -> Tensor:
    """Logits (A,) of the mean over windows (W, A) of probabilities (our spec, `tta.md` section 7.2)."""
    if len(logits) == 1:
        return logits[0]
    if activation == "softmax":
        return logits.double().log_softmax(-1).logsumexp(0).sub(np.log(len(logits))).float()
    heard, unheard = (nn.functional.logsigmoid(sign * logits.double()).logsumexp(0) for sign in (1, -1))
    return (heard - unheard).float()  # the logarithm of odds; the number of windows cancels


def windows(wave: media.Wave, spec: AudioModel) -> list[tuple[np.ndarray, int]]:
    """Cut a wave (N,) into windows and the length of the sound in each, in samples.

    Windows of a long wave are spread evenly over it, so many that at most a tenth of one is left out; a short wave is filled
    as the model expects.
    """
    size = round(spec.rate_hz * spec.window_s)
    if len(wave) < size:
        whole = {"pad": 1, "repeat": size // len(wave), "loop": math.ceil(size / len(wave))}[spec.short]
        filled = np.tile(wave, whole)[:size]
        return [(np.pad(filled, (0, size - len(filled))), len(filled))]
    count = math.ceil(len(wave) / size - _LEFT_OUT)
    starts = np.linspace(0, len(wave) - size, count).astype(int)
    return [(wave[start : start + size], size) for start in starts]


def _all_windows(
    rows: Sequence[Mapping[str, Any]], folder: Path, spec: AudioModel, threads: int, problems: dict[int, str]
) -> Iterator[_Window]:
    """The windows of all clips that can be heard, in order; a file that cannot be read costs only its clip."""
    heard = [(place, folder / row["wave"]) for place, row in enumerate(rows) if row["heard"]]
    waves = prefetched([partial(media.load_wave, path) for _, path in heard], threads)
    for (place, _), wave in zip(heard, waves, strict=True):
        if isinstance(wave, MediaError):
            problems[place] = f"sound {wave}"
        elif not len(wave):
            problems[place] = "sound without samples"
        else:
            for piece, length in windows(wave, spec):
                yield _Window(place, piece, length)


def scored_row(clip_id: str, logits: Tensor | None, problem: str, n_sounds: int) -> dict[str, Any]:
    """A clip's row of the table of scores, from its logits (A,); without any, or with non-finite ones, it is not heard."""
    if logits is not None and not bool(logits.isfinite().all()):
        logits, problem = None, "non-finite scores"
    scores = logits.tolist() if logits is not None else [0.0] * n_sounds
    return {"clip_id": clip_id, "heard": logits is not None, "problem": problem, "scores": scores}


def score_facts(labels: Sequence[str], activation: str, **more: Any) -> dict[str, Any]:
    """What a table of scores says of itself: the sounds in order, their label space, and how probabilities are made."""
    return {"labels": list(labels), "label_space": label_spaces.identity(labels), "activation": activation, **more}
