"""Training of audio-visual video parsers on weak labels and pseudo-labels, and what they say of each second.

A job that is killed goes on after its last epoch: all randomness is keyed by (seed, epoch), so the result has the same bytes
as that of an undisturbed run on a CPU. The model is chosen by the validation split, never by the split of the results.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from earshot import contracts, feature_store, parsing_data, plugins, weights
from earshot.config import overrides
from earshot.epochs import Best, Means, metric
from earshot.files import fingerprint, sha256_of_file
from earshot.importing import checkpoint_facts, classes_in, read_published
from earshot.label_spaces import identity
from earshot.metrics import parsing_f_score
from earshot.parsers import Batch, Output, Shape
from earshot.parsers._hybrid import CLASS_LAYERS
from earshot.parsing_data import Sources, Split
from earshot.pseudo_labels import load_vectors
from earshot.randomness import seed_of
from earshot.resuming import Resume

_AT_ONCE = 256  # clips, where nothing is learnt
_SAVE_EVERY = 20.0  # s: what a killed job may lose; epochs of small sets take less than writing their state


class Scores(NamedTuple):
    """What a parser says: scores of whole clips (N, C) and probabilities (N, T, 2, C), float32."""

    video: NDArray[np.float32]
    segments: NDArray[np.float32]


@dataclass(frozen=True)
class Inputs:
    """What a training job is told; `words` are files of class vectors by modality, for parsers that read them."""

    sources: Sources
    plugin: str
    hyper: Mapping[str, Any]
    seed: int
    runtime: Mapping[str, Any]
    words: Mapping[str, str]
    code: str = ""


def inputs_of(job: Any) -> Inputs:
    """From what a rule gives its script: features, tables, pseudo-labels and class vectors by name."""
    given = job.input
    streams = {name: str(given.get(name)) for name in parsing_data.STREAMS if given.get(name)}
    sources = Sources(given.clips, given.classes, given.events, streams, str(given.get("labels") or ""))
    words = {side: str(given.get(f"{side}_vectors") or "") for side in ("audio", "visual")}
    return Inputs(sources, **job.params.job, words={k: v for k, v in words.items() if v}, code=job.params.code)


@dataclass(frozen=True)
class Built:
    """A parser with its plug-in and settings, on its device."""

    module: ModuleType
    hyper: Any
    model: nn.Module
    device: str

    @property
    def looks(self) -> str:
        """Where the pseudo-labels come from that it is shown in evaluation; empty: it looks at none."""
        return str(self.module.shown(self.hyper)) if hasattr(self.module, "shown") else ""

    @property
    def needs_labels(self) -> bool:
        """Whether a clip without pseudo-labels cannot be evaluated."""
        return self.looks in ("ungated", "gated_oracle")

    def autocast(self) -> AbstractContextManager[Any]:
        """Half precision on CUDA, if the settings allow it."""
        kind = self.device.split(":")[0]
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda" and self.hyper.train.amp)

    def forward(self, batch: Batch) -> Output:
        """The model's output, in single precision."""
        with self.autocast():
            found: Output = self.model(batch.to(self.device))
        return Output(
            found.logits.float(), found.video.float(), found.by_modality.float(), found.encoded.float(),
            {name: part.float() for name, part in found.named.items()},
        )  # fmt: skip


def train(inputs: Inputs, best_out: str, last_out: str, metrics_out: str) -> None:
    """Train a parser on the training split; write its best and last weights, and losses and scores by epoch."""
    weights.use_threads(inputs.runtime["training_threads"])
    built = build(inputs)
    training, held = parsing_data.load(inputs.sources, "train"), _held_out(inputs.sources, built)
    _refuse_masked(built, held or training)
    _tell_missing("train", training)
    _tell_missing("val", held)
    resume = Resume(Path(best_out).with_suffix(".resume.pt"), _key(inputs, built))
    trainer = _Trainer(built, training, held, inputs.seed, resume)
    metrics = trainer.run()
    facts = _facts(inputs, built, training)
    weights.save(last_out, built.model.state_dict(), {**facts, "epoch": built.hyper.train.epochs})
    weights.save(best_out, trainer.best.state or built.model.state_dict(), {**facts, "epoch": trainer.best.epoch})
    contracts.write(metrics, contracts.TRAINING, metrics_out, facts)
    resume.forget()


