"""Training of a source model on the clean training split of a dataset.

A job that is killed goes on from its last finished epoch: all randomness is keyed by (seed, epoch, clip), so the result has
the same bytes as that of an undisturbed run.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from earshot import contracts, plugins, transforms, weights
from earshot.config import overrides
from earshot.errors import MediaError
from earshot.files import atomic_path, fingerprint
from earshot.frames import Frames
from earshot.loading import ClipLoader, FrameCache
from earshot.randomness import numpy_generator, seed_of

Row = dict[str, Any]


class Hyper(BaseModel, extra="forbid"):
    """AdamW with a one-cycle learning rate; cross-entropy with label smoothing; the last epoch's weights are kept."""

    epochs: int = Field(16, ge=1)
    batch: int = Field(16, ge=2)
    lr: float = Field(3e-3, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    flip: bool = Field(True, description="mirror half of the clips")
    evaluate_every: int = Field(
        1, ge=1, description="epochs between looks at the validation split; the last is always looked at"
    )


class _Examples:
    """Training clips with random sampling in time and space, keyed by (seed, epoch, clip)."""

    def __init__(self, loader: ClipLoader, rows: Sequence[Row], seed: int, flip: bool) -> None:
        self.loader, self.rows, self.seed, self.flip = loader, list(rows), seed, flip

    def batches(self, epoch: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches (B, 3, T, H, W) and labels (B,) of one epoch; a last batch of one clip is dropped for BatchNorm's sake."""
        order = numpy_generator("epoch", self.seed, epoch).permutation(len(self.rows))
        for start in range(0, len(order), size):
            rows = [self.rows[i] for i in order[start : start + size]]
            if len(rows) > 1:
                clips = torch.stack([self._clip(row, epoch) for row in rows])
                labels = torch.tensor([row["label"] for row in rows], device=clips.device)
                yield clips, labels

    def _clip(self, row: Row, epoch: int) -> Tensor:
        spec = self.loader.spec
        rng = numpy_generator("train", self.seed, epoch, row["clip_id"])
        tick = row["frames"] / spec.frames
        offsets = np.floor(tick * (np.arange(spec.frames) + rng.random(spec.frames))).astype(int)
        picks = np.clip(offsets, 0, row["frames"] - 1)
        every = range(row["frames"])  # all frames are kept in the cache, because each epoch takes other ones
        frames = self.loader.cache.frames(self.loader.source, row, list(every))[picks]
        crop = transforms.random_crop(frames.shape[2], frames.shape[1], spec.size, rng)
        view = transforms.augmented_view(frames, crop, spec.size)
        view = view.flip(-1) if self.flip and rng.random() < 0.5 else view
        return transforms.normalise(view.to(self.loader.device), spec.mean, spec.std)


def train(
    clips: str, classes: str, root: str, plugin: str, hyper: dict[str, Any], seed: int, runtime: dict[str, Any],
    code: str, weights_out: str, metrics_out: str,
) -> None:  # fmt: skip
    """Train a backbone on a dataset's training split; write its weights, and losses and accuracies by epoch."""
    weights.use_threads(runtime["training_threads"])
    device = weights.pick_device(runtime["device"])
    settings: Any = overrides(Hyper, hyper, "backbones.<name>.train")
    names = [row["name"] for row in contracts.read(classes, contracts.CLASSES)]
    rows = [r for r in contracts.read(clips, contracts.CLIPS) if r["available"] and r["label"] >= 0]
    module = plugins.load("backbones", plugin)
    loader = ClipLoader(module.SPEC, Frames(Path(root)), FrameCache(runtime["frame_cache_mb"]), device, views=1)
    training = _readable(loader, [row for row in rows if row["split"] == "train"])
    if len(training) < 2:
        raise ValueError(
            f"{clips}: {len(training)} readable training clips; at least 2 are needed. Is the split named 'train'?"
        )
    torch.manual_seed(seed_of("initial weights", seed) % 2**63)
    model = module.build(len(names)).to(device, memory_format=torch.channels_last)
    key = fingerprint([code, plugin, settings.model_dump(), seed, [(r["clip_id"], r["sha256"], r["label"]) for r in training]])
    state = _Trainer(
        model, settings, seed, -(-len(training) // settings.batch), Path(weights_out).with_suffix(".resume.pt"), key
    )
    held_out = [row for row in rows if row["split"] == "val"]
    metrics = state.run(_Examples(loader, training, seed, settings.flip), loader, held_out)
    weights.save(
        weights_out, model.state_dict(), {"backbone": plugin, "classes": names, "hyper": settings.model_dump(), "seed": seed}
    )
    contracts.write(
        metrics, contracts.TRAINING, metrics_out, {"backbone": plugin, "hyper": settings.model_dump(), "seed": seed}
    )
    state.forget()


def _readable(loader: ClipLoader, rows: Sequence[Row]) -> list[Row]:
    """The rows whose frames decode; the others are named in the log."""
    kept = []
    for row in rows:
        try:
            loader.cache.frames(loader.source, row, range(row["frames"]))
            kept.append(row)
        except MediaError as error:
            print(f"left out of training: {row['clip_id']}: {error}")
    return kept


class _Trainer:
    """The loop over epochs, and the file from which a killed job goes on."""

    def __init__(self, model: nn.Module, hyper: Any, seed: int, batches: int, resume: Path, key: str) -> None:
        self.model, self.hyper, self.seed, self.resume, self.key = model, hyper, seed, resume, key
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=hyper.lr, weight_decay=hyper.weight_decay)
        self.total = hyper.epochs * batches
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._one_cycle)

    def _one_cycle(self, step: int) -> float:
        """Warm up over a tenth of all steps, then decay along a cosine."""
        warm = max(1, self.total // 10)
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.total - warm)))

    def run(self, examples: _Examples, loader: ClipLoader, held_out: Sequence[Row]) -> list[dict[str, Any]]:
        """Train all remaining epochs; returns the rows of the training table."""
        metrics, first = self._restore()
        for epoch in range(first, self.hyper.epochs):
            metrics.append(_metric(epoch, "train", "loss", self._epoch(examples, epoch), "nats"))
            if held_out and ((epoch + 1) % self.hyper.evaluate_every == 0 or epoch + 1 == self.hyper.epochs):
                metrics.append(_metric(epoch, "val", "top1", accuracy(self.model, loader, held_out), "%"))
            self._save(metrics, epoch + 1)
        return metrics

    def _epoch(self, examples: _Examples, epoch: int) -> float:
        torch.manual_seed(seed_of("dropout", self.seed, epoch) % 2**63)
        self.model.train()
        losses = []
        for clips, labels in examples.batches(epoch, self.hyper.batch):
            logits = self.model(clips)
            loss = nn.functional.cross_entropy(logits, labels, label_smoothing=self.hyper.label_smoothing)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            losses.append(float(loss.detach()))
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}")
        return float(np.mean(losses))

    def _save(self, metrics: list[dict[str, Any]], epoch: int) -> None:
        state = {
            "key": self.key, "epoch": epoch, "metrics": metrics, "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(), "schedule": {"last_epoch": self.schedule.last_epoch},
        }  # fmt: skip
        with atomic_path(self.resume) as temporary:
            torch.save(state, temporary)

    def _restore(self) -> tuple[list[dict[str, Any]], int]:
        if not self.resume.exists():
            return [], 0
        state = torch.load(self.resume, weights_only=True)
        if state["key"] != self.key:
            return [], 0
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = state["schedule"]["last_epoch"]
        print(f"going on after epoch {state['epoch'] - 1}")
        return state["metrics"], state["epoch"]

    def forget(self) -> None:
        """Remove the file for going on, once the results are written."""
        self.resume.unlink(missing_ok=True)


@torch.no_grad()
def accuracy(model: nn.Module, loader: ClipLoader, rows: Sequence[Row]) -> float:
    """Top-1 accuracy in percent on evaluation clips; clips that cannot be read are left out and named in the log."""
    model.eval()
    right = []
    for row in rows:
        try:
            right.append(int(model(loader.evaluation(row)).argmax()) == row["label"])
        except MediaError as error:
            print(f"left out of evaluation: {row['clip_id']}: {error}")
    return 100 * float(np.mean(right)) if right else math.nan


def _metric(epoch: int, split: str, metric: str, value: float, unit: str) -> dict[str, Any]:
    return {"epoch": epoch, "split": split, "metric": metric, "value": value, "unit": unit}
