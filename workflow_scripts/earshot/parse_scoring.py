"""From parses to scores: the ten F-scores of every parser, each with its interval over clips, and F of every class.

All parsers of a dataset are scored on one set of resampled clips, so gains are paired. What must not be averaged is refused:
other datasets or splits, a seed that is there twice, a parser that changed between its seeds, files that lack a clip.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from earshot import contracts
from earshot.contracts import ContractError
from earshot.metrics import parsing_f_score
from earshot.metrics.parsing_f_score import KINDS, LEVELS, METRICS, MODALITIES, SEGMENTS, Bools, Counts, Floats
from earshot.metrics.significance import Bootstrap, bounds, means, sign_flip
from earshot.predictions import read_frame

ALL_SEEDS = -1
NOTHING_SCORED = "no clip could be scored"
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
    _refuse_mixtures(parses, facts, split)
    runs = [_read_run(path, told, judged) for path, told in zip(parses, facts, strict=True)]
    parsers = {name: _Parser([run for run in runs if run.facts["parser"] == name]) for name in _names(runs)}
    if reference and reference not in parsers:
        raise ValueError(f"reference '{reference}' is none of the parsers that were scored: {', '.join(parsers)}")
    if reference and parsers[reference].shown["leak"]:
        raise ValueError(f"reference '{reference}' was shown labels of the clips: gains over it would mean nothing")
    ever = np.any([run.scored for run in runs], axis=0)  # clips that nobody could parse carry no information
    bootstrap = Bootstrap(int(ever.sum()))
    rows = [row for parser in parsers.values() for row in _score_rows(parser, bootstrap, ever)]
    if reference:
        rows += _gain_rows(parsers, reference, bootstrap, ever)
    order = list(parsers)
    rows.sort(key=lambda row: order.index(row["parser"]))
    by_class = [row for parser in parsers.values() for row in _class_rows(parser, judged)]
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
    facts = contracts.facts_of(path)
    if absent := [fact for fact in _FACTS if fact not in facts]:
        raise ContractError(f"{path}: does not tell its {', '.join(absent)}; delete it and run the workflow again")
    return facts


def _read_run(path: str | Path, facts: Mapping[str, Any], judged: _Split) -> _Run:
    rows = read_frame(path, ["clip_id", "available"], contracts.PARSES)
    places = _places(path, rows["clip_id"], judged.clips)
    available = rows["available"].to_numpy(dtype=bool)
    n_classes = len(judged.names)
    video = _probabilities(path, "video_prob", rows, (n_classes,))
    segments = _probabilities(path, "segment_prob", rows, (SEGMENTS, len(MODALITIES), n_classes))
    finite = np.isfinite(video).all(axis=1) & np.isfinite(segments).all(axis=(1, 2, 3))
    lost = rows["clip_id"][available & ~finite].tolist()
    remark = f"{facts['parser']}, seed {facts['seed']}: not scored, for scores that are not finite: {', '.join(lost)}"
    scored = (available & finite)[places]
    decided = parsing_f_score.decisions(video[places][scored], segments[places][scored])
    return _scored(facts, scored, decided, judged.truth[scored], remark if lost else "")


def _places(path: str | Path, found: pd.Series, wanted: Sequence[str]) -> NDArray[np.intp]:
    """The row of each clip of the split; raises ContractError unless each has exactly one, and no other clip has any."""
    if found.duplicated().any():
        raise ContractError(f"{path}: clip '{found[found.duplicated()].iloc[0]}' is there twice")
    for what, odd in (("lacks", set(wanted) - set(found)), ("has, beyond the split,", set(found) - set(wanted))):
        if odd:
            raise ContractError(f"{path}: {what} {len(odd)} clips, such as '{min(odd)}'; delete it and run the workflow again")
    return pd.Index(found).get_indexer(pd.Index(wanted))


def _probabilities(path: str | Path, column: str, rows: pd.DataFrame, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A column of lists as (rows, *shape), NaN where a clip is unavailable; raises ContractError for lists of other lengths."""
    lists = pq.read_table(path, columns=[column])[column].combine_chunks()
    lengths = pa.compute.list_value_length(lists).to_numpy()
    available = rows["available"].to_numpy(dtype=bool)
    wrong = lengths != np.where(available, np.prod(shape), 0)
    if wrong.any():
        first = int(wrong.argmax())
        raise ContractError(
            f"{path}: {column} of clip '{rows['clip_id'][first]}' has {lengths[first]} numbers, "
            f"not {np.prod(shape) if available[first] else 'none, as of a clip that is unavailable'}"
        )
    values = np.full((len(rows), *shape), np.nan, dtype=np.float32)
    values[available] = lists.flatten().to_numpy().reshape(-1, *shape)
    return values


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


def _refuse_mixtures(parses: Sequence[str | Path], facts: Sequence[Mapping[str, Any]], split: str) -> None:
    """Raise ContractError if the files do not belong into one table."""
    if not parses:
        raise ContractError("there are no parses to score")
    paths: dict[tuple[str, int], str | Path] = {}
    first: dict[str, tuple[str | Path, Mapping[str, Any]]] = {}
    for path, told in zip(parses, facts, strict=True):
        if told["split"] != split or told["dataset"] != facts[0]["dataset"]:
            raise ContractError(
                f"{path}: parses of {told['dataset']}, split '{told['split']}', cannot be scored as those of "
                f"{facts[0]['dataset']}, split '{split}'"
            )
        run = told["parser"], told["seed"]
        if run in paths:
            raise ContractError(f"{paths[run]} and {path} are both of parser '{run[0]}', seed {run[1]}")
        paths[run] = path
        other, before = first.setdefault(told["parser"], (path, told))
        if odd := [fact for fact in _OF_PARSER if told[fact] != before[fact]]:
            raise ContractError(f"{other} and {path}: parser '{told['parser']}' is told to have another {' and '.join(odd)}")