def import_weights(inputs: Inputs, manifest: str, space: str, best_out: str) -> None:
    """Write a parser's weights from a published checkpoint, whose classes are those of the label space `space`.

    Raises WeightsError if they are not of this parser, or nothing says in which order their classes are.
    """
    about, published = read_published(manifest)
    names = [row["name"] for row in contracts.read(inputs.sources.classes, contracts.CLASSES)]
    places, listed = classes_in(space, names, about["origin"])
    built = build(inputs)
    state = {key: _of_classes(key, tensor, places, len(listed)) for key, tensor in published.items()}
    built.model.load_state_dict({**built.model.state_dict(), **built.module.import_weights(state, built.model)})
    facts = {**_facts(inputs, built, None), "checkpoint": checkpoint_facts(about), "epoch": 0}
    weights.save(best_out, built.model.state_dict(), facts)


def _of_classes(key: str, tensor: Tensor, places: list[int], listed: int) -> Tensor:
    """The rows of a layer of classes at these places of the checkpoint's `listed` ones; other tensors as they are."""
    layer = key.removeprefix("module.").rpartition(".")[0]
    return tensor[places] if layer in CLASS_LAYERS and len(tensor) == listed else tensor


def parse(inputs: Inputs, weights_path: str, split: str, out: str, facts: Mapping[str, Any]) -> None:
    """Write what a trained parser says of every clip of a split; clips without features are marked unavailable."""
    weights.use_threads(inputs.runtime["torch_threads"])
    built = build(inputs)
    built.model.load_state_dict(load_file(weights_path))
    _refuse_chosen_by(built, split)
    clips = parsing_data.load(inputs.sources, split, built.needs_labels)
    _tell_missing(split, clips)
    scores = said(built, clips)
    rows = {clip: _row(clip, video, segments) for clip, video, segments in zip(clips.clip_ids, *scores, strict=True)}
    rows |= {clip: _row(clip, problem=problem) for clip, problem in clips.missing.items()}
    listed = [row["clip_id"] for row in contracts.read(inputs.sources.clips, contracts.CLIPS) if row["split"] == split]
    trained = weights.facts_of(weights_path)
    whose = {"plugin": inputs.plugin, "seed": inputs.seed, "split": split, "leak": built.looks == "gated_oracle"}
    about = {"hyper": _knobs(built), "epoch": trained["epoch"], "shown": built.looks}
    seen = {"features": f"{facts.get('features', '')}{_doubt(inputs.sources)}"}
    contracts.write([rows[clip] for clip in listed], contracts.PARSES, out, {**whose, **about, **facts, **seen})


def _doubt(sources: Sources) -> str:
    """What makes results on these features none: that they are made up, or of a model that was never trained."""
    facts = [feature_store.read(path).facts for path in sources.features.values()]
    if any(told.get("origin") == "synthetic" for told in facts):
        return contracts.MADE_UP
    untrained = any(told.get("weights", {}).get("origin") == "random" for told in facts)
    return contracts.UNTRAINED if untrained else ""


def _row(
    clip: str, video: NDArray[np.float32] | None = None, segments: NDArray[np.float32] | None = None, problem: str = ""
) -> dict[str, Any]:
    """A row of PARSES; without scores the clip is unavailable."""
    finite = video is not None and segments is not None and bool(np.isfinite(video).all() and np.isfinite(segments).all())
    if video is None or segments is None or not finite:
        told = problem or "scores that are not finite"
        return {"clip_id": clip, "available": False, "problem": told, "video_prob": [], "segment_prob": []}
    flat = {"video_prob": video.tolist(), "segment_prob": segments.ravel().tolist()}
    return {"clip_id": clip, "available": True, "problem": "", **flat}


def build(inputs: Inputs) -> Built:
    """The parser of a job with initial weights that depend on the seed; raises ConfigError for knobs it does not have."""
    module = plugins.load("parsers", inputs.plugin)
    hyper = overrides(module.Hyper, inputs.hyper, "parsers.<name>.hyper")
    device = weights.pick_device(inputs.runtime["device"])
    shape = _shape(inputs)
    torch.manual_seed(seed_of("parser", inputs.seed) % 2**63)
    return Built(module, hyper, module.build(shape, hyper).to(device), device)


