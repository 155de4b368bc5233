"""From parses to scores: the ten F-scores of every parser, each with its interval over clips, and F of every class.

All parsers of a dataset are scored on one set of resampled clips, so gains are paired. What must not be averaged is refused:
other datasets or splits, a seed that is there twice, a parser that changed between its seeds, files that lack a clip.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from earshot import contracts, variant_files
from earshot.contracts import ContractError
from earshot.metrics import parsing_f_score
from earshot.metrics.parsing_f_score import KINDS, LEVELS, METRICS, MODALITIES, SEGMENTS, Bools, Counts, Floats
from earshot.predictions import read_frame
from earshot.seed_scores import Comparison, Variant

_FACTS = ("dataset", "split", "parser", "plugin", "features", "leak", "seed")
_OF_PARSER = ("plugin", "features", "leak")  # the same with all seeds


class Scores(NamedTuple):
    """Rows of PARSING_METRICS and of PARSING_CLASS_METRICS, and remarks: clips that were left out for what they hold."""

    metrics: list[dict[str, Any]]
    classes: list[dict[str, Any]]
    remarks: list[str]


class Paths(NamedTuple):
    """The files of one dataset: its parses, and its tables."""

    parses: list[str | Path]
    clips: str | Path
    events: str | Path
    classes: str | Path


def of_datasets(
    datasets: Sequence[str],
    parses: Sequence[str | Path],
    clips: Sequence[str | Path],
    events: Sequence[str | Path],
    classes: Sequence[str | Path],
) -> list[Paths]:
    """The files of each dataset: tables in the order of `datasets`, parses by the dataset that they tell.

    Raises ContractError for parses of another dataset.
    """
    tables = zip(datasets, clips, events, classes, strict=True)
    found = {name: Paths([], *files) for name, *files in tables}
    for path in parses:
        name = _facts_of(path)["dataset"]
        if name not in found:
            raise ContractError(f"{path}: parses of dataset '{name}', which is none of {', '.join(datasets)}")
        found[name].parses.append(path)
    return list(found.values())


def score_all(datasets: Sequence[Paths], split: str, reference: str = "") -> Scores:
    """The rows of `score` for the same split of several datasets, one dataset after the other."""
    parts = [score(*files, split, reference) for files in datasets]
    return Scores(*([row for rows in kind for row in rows] for kind in zip(*parts, strict=True)))


def score(
    parses: Sequence[str | Path], clips: str | Path, events: str | Path, classes: str | Path, split: str, reference: str = ""
) -> Scores:
    """Rows for the parses of one split of a dataset, one file a parser and seed; parsers in the order of their files.

    Per parser and seed, in percent: the ten scores of `parsing_f_score.summary`, over the clips that could be parsed. Over all
    seeds, as seed -1: their means, and against a parser `reference` the gains `<metric>_gain_over_<reference>` in points and
    the p `<metric>_p_against_<reference>` of a paired sign-flip test, not corrected for their number; both of the mean over
    seeds of each clip's score, on clips that both parsers could parse. `n` counts distinct clips scored, `n_missing` distinct
    clips that could not be scored in at least one of the rows' files.

    F of a class is that of counts summed over clips and seeds. Raises ContractError for files that cannot be scored or do not
    belong together, ValueError if `reference` is none of the parsers.
    """
    judged = _read_split(clips, events, classes, split)
    facts = [_facts_of(path) for path in parses]
    variant_files.refuse_mixtures(parses, facts, split, "parser", "parses", _OF_PARSER)
    runs = [_read_run(path, told, judged) for path, told in zip(parses, facts, strict=True)]
    of_parser = {name: [run for run in runs if run.facts["parser"] == name] for name in _names(runs)}
    parsers = {name: _variant(own) for name, own in of_parser.items()}
    if reference and reference not in parsers:
        raise ValueError(f"reference '{reference}' is none of the parsers that were scored: {', '.join(parsers)}")
    if reference and parsers[reference].columns["leak"]:
        raise ValueError(f"reference '{reference}' was shown labels of the clips: gains over it would mean nothing")
    rows = list(Comparison(METRICS, parsers).rows(reference))
    by_class = [row for own in of_parser.values() for row in _class_rows(own, judged)]
    return Scores(rows, by_class, [run.remark for run in runs if run.remark])


def _names(runs: Sequence["_Run"]) -> list[str]:
    return list(dict.fromkeys(run.facts["parser"] for run in runs))


# --- what is read -----------------------------------------------------------------------------------------------------


class _Split(NamedTuple):
    """The clips of a split, what is true in them (N, 2, C, T), and the names of classes by class_id."""

    clips: list[str]
    truth: Bools
    names: dict[int, str]


def _read_split(clips: str | Path, events: str | Path, classes: str | Path, split: str) -> _Split:
    """Raises ContractError for a split without clips or without times: saying nothing would be worth everything."""
    names = {row["class_id"]: row["name"] for row in contracts.read(classes, contracts.CLASSES)}
    rows: dict[str, list[tuple[int, float, float, str]]] = {
        row["clip_id"]: [] for row in contracts.read_clips(clips) if row["split"] == split
    }
    if not rows:
        raise ContractError(f"{clips}: no clip of the split '{split}'")
    for event in contracts.read(events, contracts.EVENTS):
        if event["clip_id"] in rows:
            rows[event["clip_id"]].append((event["class_id"], event["onset"], event["offset"], event["modality"]))
    truth = parsing_f_score.targets(len(names), list(rows.values()))
    if not truth.any():
        raise ContractError(f"{events}: no clip of the split '{split}' has an event with times, so nothing can be scored")
    return _Split(list(rows), truth, names)


@dataclass(frozen=True)
class _Run:
    """One file: a parser with a seed. Scores (N,) in [0, 1] by metric are NaN for clips that were not scored."""

    facts: Mapping[str, Any]
    scored: Bools
    values: Mapping[str, Floats]
    counts: Mapping[str, Counts]  # by level, summed over clips
    summary: Mapping[str, float]
    remark: str


def _facts_of(path: str | Path) -> dict[str, Any]:
    return variant_files.told_facts(path, _FACTS)


def _read_run(path: str | Path, facts: Mapping[str, Any], judged: _Split) -> _Run:
    rows = read_frame(path, ["clip_id", "available"], contracts.PARSES)
    places = variant_files.places(path, rows["clip_id"], judged.clips)
    available = rows["available"].to_numpy(dtype=bool)
    n_classes = len(judged.names)
    video = variant_files.read_lists(path, "video_prob", rows["clip_id"], available, (n_classes,))
    segments = variant_files.read_lists(
        path, "segment_prob", rows["clip_id"], available, (SEGMENTS, len(MODALITIES), n_classes)
    )
    finite = np.isfinite(video).all(axis=1) & np.isfinite(segments).all(axis=(1, 2, 3))
    lost = rows["clip_id"][available & ~finite].tolist()
    remark = f"{facts['parser']}, seed {facts['seed']}: not scored, for scores that are not finite: {', '.join(lost)}"
    scored = (available & finite)[places]
    decided = parsing_f_score.decisions(video[places][scored], segments[places][scored])
    return _scored(facts, scored, decided, judged.truth[scored], remark if lost else "")


def _scored(facts: Mapping[str, Any], scored: Bools, decided: Bools, truth: Bools, remark: str) -> _Run:
    videos = parsing_f_score.per_video(decided, truth)
    for level in LEVELS:
        a, v, av = (videos[f"f_score_{level}_{kind}"] for kind in KINDS)
        videos[f"f_score_{level}_TypeAV"] = (av + a + v) / 3
    values = {metric: np.full(len(scored), np.nan) for metric in METRICS}
    for metric in METRICS:
        values[metric][scored] = videos[metric]
    summary = parsing_f_score.summary(videos) if scored.any() else dict.fromkeys(METRICS, np.nan)
    counts = {level: part.summed() for level, part in parsing_f_score.counts(decided, truth).items()}
    return _Run(facts, scored, values, counts, summary, remark)


# --- what is made of it -----------------------------------------------------------------------------------------------


def _variant(runs: Sequence[_Run]) -> Variant:
    """A parser with all its seeds, in their order."""
    runs = sorted(runs, key=lambda run: run.facts["seed"])
    facts = runs[0].facts
    columns = {name: facts[name] for name in ("dataset", "parser", "features")} | {"leak": bool(facts["leak"])}
    values = np.array([[run.values[metric] for metric in METRICS] for run in runs])
    summaries = np.array([[run.summary[metric] for metric in METRICS] for run in runs])
    return Variant(columns, [run.facts["seed"] for run in runs], values, summaries)


def _class_rows(runs: Sequence[_Run], judged: _Split) -> Iterator[dict[str, Any]]:
    """Rows of PARSING_CLASS_METRICS: counts of all seeds together; `n` from what is true in the whole split."""
    true = parsing_f_score.counts(judged.truth, judged.truth)
    whose = {name: runs[0].facts[name] for name in ("dataset", "parser")}
    for level, name in LEVELS.items():
        found = Counts(*(np.sum(parts, axis=0) for parts in zip(*(run.counts[level] for run in runs), strict=True)))
        f, n = 100 * parsing_f_score.f_scores(found), true[level].summed().tp
        for kind, row in enumerate(KINDS):
            for place, (class_id, label) in enumerate(judged.names.items()):
                numbers = {"f_score": float(f[kind, place]), "n": int(n[kind, place])}
                yield {**whose, "class_id": class_id, "name": label, "level": name, "kind": row, **numbers}
