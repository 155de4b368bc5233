"""From what prompted encoders say to scores: the metrics of a task for every prompter, each with its interval over clips.

All prompters of a dataset are scored on one set of resampled clips, so gains are paired. What must not be averaged is refused:
other datasets, splits or tasks, a seed that is there twice, a prompter that changed between its seeds, files that lack an item.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earshot import contracts, variant_files
from earshot.contracts import ContractError
from earshot.predictions import read_frame
from earshot.seed_scores import Bools, Comparison, Floats, Variant, percent

_FACTS = ("dataset", "split", "task", "prompter", "plugin", "encoders", "seed", "scores_shape")
_OF_PROMPTER = ("plugin", "task", "encoders")  # the same with all seeds
_SLACK = 1e-6  # of sums in another order


class Scores(NamedTuple):
    """Rows of PROMPT_METRICS, and remarks: items that were left out for what they hold."""

    metrics: list[dict[str, Any]]
    remarks: list[str]


@dataclass(frozen=True)
class Judge:
    """How items are scored: the metrics in the order of a table, and what gives the truth of items and the score of each.

    `truth` takes names of N items and gives labels (N, ...) by name; `per_item` takes scores (N, ...) and those labels, and
    gives a score (N,) in [0, 1] by metric, NaN where a metric does not apply to an item.
    """

    metrics: Sequence[str]
    truth: Callable[[Sequence[str]], Mapping[str, NDArray[Any]]]
    per_item: Callable[[NDArray[np.float32], Mapping[str, NDArray[Any]]], Mapping[str, Floats]]


def of_datasets(datasets: Sequence[str], prompted: Sequence[str]) -> dict[str, list[str]]:
    """The files of PROMPTED of each dataset, by what they tell; raises ContractError for those of another dataset."""
    found: dict[str, list[str]] = {name: [] for name in datasets}
    for path in prompted:
        name = variant_files.told_facts(path, _FACTS)["dataset"]
        if name not in found:
            raise ContractError(f"{path}: predictions of dataset '{name}', which is none of {', '.join(datasets)}")
        found[name].append(path)
    return found


def items_of(split: str, clips: str | Path, questions: str | Path = "") -> pd.DataFrame:
    """What is scored in a split: columns `item` and `clip_id`, the clips or, where a file of them is given, the questions.

    Raises ContractError for a split without any.
    """
    if questions:
        rows = [(row["question_id"], row["clip_id"], row["split"]) for row in contracts.read(questions, contracts.QUESTIONS)]
    else:
        rows = [(row["clip_id"], row["clip_id"], row["split"]) for row in contracts.read_clips(clips)]
    own = [row[:2] for row in rows if row[2] == split]
    if not own:
        raise ContractError(f"{questions or clips}: no {'question' if questions else 'clip'} of the split '{split}'")
    return pd.DataFrame(own, columns=["item", "clip_id"])


def score(prompted: Sequence[str], items: pd.DataFrame, split: str, judge: Judge, reference: str = "") -> Scores:
    """Rows for what prompters say of one split of a dataset, one file a prompter and seed, in the order of their files.

    Per prompter and seed, in percent: the mean of each metric over the items that it is meant for and that could be scored.
    Over all seeds, as seed -1: the means of these, and against a prompter `reference` the gains
    `<metric>_gain_over_<reference>` in points and the p `<metric>_p_against_<reference>` of a paired sign-flip test over clips,
    not corrected for their number; both of the mean over seeds of each item's score, on items that both could score. `n` counts
    distinct items scored, and `n_missing` distinct ones that could not be scored in at least one of the rows' files.

    Raises ContractError for files that cannot be scored or do not belong together, ValueError if `reference` is none of the
    prompters or the judge gives no scores in [0, 1].
    """
    facts = [variant_files.told_facts(path, _FACTS) for path in prompted]
    variant_files.refuse_mixtures(prompted, facts, split, "prompter", "predictions", _OF_PROMPTER)
    _refuse_other_tasks(prompted, facts)
    truth = _truth(judge, items["item"].tolist())
    runs = [_read_run(path, told, items, judge, truth) for path, told in zip(prompted, facts, strict=True)]
    names = dict.fromkeys(told["prompter"] for told in facts)
    prompters = {name: _variant([run for run in runs if run.facts["prompter"] == name]) for name in names}
    if reference and reference not in prompters:
        raise ValueError(f"reference '{reference}' is none of the prompters that were scored: {', '.join(prompters)}")
    clips, _ = pd.factorize(items["clip_id"])
    rows = Comparison(judge.metrics, prompters, _applies(runs), clips).rows(reference)
    return Scores(list(rows), [run.remark for run in runs if run.remark])


def _refuse_other_tasks(paths: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> None:
    for path, told in zip(paths, facts, strict=True):
        if told["task"] != facts[0]["task"]:
            raise ContractError(f"{path}: predictions of task '{told['task']}' beside those of task '{facts[0]['task']}'")


def _truth(judge: Judge, items: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    truth = judge.truth(items)
    if wrong := [name for name, values in truth.items() if len(values) != len(items)]:
        raise ValueError(f"labels '{wrong[0]}' are of {len(truth[wrong[0]])} items, not of {len(items)}")
    return truth


class _Run(NamedTuple):
    """One file: scores (M, N) in [0, 1], NaN where an item was not scored (N,) or a metric does not apply to it.

    `meant` (M, N) are the metrics that apply to an item as far as its truth alone tells; where it tells nothing, all are.
    """

    facts: Mapping[str, Any]
    scored: Bools
    values: Floats
    meant: Bools
    remark: str


def _applies(runs: Sequence[_Run]) -> Bools:
    """Which metrics are meant for which items (M, N): as the scores of an item tell or, where there are none, its truth."""
    known: Bools = np.logical_or.reduce([~np.isnan(run.values) for run in runs])
    return np.where(np.logical_or.reduce([run.scored for run in runs]), known, runs[0].meant)


def _read_run(
    path: str, facts: Mapping[str, Any], items: pd.DataFrame, judge: Judge, truth: Mapping[str, NDArray[Any]]
) -> _Run:
    rows = read_frame(path, ["item", "available"], contracts.PROMPTED)
    places = variant_files.places(path, rows["item"], items["item"].tolist(), "item")
    available = rows["available"].to_numpy(dtype=bool)
    scores = variant_files.read_lists(path, "scores", rows["item"], available, tuple(facts["scores_shape"]), "item")
    finite = np.isfinite(scores.reshape(len(scores), -1)).all(axis=1)
    lost = rows["item"][available & ~finite].tolist()
    remark = f"{facts['prompter']}, seed {facts['seed']}: not scored, for scores that are not finite: {', '.join(lost)}"
    scored = (available & finite)[places]
    # items without scores are judged as well, by zeros, for what their truth tells: which metrics are meant for them
    filled = np.where(scored.reshape(-1, *(1,) * (scores.ndim - 1)), scores[places], 0).astype(np.float32)
    values = _judged(judge, filled, truth)
    finite = ~np.isnan(values)
    return _Run(facts, scored, np.where(scored, values, np.nan), finite | ~finite.any(axis=0), remark if lost else "")


def _judged(judge: Judge, scores: NDArray[np.float32], truth: Mapping[str, NDArray[Any]]) -> Floats:
    """Scores of items by metric (M, N); raises ValueError for another shape and for what is not in [0, 1]."""
    found = judge.per_item(scores, truth)
    if lacking := [metric for metric in judge.metrics if metric not in found]:
        raise ValueError(f"the task gives no score of items for its metric{'s' * (len(lacking) > 1)} {', '.join(lacking)}")
    values = np.array([np.asarray(found[metric], np.float64) for metric in judge.metrics])
    if values.shape != (len(judge.metrics), len(scores)):
        raise ValueError(f"the task scores {len(scores)} items as {values.shape[1:]}, not one by one")
    outside = (values < -_SLACK) | (values > 1 + _SLACK)
    if outside.any():
        metric, item = np.argwhere(outside)[0]
        raise ValueError(f"the task's {judge.metrics[metric]} of item {item} is {values[metric, item]:g}, not in [0, 1]")
    return np.clip(values, 0, 1)


def _variant(runs: Sequence[_Run]) -> Variant:
    """A prompter with all its seeds, in their order."""
    runs = sorted(runs, key=lambda run: run.facts["seed"])
    columns = {name: runs[0].facts[name] for name in ("dataset", "task", "prompter", "encoders")}
    values = np.array([run.values for run in runs])
    return Variant(columns, [run.facts["seed"] for run in runs], values, percent(values))