def _shape(inputs: Inputs) -> Shape:
    sizes = {name: feature_store.read(path).array.shape[-1] if path else 0 for name, path in inputs.sources.features.items()}
    texts = {side: load_vectors(path).texts for side, path in inputs.words.items() if path}
    classes = len(contracts.read(inputs.sources.classes, contracts.CLASSES))
    return Shape(sizes["audio"], sizes["visual"], sizes.get("motion", 0), classes, texts)


def _held_out(sources: Sources, built: Built) -> Split | None:
    """The validation split; None where there is none and the settings do not need one."""
    splits = {row["split"] for row in contracts.read(sources.clips, contracts.CLIPS)}
    held = parsing_data.load(sources, "val", built.needs_labels) if "val" in splits else None
    if built.hyper.train.keep == "best" and (held is None or not held.dense):
        lacks = "no validation split" if held is None else "no event in the validation split"
        raise ValueError(
            f"{sources.clips}: `train: {{keep: best}}` chooses by dense truth, and there is {lacks}; set `keep: last`"
        )
    return held if held is not None and held.dense else None


def _refuse_masked(built: Built, clips: Split) -> None:
    """Raise SetupError before anything is trained, if what the parser would look at in evaluation is masked by weak labels."""
    if built.looks == "ungated":
        clips.ungated(np.arange(1))


def _refuse_chosen_by(built: Built, split: str) -> None:
    if split == "val" and built.hyper.train.keep == "best":
        raise ValueError("the epoch was chosen by the validation split: score another one, or set `train: {keep: last}`")


def _tell_missing(split: str, part: Split | None) -> None:
    for clip, problem in (part.missing if part else {}).items():
        print(f"left out of {split}: {clip}: {problem}")


def _key(inputs: Inputs, built: Built) -> str:
    """Everything that decides the result of a training, so that a state of another one is not taken."""
    sources = inputs.sources
    arrays = [feature_store.read(path).facts for path in (*sources.features.values(), sources.labels) if path]
    tables = [sha256_of_file(path) for path in (sources.clips, sources.events, *inputs.words.values())]
    where = [built.device.split(":")[0], inputs.runtime["training_threads"]]
    return fingerprint([inputs.code, inputs.plugin, _knobs(built), inputs.seed, arrays, tables, where])


def _knobs(built: Built) -> dict[str, Any]:
    """All settings, as the config would spell them."""
    knobs: dict[str, Any] = built.hyper.model_dump(mode="json", by_alias=True)
    return knobs


def _facts(inputs: Inputs, built: Built, training: Split | None) -> dict[str, Any]:
    names = [row["name"] for row in contracts.read(inputs.sources.classes, contracts.CLASSES)]
    clips = {"clips": len(training), "missing": len(training.missing)} if training else {}
    whose = {"parser": inputs.plugin, "hyper": _knobs(built), "seed": inputs.seed}
    return {**whose, "classes": names, "label_space": identity(names), **clips}


# --- what a parser says -----------------------------------------------------------------------------------------------


@torch.no_grad()
def said(built: Built, clips: Split) -> Scores:
    """Scores of all clips of a split, in its order."""
    built.model.eval()
    first = "" if built.looks == "predicted" else built.looks
    scores = _pass(built, clips, lambda picks: _shown(clips, picks, first))
    if built.looks != "predicted":
        return scores
    own = parsing_f_score.decisions(*scores).transpose(0, 3, 1, 2).astype(np.float32)  # (N, T, 2, C)
    return _pass(built, clips, lambda picks: torch.from_numpy(own[picks]))


def _shown(clips: Split, picks: NDArray[np.int64], source: str) -> Tensor | None:
    """The pseudo-labels (B, T, 2, C) of that source; None for a parser that looks at none, or has to do without at first."""
    if source == "gated_oracle":
        return clips.gated(picks)
    if source == "ungated":
        return clips.ungated(picks)
    return torch.zeros_like(clips.gated(picks)) if source == "none" else None


def _pass(built: Built, clips: Split, shown: Any) -> Scores:
    video, segments = [], []
    for picks in np.array_split(np.arange(len(clips)), math.ceil(len(clips) / _AT_ONCE)):
        output = built.forward(clips.batch(picks, shown(picks)))
        video.append(output.video.cpu().numpy())
        segments.append(output.logits.sigmoid().cpu().numpy())
    return Scores(np.concatenate(video), np.concatenate(segments))


