"""Training of small encoders of frames and of sound on classified clips, for those who have no published ones at hand.

Both learn the class of the clip from each of its segments by itself, without any module between them; afterwards they are
frozen. Only the training split is seen.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earshot import contracts, encoder_weights, feature_store, plugins, prompting_data, weights
from earshot.epochs import Means, metric
from earshot.files import fingerprint, sha256_of_file
from earshot.prompting_config import EncodersTraining
from earshot.prompting_data import Items, Sources
from earshot.randomness import seed_of
from earshot.resuming import Resume

_TASK = {"truth": ("label",), "segments": 0}  # clips with one class each, which is all that is asked for
_SMOOTHING = 0.1
_SAVE_EVERY = 60.0  # s


@dataclass(frozen=True)
class Inputs:
    """What a job is told."""

    sources: Sources
    name: str
    kind: str
    size: str
    seed: int
    runtime: Mapping[str, Any]
    hyper: Mapping[str, Any]
    code: str = ""


def inputs_of(job: Any) -> Inputs:
    """From what a rule gives its script."""
    given = job.input
    sources = Sources(given.clips, given.classes, "", "", {"frames": given.frames, "waves": given.waves})
    return Inputs(sources, **job.params.job, code=job.params.code)


class _Classifiers(nn.Module):
    """Both encoders of a pair, each with a linear layer of classes."""

    def __init__(self, pair: Any, classes: int) -> None:
        super().__init__()
        self.pair = pair
        self.visual, self.audio = (nn.Linear(width, classes) for width in (pair.widths.visual, pair.widths.audio))

    def forward(self, frames: Tensor, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) of what is seen and of what is heard in segments."""
        segments = frames.shape[1]
        found = self.pair(self.pair.look(frames.flatten(0, 1)), self.pair.listen(waves, segments))
        return self.visual(found.visual_pooled), self.audio(found.audio_pooled)


def train(inputs: Inputs, out: str, metrics_out: str) -> None:
    """Train both encoders on the training split; write their weights, and losses and accuracies by epoch.

    A job that is killed goes on after its last epoch, with the same result on a CPU.
    """
    weights.use_threads(inputs.runtime["training_threads"])
    hyper = EncodersTraining.model_validate(inputs.hyper)
    device = weights.pick_device(inputs.runtime["device"])
    weights.round_products(False)
    items = prompting_data.load(inputs.sources, "train", _TASK)
    names = [row["name"] for row in contracts.read(inputs.sources.classes, contracts.CLASSES)]
    encoders = encoder_weights.fresh(inputs.kind, inputs.size, inputs.seed)
    frozen = plugins.load("prompters", "none")
    pair = frozen.build(encoders, frozen.Hyper())
    pair.set_trunk_mode("reference")  # statistics of spectrograms, and what keeps encoders from learning clips by heart
    model = _Classifiers(pair, len(names)).to(device).requires_grad_(True)
    resume = Resume(Path(out).with_suffix(".resume.pt"), _key(inputs, hyper, device))
    metrics = _run(model, items, hyper, inputs.seed, device, resume)
    facts = {"origin": "trained", "kind": inputs.kind, "size": inputs.size, "clips": len(items), "classes": names}
    encoder_weights.write(out, encoders, {**facts, "hyper": hyper.model_dump(mode="json"), "seed": inputs.seed})
    contracts.write(metrics, contracts.TRAINING, metrics_out, facts)
    resume.forget()


def _key(inputs: Inputs, hyper: EncodersTraining, device: str) -> str:
    """Everything that decides the result, so that a state of another training is not taken."""
    arrays = [feature_store.read(path).facts for path in inputs.sources.arrays.values()]
    tables = [sha256_of_file(path) for path in (inputs.sources.clips, inputs.sources.classes)]
    where = [device.split(":")[0], inputs.runtime["training_threads"]]
    return fingerprint([inputs.code, inputs.kind, inputs.size, inputs.seed, hyper.model_dump(), arrays, tables, where])


def _run(
    model: _Classifiers, items: Items, hyper: EncodersTraining, seed: int, device: str, resume: Resume
) -> list[dict[str, Any]]:
    """All epochs, at a rate that rises in a tenth of the steps and falls as a cosine."""
    steps = math.ceil(len(items) / hyper.batch) * hyper.epochs
    optimizer = torch.optim.AdamW(model.parameters(), lr=hyper.lr, weight_decay=hyper.weight_decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, hyper.lr, total_steps=steps, pct_start=0.1, cycle_momentum=False)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "rate": rate}
    state = resume.restore() or {"epoch": 0, "metrics": []}
    for name, part in parts.items() if state["epoch"] else ():
        part.load_state_dict(state[name])
    metrics, saved = state["metrics"], time.monotonic()
    for epoch in range(state["epoch"] + 1, hyper.epochs + 1):
        generator = torch.Generator().manual_seed(seed_of("encoders", seed, epoch) % 2**63)
        torch.manual_seed(seed_of("encoder dropout", seed, epoch) % 2**63)
        model.train()
        means = Means()
        for picks in torch.randperm(len(items), generator=generator).split(hyper.batch):
            means.add(_step(model, items, picks.numpy(), optimizer, generator, device), len(picks))
            rate.step()
        metrics += [metric(epoch, "train", name, value, unit) for name, value, unit in means.all()]
        print(f"epoch {epoch}: " + ", ".join(f"{name} {value:.3f}" for name, value, _ in means.all()))
        if not math.isfinite(means.of("loss")):
            raise ValueError(f"training of encoders diverged in epoch {epoch}; lower `lr`, {hyper.lr:g} there")
        if time.monotonic() - saved >= _SAVE_EVERY:
            resume.save({"epoch": epoch, "metrics": metrics, **{name: part.state_dict() for name, part in parts.items()}})
            saved = time.monotonic()
    return metrics


def _step(
    model: _Classifiers, items: Items, picks: np.ndarray, optimizer: Any, generator: torch.Generator, device: str
) -> dict[str, Tensor]:
    """One step down the sum of both cross-entropies; frames are mirrored at random, a clip's all together."""
    batch = items.batch(picks).to(device)
    mirrored = torch.rand(len(picks), generator=generator).to(device) < 0.5
    frames = torch.where(mirrored[:, None, None, None, None], batch.frames.flip(-2), batch.frames)
    labels = batch.labels["label"].repeat_interleave(frames.shape[1])
    logits = model(frames, batch.waves)
    losses = [F.cross_entropy(part, labels, label_smoothing=_SMOOTHING) for part in logits]
    loss = torch.stack(losses).sum()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    right = [(part.argmax(1) == labels).float().mean() for part in logits]
    told = {"loss": loss, "loss_visual": losses[0], "loss_audio": losses[1], "right_visual": right[0], "right_audio": right[1]}
    return {name: value.detach() for name, value in told.items()}
