"""From predictions of prompted encoders to scores: what the rows say, what is missing, and what is refused."""

import math
from dataclasses import replace

import fake_prompts as fake
import numpy as np
import pandas as pd
import pytest

from earshot import contracts
from earshot.contracts import ContractError
from earshot.data_facts import marked
from earshot.metrics.significance import mean_interval, sign_flip
from earshot.prompt_scoring import Judge, items_of, of_datasets, score
from earshot.seed_scores import NOT_ASKED, NOTHING_SCORED

N = 18
TRUTH = fake.truth_of(N)
METRIC = "segment_accuracy"


def write(folder, name="none", seed=0, gone=(), change=lambda rows: rows, **facts):
    prompter = fake.PROMPTERS[name]
    rows = change(fake.rows_of(fake.scores_of(TRUTH, prompter.skill, seed), gone))
    path = folder / f"{len(list(folder.iterdir()))}.parquet"
    contracts.write(rows, contracts.PROMPTED, path, fake.facts(name, prompter, seed, **facts))
    return str(path)


@pytest.fixture
def make(tmp_path):
    return lambda *args, **more: write(tmp_path, *args, **more)


def scored(paths, reference="", items=None, judge=None):
    return score(paths, fake.items_of(N) if items is None else items, "test", judge or fake.judge_of(TRUTH), reference)


def row(scores, prompter, metric=METRIC, seed=-1):
    (found,) = [r for r in scores.metrics if (r["prompter"], r["metric"], r["seed"]) == (prompter, metric, seed)]
    return found


def right(name, seed):
    return fake.right(fake.scores_of(TRUTH, fake.PROMPTERS[name].skill, seed), TRUTH)


def test_rows_are_means_over_items_then_over_seeds(make):
    scores = scored([make("none", 0), make("none", 3), make("dgsct", 0), make("dgsct", 3)], "none")
    contracts.to_table(marked(scores.metrics, {}), contracts.PROMPT_METRICS)
    for seed in (0, 3):
        assert row(scores, "dgsct", seed=seed)["value"] == pytest.approx(100 * right("dgsct", seed).mean())
    both = np.concatenate([100 * right("dgsct", seed) for seed in (0, 3)])
    found = row(scores, "dgsct")
    expected = mean_interval(both, np.tile(np.arange(N), 2))
    assert (found["value"], found["low"], found["high"]) == pytest.approx(tuple(expected))
    assert (found["n"], found["n_missing"], found["unit"], found["note"]) == (N, 0, "%", "")
    assert (found["task"], found["encoders"], found["dataset"]) == ("ave", fake.ENCODERS, "toy")


def test_gains_are_paired(make):
    scores = scored([make("none"), make("dgsct")], "none")
    differences = right("dgsct", 0) - right("none", 0)
    gain, p = (row(scores, "dgsct", f"{METRIC}_{kind}_none") for kind in ("gain_over", "p_against"))
    assert (gain["value"], gain["low"], gain["high"]) == pytest.approx(tuple(mean_interval(100 * differences, np.arange(N))))
    assert p["value"] == sign_flip(differences[None])[0] and (gain["unit"], p["unit"]) == ("points", "p")
    assert not [r for r in scores.metrics if r["prompter"] == "none" and "_none" in r["metric"]]


def test_what_is_gone_or_not_finite_is_counted_and_named(make):
    def spoilt(rows):
        rows[7]["scores"][3] = math.nan
        return rows

    scores = scored([make("none", gone=(0, 1), change=spoilt), make("none", 1), make("dgsct", gone=(2,))], "none")
    assert [row(scores, "none", seed=0)[key] for key in ("n", "n_missing")] == [N - 3, 3]
    assert row(scores, "none", seed=0)["value"] == pytest.approx(100 * np.delete(right("none", 0), [0, 1, 7]).mean())
    assert [row(scores, "none")[key] for key in ("n", "n_missing")] == [N, 3]
    gain = row(scores, "dgsct", f"{METRIC}_gain_over_none")
    assert (gain["n"], gain["n_missing"]) == (N - 1, 1)
    assert scores.remarks == ["none, seed 0: not scored, for scores that are not finite: test_0007"]


def test_where_nothing_is_scored_a_row_says_so(make):
    scores = scored([make("none", gone=range(N)), make("dgsct")], "none")
    found = row(scores, "none")
    assert math.isnan(found["value"]) and found["note"] == f"{NOTHING_SCORED} with seed 0"
    assert (found["n"], found["n_missing"]) == (0, N) and row(scores, "none", seed=0)["note"] == NOTHING_SCORED
    assert row(scores, "dgsct", f"{METRIC}_gain_over_none")["note"] == NOTHING_SCORED
    contracts.to_table(marked(scores.metrics, {}), contracts.PROMPT_METRICS)


# --- questions: several items a clip, and metrics that are meant for a part of them


KIND = np.arange(N) % 2  # 0: heard, 1: seen
METRICS = ("AQ", "VQ", "Avg", "never")


def answering(right_):
    """A judge of questions that are right as told, by their number."""

    def per_item(scores, truth):
        assert len(scores) == len(truth["kind"])
        hit = right_(scores)
        return {
            "AQ": np.where(truth["kind"] == 0, hit, np.nan),
            "VQ": np.where(truth["kind"] == 1, hit, np.nan),
            "Avg": hit,
            "never": np.full(len(hit), np.nan),
        }

    return Judge(METRICS, lambda items: {"kind": KIND}, per_item)


