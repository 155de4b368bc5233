"""One cell of an experiment: every method variant and seed over the same decoded clips, by way of the part store."""

import json
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from earshot import contracts, label_map, plugins, weights
from earshot.adaptation import Clip, Context, Evidence, prediction_row, run_stream, stream_order
from earshot.config import overrides
from earshot.files import fingerprint, sha256_of_file
from earshot.loading import ClipLoader, FrameCache, Sampling
from earshot.parts import PartStore
from earshot.randomness import seed_of
from earshot.statistics import load_aligned

Row = dict[str, Any]
_TOLD = ("origin", "label_space", "checkpoint", "checkpoint_label_space", "fit")  # of the weights, by results
_PREDICTIONS, _TIMINGS = "predictions", "timings"
_FILES, _OPTIONAL = ("clips", "classes", "weights"), ("statistics", "audio_scores", "label_map")


@dataclass(frozen=True)
class CellInputs:
    """Files and settings of one cell. Paths are given as text; those of statistics, scores and label map may be empty."""

    clips: str
    root: str  # of the clean clips
    classes: str
    weights: str
    statistics: str
    audio_scores: str
    label_map: str
    backbone: dict[str, Any]  # plug-in and options
    dataset: str
    corruption: str
    split: str
    protocol: dict[str, Any]
    runtime: dict[str, Any]
    parts: str
    codes: dict[str, str] = field(default_factory=dict)  # digest of the code of each method plug-in

    @classmethod
    def of(cls, given: Any, codes: dict[str, str], cell: dict[str, Any], runtime: dict[str, Any]) -> "CellInputs":
        """From a job's named input files, of which some may be lacking, and its settings."""
        files: dict[str, Any] = {name: str(getattr(given, name)) for name in _FILES}
        others: dict[str, Any] = {name: str(given.get(name) or "") for name in _OPTIONAL}
        return cls(**files, **others, codes=codes, **{**cell, "runtime": runtime})


