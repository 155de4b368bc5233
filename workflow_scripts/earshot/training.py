"""Training of a source model on the clean training split of a dataset: all of it, or a linear head on a frozen encoder.

A job that is killed goes on from where it was: all randomness is keyed by (seed, epoch, clip), so the result has the same
bytes as that of an undisturbed run.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from earshot import contracts, importing, weights
from earshot.config import overrides
from earshot.errors import MediaError
from earshot.files import fingerprint
from earshot.frames import Frames
from earshot.label_spaces import identity
from earshot.loading import ClipLoader, FrameCache, prefetched
from earshot.randomness import numpy_generator, seed_of
from earshot.resuming import Resume

Row = dict[str, Any]
_PART = 4096  # views whose features are made between two writes


class Hyper(BaseModel, extra="forbid"):
    """AdamW with a one-cycle learning rate and cross-entropy with label smoothing."""

    epochs: int = Field(16, ge=1)
    batch: int = Field(16, ge=2)
    lr: float = Field(3e-3, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    flip: bool = Field(True, description="mirror half of the clips")
    evaluate_every: int = Field(
        1, ge=1, description="epochs between looks at the validation split; the last is always looked at"
    )
    keep: Literal["last", "best"] = Field("last", description="the weights that are kept; best: on the validation split")
    patience: int = Field(0, ge=0, description="looks without a better one before training stops; 0: never")
    amp: bool = Field(True, description="bfloat16 where it is safe, on CUDA only")
    views: int = Field(4, ge=1, description="`fit: head` only: augmented views of each clip whose features are taken")


class Inputs(NamedTuple):
    """Files and settings of a training job."""

    clips: str
    classes: str
    root: str
    manifest: str  # of the checkpoint to start from; empty: none
    backbone: Mapping[str, Any]  # plug-in and options
    fit: str  # all or head
    hyper: Mapping[str, Any]
    seed: int
    runtime: Mapping[str, Any]
    code: str


class _Examples:
    """Training clips with random sampling in time and space, keyed by (seed, epoch, clip)."""

    def __init__(self, loader: ClipLoader, rows: Sequence[Row], seed: int, flip: bool, threads: int) -> None:
        self.loader, self.rows, self.seed, self.flip, self.threads = loader, list(rows), seed, flip, threads
        self.unreadable: set[str] = set()

    def batches(self, epoch: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches (B, 3, T, H, W) and labels (B,) of one epoch; a last batch of one clip is dropped for BatchNorm's sake."""
        readable = [row for row in self.rows if row["clip_id"] not in self.unreadable]
        rows = [readable[i] for i in numpy_generator("epoch", self.seed, epoch).permutation(len(readable))]
        clips, labels = [], []
        for row, clip in self.views(rows, epoch):
            clips.append(clip)
            labels.append(row["label"])
            if len(clips) == size:
                yield torch.stack(clips), torch.tensor(labels, device=clip.device)
                clips, labels = [], []
        if len(clips) > 1:
            yield torch.stack(clips), torch.tensor(labels, device=clips[0].device)

    def views(self, rows: Sequence[Row], epoch: int) -> Iterator[tuple[Row, Tensor]]:
        """One view (3, T, H, W) of each clip that can be read; the others are named in the log and left out from now on."""
        loads = (partial(self._clip, row, epoch) for row in rows)
        for row, clip in zip(rows, prefetched(loads, self.threads), strict=True):
            if isinstance(clip, MediaError):
                print(f"left out of training: {row['clip_id']}: {clip}")
                self.unreadable.add(row["clip_id"])
            else:
                yield row, clip

    def _clip(self, row: Row, epoch: int) -> Tensor:
        length = self.loader.spec.frames
        rng = numpy_generator("train", self.seed, epoch, row["clip_id"])
        offsets = np.floor(row["frames"] / length * (np.arange(length) + rng.random(length))).astype(int)
        return self.loader.view(row, np.clip(offsets, 0, row["frames"] - 1).tolist(), rng, self.flip)