def scores_of(built: Built, clips: Split) -> dict[str, float]:
    """The ten scores in percent of a split with dense truth; raises ValueError where the parser has diverged."""
    return parsing_f_score.summary(parsing_f_score.per_video(parsing_f_score.decisions(*said(built, clips)), clips.truth))


# --- training ---------------------------------------------------------------------------------------------------------


class _Trainer:
    """The loop over epochs, which are counted from 1."""

    def __init__(self, built: Built, training: Split, held: Split | None, seed: int, resume: Resume) -> None:
        self.built, self.training, self.held, self.seed, self.resume = built, training, held, seed, resume
        self.settings = built.hyper.train
        self.optimizer = built.hyper.optim.build(built.model)
        self.best = Best(self.settings.keep, self.settings.ties, self.settings.epochs)
        self.metrics: list[dict[str, Any]] = []
        self.saved = time.monotonic()

    def run(self) -> list[dict[str, Any]]:
        """Train all remaining epochs; returns the rows of the training table."""
        for epoch in range(self._restore() + 1, self.settings.epochs + 1):
            self._epoch(epoch)
            if self.held is not None:
                found = scores_of(self.built, self.held)
                self.metrics += [metric(epoch, "val", name, value, "%") for name, value in found.items()]
                self.best.look(epoch, found[self.settings.select_by], self.built.model.state_dict())
            if time.monotonic() - self.saved >= _SAVE_EVERY:
                self._save(epoch)
        return self.metrics

    def _epoch(self, epoch: int) -> None:
        """One pass over the training split."""
        rate = self.built.hyper.optim.rate(epoch, self.settings.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(seed_of("dropout", self.seed, epoch) % 2**63)
        self.built.model.train()
        means = Means()
        for batch in self._batches(epoch):
            means.add(self._step(batch), len(batch.weak))
        if not (math.isfinite(means.of("loss")) and self._answers()):
            raise ValueError(f"training diverged in epoch {epoch}: its loss is {means.of('loss')}; lower `lr`, {rate:g} there")
        self.metrics += [metric(epoch, "train", name, value, unit) for name, value, unit in means.all()]
        self.metrics.append(metric(epoch, "train", "lr", rate, ""))
        print(f"epoch {epoch}: loss {means.of('loss'):.4f}")

    @torch.no_grad()
    def _answers(self) -> bool:
        """Whether the parser still says anything of training clips: its last step may have gone astray after a sound loss."""
        picks = np.arange(min(len(self.training), self.settings.batch))
        output = self.built.forward(self.training.batch(picks, self.training.gated(picks) if self.built.looks else None))
        return bool(output.logits.isfinite().all() and output.video.isfinite().all())

    def _batches(self, epoch: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed_of("order", self.seed, epoch) % 2**63)
        for picks in torch.randperm(len(self.training), generator=generator).split(self.settings.batch):
            places = picks.numpy()
            shown = self.training.gated(places) if self.built.looks else None
            yield self.training.batch(places, shown)

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        """One step down the sum of the losses; returns what is followed, still on the device."""
        batch = batch.to(self.built.device)
        found = self.built.module.losses(self.built.forward(batch), batch, self.built.model, self.built.hyper)
        loss = torch.stack(list(found.terms.values())).sum()
        self.optimizer.zero_grad()
        loss.backward()
        largest = self.built.hyper.optim.clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.built.model.parameters(), largest)
        terms = {f"loss_{name}": term.detach() for name, term in found.terms.items()}
        told = {name: value.detach().clone() for name, value in found.told.items()}  # the optimiser changes parameters in place
        self.optimizer.step()
        return {"loss": loss.detach(), **terms, **told, "gradient_norm": norm.detach()}

    def _save(self, epoch: int) -> None:
        state = {"model": self.built.model.state_dict(), "optimizer": self.optimizer.state_dict(), "best": self.best.told()}
        self.resume.save({"epoch": epoch, "metrics": self.metrics, **state})
        self.saved = time.monotonic()

    def _restore(self) -> int:
        """Take up the state of a killed job; returns its last epoch, 0 if there is none."""
        state = self.resume.restore()
        if state is None:
            return 0
        self.built.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best.take(state["best"])
        self.metrics = state["metrics"]
        print(f"going on after epoch {state['epoch']}")
        return int(state["epoch"])