class Cell:
    """A cell's clips, model and context, loaded once and used by all of its runs."""

    def __init__(self, inputs: CellInputs) -> None:
        self.inputs = inputs
        weights.use_threads(inputs.runtime["torch_threads"])
        self.device = weights.pick_device(inputs.runtime["device"])
        self.names = [row["name"] for row in contracts.read(inputs.classes, contracts.CLASSES)]
        listed = contracts.read(inputs.clips, contracts.CORRUPTED_CLIPS)
        self.rows = [row for row in listed if row["split"] == inputs.split]
        if not self.rows:
            raise ValueError(f"{inputs.clips}: no clips in split '{inputs.split}'")
        # clips that are corrupted in memory have the checksums of the clean files: how they are corrupted tells them apart
        how = {k: v for k, v in contracts.facts_of(inputs.clips).items() if k not in ("ffmpeg", "contract")}
        self.digest = fingerprint([how, [(r["clip_id"], r["sha256"], r["label"], r["available"]) for r in self.rows]])
        self.cache = FrameCache(inputs.runtime["frame_cache_mb"])
        spec, sampled = weights.spec_of(**inputs.backbone), Sampling.of(inputs.protocol)
        self.loader = ClipLoader.of_corrupted(inputs.clips, inputs.root, spec, self.cache, self.device, sampled)
        self._checksum = cache(sha256_of_file)  # one reading of the weights serves all runs
        self._model: torch.nn.Module | None = None
        self._context: Context | None = None
        self._evidence: dict[str, Evidence] | None = None

    def key(self, plugin: str, hyper: Any, seed: int) -> str:
        """The name of the part that a run makes: all that decides its rows."""
        inputs = self.inputs
        facts = {
            "contract": contracts.VERSION, "code": inputs.codes[plugin], "plugin": plugin, "hyper": hyper.model_dump(),
            "seed": seed, "protocol": inputs.protocol, "dataset": inputs.dataset, "corruption": inputs.corruption,
            "clips": self.digest, "classes": self.names, "weights": self._checksum(inputs.weights),
            "backbone": inputs.backbone,
            "threads": inputs.runtime["torch_threads"], "device": self.device.split(":")[0],
        }  # fmt: skip
        module = plugins.load("methods", plugin)
        if module.NEEDS_STATISTICS:
            if not inputs.statistics:
                raise ValueError(f"method '{plugin}' needs source statistics, and this cell has none")
            facts["statistics"] = self._checksum(inputs.statistics)
        if module.NEEDS_AUDIO and inputs.audio_scores:
            facts["audio"] = [self._checksum(inputs.audio_scores), self._checksum(inputs.label_map)]
        return fingerprint(facts)

    def model(self) -> torch.nn.Module:
        """The source model, loaded when the first part is missing."""
        if self._model is None:
            given = self.inputs.backbone
            self._model = weights.load_backbone(self.inputs.weights, **given, classes=self.names, device=self.device)
        return self._model

    def weights_facts(self) -> dict[str, Any]:
        """What results say of the weights: origin (imported, trained or random), checksum, label space, checkpoint."""
        known = weights.facts_of(self.inputs.weights)
        told: dict[str, Any] = {name: known[name] for name in _TOLD if name in known}
        return {**told, "sha256": self._checksum(self.inputs.weights)}

    def context(self) -> Context:
        """Source statistics and label map on the device."""
        if self._context is None:
            mapped = None
            if self.inputs.label_map:
                mapped, space = label_map.matrix(self.inputs.label_map, len(self.names))
                self._refuse_other_space(space)
                mapped = mapped.to(self.device)
            statistics = load_aligned(self.inputs.statistics, self.device) if self.inputs.statistics else {}
            self._context = Context(statistics, mapped, self.inputs.protocol["name"] == "episodic")
        return self._context

    def _refuse_other_space(self, space: str) -> None:
        scored = contracts.facts_of(self.inputs.audio_scores)["label_space"]
        if scored != space:
            raise ValueError(
                f"{self.inputs.audio_scores} and {self.inputs.label_map} speak of different audio classes ({scored}, {space})"
            )

    def evidence(self, clip_id: str) -> Evidence | None:
        """What was heard in a clip; None if the cell has no audio model."""
        if not self.inputs.audio_scores:
            return None
        if self._evidence is None:
            scores = contracts.read(self.inputs.audio_scores, contracts.AUDIO_SCORES)
            self._evidence = {r["clip_id"]: Evidence(torch.tensor(r["scores"]).to(self.device), r["heard"]) for r in scores}
        return self._evidence.get(clip_id)

    def run(self, variant: str, plugin: str, hyper: Any, seed: int) -> tuple[list[Row], list[Row]]:
        """Rows of predictions and timings of one run, from the part store if they are there."""
        store, key = PartStore(self.inputs.parts), self.key(plugin, hyper, seed)
        predictions = store.get(key, contracts.PREDICTIONS, _PREDICTIONS)
        timings = store.get(key, contracts.TIMINGS, _TIMINGS)
        if predictions is None or timings is None:
            predictions, timings = self._compute(plugin, hyper, seed)
            store.put(key, timings, contracts.TIMINGS, _TIMINGS)
            store.put(key, predictions, contracts.PREDICTIONS, _PREDICTIONS)
        # a part is named by what decides it, and the variant's name does not
        return [{**row, "method": variant} for row in predictions], [{**row, "method": variant} for row in timings]

    def _load(self, row: Row, seed: int) -> Clip:
        # dropout takes no generator of its own, so torch's is set before each clip, keyed as everything else
        torch.manual_seed(seed_of("adapt", seed, row["clip_id"]) % 2**63)
        return self.loader.load(row, seed, self.evidence(row["clip_id"]))

    def _compute(self, plugin: str, hyper: Any, seed: int) -> tuple[list[Row], list[Row]]:
        inputs = self.inputs
        order = stream_order(len(self.rows), inputs.protocol["order"], seed, inputs.dataset, inputs.corruption)
        listed = [(position, self.rows[index]) for position, index in enumerate(order)]
        readable = [(position, row) for position, row in listed if row["available"]]
        loads = [partial(self._load, row, seed) for _, row in readable]
        module = plugins.load("methods", plugin)
        outcomes = run_stream(module, hyper, self.model(), self.context(), loads)
        predictions, timings = [], []
        for (position, row), (outcome, times) in zip(readable, outcomes, strict=True):
            place = {"method": plugin, "seed": seed, "position": position}
            predictions.append({**place, "clip_id": row["clip_id"], "label": row["label"], **prediction_row(outcome)})
            timings.append({**place, **times})
        for position, row in listed:
            if not row["available"]:
                place = {"method": plugin, "seed": seed, "position": position, "clip_id": row["clip_id"], "label": row["label"]}
                predictions.append({**place, **prediction_row(row["problem"])})
        return sorted(predictions, key=lambda row: row["position"]), timings


def adapt_cell(inputs: CellInputs, runs: Sequence[Sequence[Any]], tuned: str, facts: Row, out: str, timing_out: str) -> None:
    """Compute all runs (variant, plugin, hyper, seed) of a cell and write its predictions and timings.

    A run that fails does not keep the others from being computed and stored; the job then fails and names them.
    """
    cell = Cell(inputs)
    chosen = json.loads(Path(tuned).read_text(encoding="utf-8")) if tuned else {}
    predictions, timings, failures, used = [], [], [], []
    for variant, plugin, given, seed in runs:
        try:
            hyper = overrides(plugins.load("methods", plugin).Hyper, {**given, **chosen.get(variant, {})}, f"methods.{variant}")
            made = cell.run(variant, plugin, hyper, seed)
        except Exception as error:
            traceback.print_exc()
            failures.append(f"{variant} (seed {seed}): {type(error).__name__}: {error}")
            continue
        predictions += made[0]
        timings += made[1]
        used.append([variant, plugin, hyper.model_dump(), seed])
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(runs)} runs failed; the others are kept. " + "; ".join(failures))
    known = cell.weights_facts()
    if known["origin"] == "random":  # the name goes into every table, figure and run, and the mark with it
        facts = {**facts, "backbone": f"{facts['backbone']}{contracts.RANDOM_WEIGHTS}"}
    stored = {
        **facts, "runs": used, "clips_digest": cell.digest, "protocol": inputs.protocol, "split": inputs.split, "weights": known
    }  # fmt: skip
    contracts.write(predictions, contracts.PREDICTIONS, out, stored)
    contracts.write(timings, contracts.TIMINGS, timing_out, facts)