def train(inputs: Inputs, weights_out: str, metrics_out: str) -> None:
    """Train a backbone on a dataset's training split; write its weights, and losses and accuracies by epoch."""
    runtime, seed = inputs.runtime, inputs.seed
    weights.use_threads(runtime["training_threads"])
    device = weights.pick_device(runtime["device"])
    settings: Any = overrides(Hyper, inputs.hyper, "backbones.<name>.train")
    names = [row["name"] for row in contracts.read(inputs.classes, contracts.CLASSES)]
    rows = [r for r in contracts.read(inputs.clips, contracts.CLIPS) if r["available"] and r["label"] >= 0]
    training, held_out = ([row for row in rows if row["split"] == split] for split in ("train", "val"))
    if len(training) < 2:
        raise ValueError(
            f"{inputs.clips}: {len(training)} readable training clips; at least 2 are needed. Is the split named 'train'?"
        )
    spec = weights.spec_of(**inputs.backbone)
    loader = ClipLoader(spec, Frames(Path(inputs.root)), FrameCache(runtime["frame_cache_mb"]), device)
    examples = _Examples(loader, training, seed, settings.flip, runtime["loading_threads"])
    model = weights.build(**inputs.backbone, n_classes=len(names), seed=seed)
    checkpoint = importing.initial(model, inputs.manifest, **inputs.backbone) if inputs.manifest else {}
    model = weights.placed(model, device)
    listed = [(r["clip_id"], r["sha256"], r["label"]) for r in (*training, *held_out)]
    where = [device.split(":")[0], runtime["training_threads"]]  # both decide the last bits
    how = [inputs.code, dict(inputs.backbone), inputs.fit, settings.model_dump(), seed, listed, names, checkpoint, *where]
    key = fingerprint(how)
    state = Resume(Path(weights_out).with_suffix(".resume.pt"), key)
    if inputs.fit == "head":
        metrics = _HeadTrainer(model, settings, seed, state, held_out).run(examples)
    else:
        metrics = _Trainer(model, settings, seed, state, held_out, len(training)).run(examples)
    facts = {"backbone": inputs.backbone["plugin"], "hyper": settings.model_dump(), "seed": seed, "fit": inputs.fit}
    whose = {"options": dict(inputs.backbone["options"]), "classes": names, "label_space": identity(names)}
    origin = {"origin": "trained", "checkpoint": checkpoint, "clips_digest": fingerprint(listed)}
    weights.save(weights_out, model.state_dict(), {**facts, **whose, **origin})
    contracts.write(metrics, contracts.TRAINING, metrics_out, facts)
    state.forget()


class _Best:
    """The best look at the validation split so far, and whether to go on looking."""

    def __init__(self, model: nn.Module, hyper: Any, held_out: Sequence[Row]) -> None:
        self.model, self.hyper, self.value, self.stale = model, hyper, -math.inf, 0
        self.state: dict[str, Tensor] = {}
        self.needed = hyper.keep == "best" or hyper.patience > 0
        if self.needed and not held_out:
            raise ValueError("`keep: best` and `patience` need a validation split, and the dataset has none: see `val_share`")

    def due(self, epoch: int) -> bool:
        """Whether it is time for a look."""
        return (epoch + 1) % self.hyper.evaluate_every == 0 or epoch + 1 == self.hyper.epochs

    def look(self, value: float) -> None:
        """Note an accuracy; only a better one takes the place of an earlier one."""
        if self.needed and math.isnan(value):
            raise ValueError("no validation clip can be read; the log above says why")
        self.stale += 1
        if value > self.value:
            self.value, self.stale = value, 0
            if self.hyper.keep == "best":
                self.state = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def enough(self) -> bool:
        """Whether `patience` looks in a row were no better."""
        return bool(self.hyper.patience) and self.stale >= self.hyper.patience

    def keep(self) -> None:
        """Give the model the weights of the best look, if they are wanted."""
        if self.state:
            self.model.load_state_dict(self.state)


def _one_cycle(step: int, total: int) -> float:
    """Warm up over a tenth of all steps, then decay along a cosine."""
    warm = max(1, total // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def _optimizer(model: nn.Module, hyper: Any, total: int) -> tuple[Any, Any]:
    """AdamW and its schedule over `total` steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=hyper.lr, weight_decay=hyper.weight_decay)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_one_cycle, total=total))


def _step(loss: Tensor, optimizer: Any, schedule: Any) -> Tensor:
    """One step down the loss, which comes back to be read at the end of an epoch: a device need not wait for each."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    return loss.detach()


def _mean(losses: Sequence[Tensor]) -> float:
    return float(torch.stack(list(losses)).double().mean())


def _autocast(model: nn.Module, wanted: bool) -> AbstractContextManager[Any]:
    kind = next(model.parameters()).device.type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=wanted and kind == "cuda")