def first_score(scores):
    return scores[:, 0, 0].astype(np.float64)


def questions():
    names = fake.items_of(N)["item"]
    return pd.DataFrame({"item": names, "clip_id": [f"clip {number // 3}" for number in range(N)]})


def test_metrics_count_the_items_that_they_are_meant_for(make):
    scores = scored([make("none", gone=(0, 2, 3))], items=questions(), judge=answering(first_score))
    counts = {metric: (row(scores, "none", metric)["n"], row(scores, "none", metric)["n_missing"]) for metric in METRICS}
    assert counts == {"AQ": (7, 2), "VQ": (8, 1), "Avg": (15, 3), "never": (0, 0)}
    assert math.isnan(row(scores, "none", "never")["value"]) and row(scores, "none", "never")["note"] == NOT_ASKED


def test_items_of_a_clip_are_drawn_together(make):
    scores = scored([make("none")], items=questions(), judge=answering(first_score))
    hit = first_score(fake.scores_of(TRUTH, 0.5, 0))
    found = row(scores, "none", "Avg")
    expected = mean_interval(100 * hit, np.arange(N) // 3)
    assert (found["value"], found["low"], found["high"]) == pytest.approx(tuple(expected))
    alone = mean_interval(100 * hit, np.arange(N))
    assert (found["low"], found["high"]) != pytest.approx((alone.low, alone.high))


def test_an_item_of_which_its_truth_tells_nothing_is_missing_everywhere(make):
    def per_item(scores, truth):  # what is scored are counts: without them nothing is known of an item
        hit = first_score(scores)
        empty = scores.sum(axis=(1, 2)) == 0
        return {name: np.where(empty, np.nan, hit) for name in ("M_J", "M_F")}

    judge = Judge(("M_J", "M_F"), lambda items: {}, per_item)
    scores = scored([make("none", gone=(4,))], judge=judge)
    assert [(row(scores, "none", m)["n"], row(scores, "none", m)["n_missing"]) for m in ("M_J", "M_F")] == [(N - 1, 1)] * 2
    both = scored([make("none", gone=(4,)), make("none", 1)], judge=judge)
    assert (row(both, "none", "M_J")["n"], row(both, "none", "M_J")["n_missing"]) == (N, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"AQ": np.zeros(N)}, "no score of items for its metrics VQ, Avg, never"),
        (dict.fromkeys(METRICS, np.zeros(3)), r"scores 18 items as \(3,\), not one by one"),
        (dict.fromkeys(METRICS, np.full(N, 1.5)), r"AQ of item 0 is 1.5, not in \[0, 1\]"),
    ],
)
def test_a_task_that_scores_otherwise_is_refused(make, values, message):
    judge = Judge(METRICS, lambda items: {}, lambda scores, truth: values)
    with pytest.raises(ValueError, match=message):
        scored([make("none")], judge=judge)


def test_labels_of_other_items_are_refused(make):
    judge = replace(fake.judge_of(TRUTH), truth=lambda items: {"segments": TRUTH[:3]})
    with pytest.raises(ValueError, match="labels 'segments' are of 3 items, not of 18"):
        scored([make("none")], judge=judge)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:], "lacks 1 items, such as 'test_0000'"),
        (lambda rows: [*rows, rows[0]], "item 'test_0000' is there twice"),
        (lambda rows: [*rows[:-1], {**rows[-1], "scores": [0.5]}], "scores of item 'test_0017' has 1 numbers, not 16"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(make, change, message):
    with pytest.raises(ContractError, match=rf"0.parquet: {message}"):
        scored([make("none", change=change)])


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"dataset": "other"}, "predictions of other, split 'test', cannot be scored as those of toy"),
        ({"split": "val"}, "predictions of toy, split 'val', cannot be scored"),
        ({"encoders": "large"}, "prompter 'none' is told to have another encoders"),
        ({"seed": 0}, "are both of prompter 'none', seed 0"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(make, facts, message):
    with pytest.raises(ContractError, match=message):
        scored([make("none"), make(**{"seed": 1, **facts})])
    with pytest.raises(ContractError, match="task 'avvp' beside those of task 'ave'"):
        scored([make("none"), make("dgsct", task="avvp")])
    with pytest.raises(ValueError, match="reference 'best' is none of the prompters that were scored: none"):
        scored([make("none")], "best")


def test_files_find_their_dataset(make):
    paths = [make("none"), make("none", dataset="other")]
    assert of_datasets(["toy", "other"], paths) == {"toy": paths[:1], "other": paths[1:]}
    with pytest.raises(ContractError, match="predictions of dataset 'other', which is none of toy"):
        of_datasets(["toy"], paths)


def test_items_are_clips_or_questions_of_a_split(tmp_path):
    made = fake.write_data(tmp_path, 3, "toy")
    assert items_of("test", made["clips"][0])["item"].tolist() == ["test_0000", "test_0001", "test_0002"]
    rows = [
        {"question_id": f"q{i}", "clip_id": "c", "split": split, "question": "How many", "kind": "Audio-Counting", "answer": 0}
        for i, split in enumerate(("train", "test", "test"))
    ]
    contracts.write(rows, contracts.QUESTIONS, tmp_path / "q.parquet", {})
    found = items_of("test", made["clips"][0], tmp_path / "q.parquet")
    assert found.to_dict("list") == {"item": ["q1", "q2"], "clip_id": ["c", "c"]}
    with pytest.raises(ContractError, match="no question of the split 'val'"):
        items_of("val", made["clips"][0], tmp_path / "q.parquet")