# --- what is made of it -----------------------------------------------------------------------------------------------


class _Parser:
    """All seeds of a parser, in their order."""

    def __init__(self, runs: Sequence[_Run]) -> None:
        self.runs = sorted(runs, key=lambda run: run.facts["seed"])
        facts = runs[0].facts
        self.whose = {"dataset": facts["dataset"], "parser": facts["parser"]}
        self.shown = {"features": facts["features"], "leak": bool(facts["leak"])}
        self.scored = np.array([run.scored for run in self.runs])  # (S, N)
        self.values = np.array([[run.values[metric] for metric in METRICS] for run in self.runs])  # (S, M, N)

    def clip_means(self) -> Floats:
        """Means over the seeds that could parse a clip (M, N); NaN where none could."""
        sums = np.nan_to_num(self.values).sum(axis=0)
        return np.divide(sums, self.scored.sum(axis=0), out=np.full_like(sums, np.nan), where=self.scored.any(axis=0))

    def row(self, seed: int, scored: Bools, missing: Bools, **values: Any) -> dict[str, Any]:
        """A row of PARSING_METRICS, of clips by mask (N,)."""
        return {**self.whose, **self.shown, "seed": seed, "n": int(scored.sum()), "n_missing": int(missing.sum()), **values}


def _score_rows(parser: _Parser, bootstrap: Bootstrap, ever: Bools) -> Iterator[dict[str, Any]]:
    """Rows of the ten scores, of each seed and over all seeds."""
    pairs = zip(parser.values[..., ever], parser.scored[:, ever], strict=True)
    resampled = np.stack([100 * _means(bootstrap, values, scored) for values, scored in pairs])  # (S, R, M)
    scores = np.array([[run.summary[metric] for metric in METRICS] for run in parser.runs])  # (S, M)
    for run, values, replicates in zip(parser.runs, scores, resampled, strict=True):
        note = "" if run.scored.any() else NOTHING_SCORED
        for told in _told(values, replicates, note):
            yield parser.row(run.facts["seed"], run.scored, ~run.scored, unit="%", **told)
    empty = [str(run.facts["seed"]) for run in parser.runs if not run.scored.any()]
    note = f"{NOTHING_SCORED} with seed {', '.join(empty)}" if empty else ""
    scored, missing = np.logical_or.reduce(parser.scored), np.logical_or.reduce(~parser.scored)
    for told in _told(scores.mean(axis=0), resampled.mean(axis=0), note):
        yield parser.row(ALL_SEEDS, scored, missing, unit="%", **told)


def _means(bootstrap: Bootstrap, values: Floats, scored: Bools) -> Floats:
    """Resampled means (R, M) of values (M, N) over the clips (N,) that were scored."""
    return bootstrap.ratios(np.where(scored, values, 0), scored[None].astype(np.float64))


def _told(values: Floats, resampled: Floats, note: str) -> Iterator[dict[str, Any]]:
    """Values (M,) by metric with the bounds of their replicates (R, M)."""
    low, high = bounds(values, resampled)
    for place, metric in enumerate(METRICS):
        numbers = {"value": float(values[place]), "low": float(low[place]), "high": float(high[place])}
        yield {"metric": metric, **numbers, "note": note}


def _gain_rows(parsers: Mapping[str, _Parser], reference: str, bootstrap: Bootstrap, ever: Bools) -> Iterator[dict[str, Any]]:
    """Rows of the gains of every other parser over the reference, and of their p."""
    base = parsers[reference].clip_means()
    for parser in (parser for name, parser in parsers.items() if name != reference):
        differences = parser.clip_means() - base
        both = ~np.isnan(differences[0])
        zeroed = np.where(both, differences, 0)
        values = means(zeroed, both[None].astype(np.float64))
        p = np.where(both.any(), sign_flip(zeroed[:, both]), np.nan)
        note = "" if both.any() else NOTHING_SCORED
        for place, told in enumerate(_told(100 * values, 100 * _means(bootstrap, zeroed[:, ever], both[ever]), note)):
            metric = told.pop("metric")
            cut = {name: round(told[name], 9) + 0.0 for name in ("value", "low", "high")}  # sums leave a dust about 0
            yield parser.row(ALL_SEEDS, both, ~both, metric=f"{metric}_gain_over_{reference}", unit="points", **{**told, **cut})
            nothing = {"low": np.nan, "high": np.nan, "note": note}
            name = f"{metric}_p_against_{reference}"
            yield parser.row(ALL_SEEDS, both, ~both, metric=name, unit="p", value=float(p[place]), **nothing)


def _class_rows(parser: _Parser, judged: _Split) -> Iterator[dict[str, Any]]:
    """Rows of PARSING_CLASS_METRICS: counts of all seeds together; `n` from what is true in the whole split."""
    true = parsing_f_score.counts(judged.truth, judged.truth)
    for level, name in LEVELS.items():
        found = Counts(*(np.sum(parts, axis=0) for parts in zip(*(run.counts[level] for run in parser.runs), strict=True)))
        f, n = 100 * parsing_f_score.f_scores(found), true[level].summed().tp
        for kind, row in enumerate(KINDS):
            for place, (class_id, label) in enumerate(judged.names.items()):
                numbers = {"f_score": float(f[kind, place]), "n": int(n[kind, place])}
                yield {**parser.whose, "class_id": class_id, "name": label, "level": name, "kind": row, **numbers}