class _Trainer:
    """The loop over epochs that trains all parameters."""

    def __init__(self, model: nn.Module, hyper: Any, seed: int, resume: Resume, held_out: Sequence[Row], n_clips: int) -> None:
        self.model, self.hyper, self.seed, self.resume, self.held_out = model, hyper, seed, resume, held_out
        batches = n_clips // hyper.batch + (n_clips % hyper.batch > 1)  # a last one of one clip is dropped
        self.optimizer, self.schedule = _optimizer(model, hyper, hyper.epochs * batches)
        self.best = _Best(model, hyper, held_out)

    def run(self, examples: _Examples) -> list[dict[str, Any]]:
        """Train all remaining epochs; returns the rows of the training table."""
        metrics, first = self._restore(examples)
        for epoch in range(first, self.hyper.epochs):
            if self.best.enough():
                print(f"stopped before epoch {epoch}: {self.best.stale} looks at the validation split were no better")
                break
            metrics.append(_metric(epoch, "train", "loss", self._epoch(examples, epoch), "nats"))
            if self.held_out and self.best.due(epoch):
                with _autocast(self.model, self.hyper.amp):
                    top1 = accuracy(self.model, examples.loader, self.held_out, examples.threads)
                metrics.append(_metric(epoch, "val", "top1", top1, "%"))
                self.best.look(top1)
            self._save(examples, metrics, epoch + 1)
        self.best.keep()
        return metrics

    def _epoch(self, examples: _Examples, epoch: int) -> float:
        torch.manual_seed(seed_of("dropout", self.seed, epoch) % 2**63)
        self.model.train()
        losses = []
        for clips, labels in examples.batches(epoch, self.hyper.batch):
            with _autocast(self.model, self.hyper.amp):
                logits = self.model(clips)
            loss = nn.functional.cross_entropy(logits.float(), labels, label_smoothing=self.hyper.label_smoothing)
            losses.append(_step(loss, self.optimizer, self.schedule))
        if not losses:
            raise ValueError("no training clip can be read; the log above says why")
        mean = _mean(losses)
        print(f"epoch {epoch}: loss {mean:.4f}")
        return mean

    def _save(self, examples: _Examples, metrics: list[dict[str, Any]], epoch: int) -> None:
        best = {"value": self.best.value, "stale": self.best.stale, "state": self.best.state}
        self.resume.save(
            {
                "epoch": epoch, "metrics": metrics, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                "schedule": {"last_epoch": self.schedule.last_epoch}, "best": best, "unreadable": sorted(examples.unreadable),
            }
        )  # fmt: skip

    def _restore(self, examples: _Examples) -> tuple[list[dict[str, Any]], int]:
        state = self.resume.restore()
        if state is None:
            return [], 0
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = state["schedule"]["last_epoch"]
        self.best.value, self.best.stale, self.best.state = (state["best"][name] for name in ("value", "stale", "state"))
        examples.unreadable = set(state["unreadable"])
        print(f"going on after epoch {state['epoch'] - 1}")
        return state["metrics"], state["epoch"]


class _HeadTrainer:
    """A linear head on the features of a frozen encoder, which are computed once: the linear probe."""

    def __init__(self, model: nn.Module, hyper: Any, seed: int, resume: Resume, held_out: Sequence[Row]) -> None:
        self.model, self.hyper, self.seed, self.resume, self.held_out = model.eval(), hyper, seed, resume, held_out
        self.head = model.get_submodule("head")
        self.best = _Best(self.head, hyper, held_out)

    def run(self, examples: _Examples) -> list[dict[str, Any]]:
        """Compute features, then train the head on them; returns the rows of the training table."""
        features, labels = self._features(examples)
        looks = _looked_at(self.held_out, examples.loader, examples.threads)
        held = [(row["label"], self._of(clip)) for row, clip in looks]
        optimizer, schedule = _optimizer(self.head, self.hyper, self.hyper.epochs * -(-len(labels) // self.hyper.batch))
        metrics: list[dict[str, Any]] = []
        for epoch in range(self.hyper.epochs):
            if self.best.enough():
                break
            generator = torch.Generator().manual_seed(seed_of("head", self.seed, epoch) % 2**63)
            losses = []
            for picks in torch.randperm(len(labels), generator=generator).split(self.hyper.batch):
                logits, targets = (part[picks].to(examples.loader.device) for part in (features, labels))
                loss = nn.functional.cross_entropy(self.head(logits), targets, label_smoothing=self.hyper.label_smoothing)
                losses.append(_step(loss, optimizer, schedule))
            metrics.append(_metric(epoch, "train", "loss", _mean(losses), "nats"))
            if self.held_out and self.best.due(epoch):
                metrics.append(_metric(epoch, "val", "top1", self._accuracy(held), "%"))
                self.best.look(metrics[-1]["value"])
        self.best.keep()
        return metrics

    @torch.no_grad()
    def _accuracy(self, held: Sequence[tuple[int, Tensor]]) -> float:
        right = [int(self.head(found).mean(0).argmax()) == label for label, found in held]
        return 100 * float(np.mean(right)) if right else math.nan

    @torch.no_grad()
    def _of(self, clips: Tensor) -> Tensor:
        """Features (V, D) of clips (V, 3, T, H, W)."""
        with _autocast(self.model, self.hyper.amp):
            return self.model.features(clips).float()  # type: ignore[operator]

    def _features(self, examples: _Examples) -> tuple[Tensor, Tensor]:
        """Features (N, D) and labels (N,) of `views` views of each readable training clip; those made before are kept."""
        state = self.resume.restore() or {"features": torch.zeros(0), "labels": torch.zeros(0), "parts": 0, "unreadable": []}
        features, labels = [state["features"]], [state["labels"]]
        examples.unreadable = set(state["unreadable"])
        wanted = [(row, view) for view in range(self.hyper.views) for row in examples.rows]
        for part in range(state["parts"], -(-len(wanted) // _PART)):
            for found, targets in self._batches(examples, wanted[part * _PART : (part + 1) * _PART]):
                features.append(found)
                labels.append(targets)
            features, labels = [torch.cat([f for f in features if len(f)])], [torch.cat([t for t in labels if len(t)]).long()]
            unreadable = sorted(examples.unreadable)
            self.resume.save({"features": features[0], "labels": labels[0], "parts": part + 1, "unreadable": unreadable})
        return features[0], labels[0]

    def _batches(self, examples: _Examples, wanted: Sequence[tuple[Row, int]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (B, D) and labels (B,) of views of clips, on the CPU."""
        for view, group in groupby(wanted, key=itemgetter(1)):
            rows = [row for row, _ in group if row["clip_id"] not in examples.unreadable]
            waiting = examples.views(rows, view)
            while batch := list(islice(waiting, self.hyper.batch)):
                clips = torch.stack([clip for _, clip in batch])
                yield self._of(clips).cpu(), torch.tensor([row["label"] for row, _ in batch])


def _looked_at(rows: Sequence[Row], loader: ClipLoader, threads: int) -> Iterator[tuple[Row, Tensor]]:
    """Evaluation clips of the rows that can be read; the others are named in the log."""
    loads = (partial(loader.evaluation, row) for row in rows)
    for row, clip in zip(rows, prefetched(loads, threads), strict=True):
        if isinstance(clip, MediaError):
            print(f"left out of evaluation: {row['clip_id']}: {clip}")
        else:
            yield row, clip


@torch.no_grad()
def accuracy(model: nn.Module, loader: ClipLoader, rows: Sequence[Row], threads: int = 1) -> float:
    """Top-1 accuracy in percent on evaluation clips; clips that cannot be read are left out and named in the log."""
    model.eval()
    right = [int(model(clip).mean(0).argmax()) == row["label"] for row, clip in _looked_at(rows, loader, threads)]
    return 100 * float(np.mean(right)) if right else math.nan


def _metric(epoch: int, split: str, metric: str, value: float, unit: str) -> dict[str, Any]:
    return {"epoch": epoch, "split": split, "metric": metric, "value": value, "unit": unit}
