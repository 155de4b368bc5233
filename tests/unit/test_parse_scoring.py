"""From parses to scores: what the rows say, what is missing, and what is refused."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot import contracts
from earshot.contracts import ContractError
from earshot.data_facts import marked
from earshot.metrics import parsing_f_score
from earshot.metrics.significance import mean_interval, sign_flip
from earshot.parse_scoring import Scores, of_datasets, score, score_all
from earshot.seed_scores import NOTHING_SCORED

NAMES = ("Dog", "Bell", "Rain")
N, C = 30, len(NAMES)
CLIPS = [f"videos/{number:02d}" for number in range(N)]
FACTS = {"dataset": "toy", "split": "test", "plugin": "han", "features": "VGGish", "leak": False}
NOISE = {"base": 0.9, "better": 0.5, "shown": 0.0}  # of the parsers
SEEDS = (1, 4)


def clip_row(clip, split):
    text = dict.fromkeys(("sha256", "problem", "source", "group"), "")
    numbers = dict.fromkeys(("start", "end", "frames", "fps", "width", "height", "audio_rate", "duration", "level"), 0)
    return {"clip_id": clip, "video": f"{clip}.mp4", "split": split, "label": -1, "available": False, **text, **numbers}


@pytest.fixture(scope="module")
def truth():
    """What is true (N, 2, C, 10): one run of a class, at most, which begins and ends at random."""
    rng = np.random.default_rng(3)
    start, length = rng.integers(0, 8, (N, 2, C, 1)), rng.integers(1, 8, (N, 2, C, 1))
    seconds = np.arange(10)
    return (seconds >= start) & (seconds < start + length) & (rng.random((N, 2, C, 1)) < 0.6)


@pytest.fixture(scope="module")
def tables(truth, tmp_path_factory):
    """Paths of the clips, events and classes of a dataset whose videos are gone."""
    folder = tmp_path_factory.mktemp("toy")
    clips = [clip_row("videos/train", "train"), *(clip_row(clip, "test") for clip in CLIPS)]
    events = [{"clip_id": clip, "modality": "weak", "class_id": 0, "onset": math.nan, "offset": math.nan} for clip in CLIPS]
    for n, m, c in np.argwhere(truth.any(axis=3)).tolist():
        on = np.flatnonzero(truth[n, m, c])
        event = {"clip_id": CLIPS[n], "modality": ("audio", "visual")[m], "class_id": c}
        events.append({**event, "onset": float(on[0]), "offset": float(on[-1] + 1)})
    classes = [{"class_id": number, "name": name, "prompt": name} for number, name in enumerate(NAMES)]
    paths = {name: folder / f"{name}.parquet" for name in ("clips", "events", "classes")}
    for rows, schema, path in zip(
        (clips, events, classes), (contracts.CLIPS, contracts.EVENTS, contracts.CLASSES), paths.values(), strict=True
    ):
        contracts.write(rows, schema, path, {})
    return paths


def guesses(truth, parser, seed):
    """Scores of videos (N, C) and of segments (N, 10, 2, C): the truth, blurred."""
    rng = np.random.default_rng([seed, len(parser)])
    segments = truth.transpose(0, 3, 1, 2) + NOISE[parser] * rng.normal(size=(N, 10, 2, C)) * 0.5
    video = truth.any(axis=(1, 3)) + NOISE[parser] * rng.normal(size=(N, C)) * 0.5
    return video.astype(np.float32), segments.astype(np.float32)


def rows_of(video, segments, missing=()):
    rows = []
    for n, clip in enumerate(CLIPS):
        there = n not in missing
        lists = {"video_prob": video[n].tolist(), "segment_prob": segments[n].ravel().tolist()}
        lists = lists if there else {key: [] for key in lists}
        rows.append({"clip_id": clip, "available": there, "problem": "" if there else "no features", **lists})
    return rows


def write(folder, rows, parser="base", seed=1, **facts):
    path = folder / f"{parser}-{seed}-{len(list(folder.iterdir()))}.parquet"
    contracts.write(rows, contracts.PARSES, path, {**FACTS, "parser": parser, "seed": seed, **facts})
    return path


def made(folder, truth, parser="base", seed=1, missing=(), change=lambda rows: rows, **facts):
    """A file of parses."""
    facts = {"features": "CLAP", "leak": True, **facts} if parser == "shown" else facts
    return write(folder, change(rows_of(*guesses(truth, parser, seed), missing)), parser, seed, **facts)


@pytest.fixture
def make(truth, tmp_path):
    return partial(made, tmp_path, truth)


def scored(tables, paths, reference="", split="test"):
    return score(paths, **tables, split=split, reference=reference)


def row(scores, parser, metric, seed=-1):
    (found,) = [r for r in scores.metrics if (r["parser"], r["metric"], r["seed"]) == (parser, metric, seed)]
    return found


@pytest.fixture(scope="module")
def scores(truth, tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parses")
    return scored(tables, [made(folder, truth, parser, seed) for parser in NOISE for seed in SEEDS], "base")


def videos_of(truth, parser, seed, clips=slice(None)):
    decided = parsing_f_score.decisions(*guesses(truth, parser, seed))
    return parsing_f_score.per_video(decided[clips], truth[clips])


def test_rows_keep_their_contracts_and_are_whole(scores):
    contracts.to_table(marked(scores.metrics, {}), contracts.PARSING_METRICS)
    contracts.to_table(scores.classes, contracts.PARSING_CLASS_METRICS)
    assert len(scores.metrics) == len(NOISE) * 10 * (len(SEEDS) + 1) + (len(NOISE) - 1) * 20
    assert len({(r["parser"], r["seed"], r["metric"]) for r in scores.metrics}) == len(scores.metrics)
    assert list(dict.fromkeys(r["parser"] for r in scores.metrics)) == list(NOISE)
    assert {(r["parser"], r["features"], r["leak"]) for r in scores.metrics} == {
        ("base", "VGGish", False), ("better", "VGGish", False), ("shown", "CLAP", True)
    }  # fmt: skip
    assert {(r["n"], r["n_missing"], r["note"]) for r in scores.metrics} == {(N, 0, "")} and not scores.remarks


def test_scores_are_exactly_those_of_the_metric_and_the_mean_of_seeds(scores, truth):
    summaries = {s: parsing_f_score.summary(videos_of(truth, "better", s)) for s in SEEDS}
    for metric in parsing_f_score.METRICS:
        assert [row(scores, "better", metric, s)["value"] for s in SEEDS] == [summaries[s][metric] for s in SEEDS]
        assert row(scores, "better", metric)["value"] == pytest.approx(np.mean([summaries[s][metric] for s in SEEDS]))
        assert row(scores, "shown", metric)["value"] == 100
    assert 10 < row(scores, "base", "f_score_seg_A")["value"] < row(scores, "better", "f_score_seg_A")["value"] < 100


def test_an_interval_draws_a_clip_with_all_its_seeds(scores, truth):
    values = np.concatenate([100 * videos_of(truth, "base", seed)["f_score_evt_V"] for seed in SEEDS])
    expected = mean_interval(values, np.tile(np.arange(N), len(SEEDS)))
    found = row(scores, "base", "f_score_evt_V")
    assert (found["value"], found["low"], found["high"]) == pytest.approx(tuple(expected))
    assert found["low"] < found["value"] < found["high"] and found["unit"] == "%"


def test_gains_are_paired_and_tested(scores, truth):
    def means(parser):
        return np.mean([videos_of(truth, parser, seed)["f_score_seg_AV"] for seed in SEEDS], axis=0)

    differences = means("better") - means("base")
    gain, p = row(scores, "better", "f_score_seg_AV_gain_over_base"), row(scores, "better", "f_score_seg_AV_p_against_base")
    expected = mean_interval(100 * differences, np.arange(N))
    assert (gain["value"], gain["low"], gain["high"]) == pytest.approx(tuple(expected))
    assert p["value"] == sign_flip(differences[None])[0] and math.isnan(p["low"])
    assert (gain["unit"], p["unit"]) == ("points", "p")
    ours, theirs = (row(scores, parser, "f_score_evt_TypeAV")["value"] for parser in ("better", "base"))
    assert row(scores, "better", "f_score_evt_TypeAV_gain_over_base")["value"] == pytest.approx(ours - theirs)
    assert not [r for r in scores.metrics if r["parser"] == "base" and "base" in r["metric"]]


def test_a_parser_gains_exactly_nothing_over_its_double(truth, tables, tmp_path):
    rows = rows_of(*guesses(truth, "base", 1))
    paths = [write(tmp_path, rows, parser, seed) for parser in ("base", "double") for seed in SEEDS]
    found = scored(tables, paths, "base").metrics
    gains = [r for r in found if "gain_over" in r["metric"]]
    assert {(r["value"], r["low"], r["high"]) for r in gains} == {(0.0, 0.0, 0.0)} and len(gains) == 10
    assert {r["value"] for r in found if "p_against" in r["metric"]} == {1.0}


def test_the_order_of_rows_moves_nothing(make, tables):
    plain = scored(tables, [make(missing=(0, 1, 5)), make("better")], "base")
    turned = scored(tables, [make(missing=(0, 1, 5), change=lambda rows: rows[::-1]), make("better")], "base")
    assert turned == plain
    assert scored(tables, [make(seed=4), make(seed=1)]) == scored(tables, [make(seed=1), make(seed=4)])


def test_clips_that_could_not_be_parsed_are_counted_and_left_out(make, tables, truth):
    scores = scored(tables, [make(missing=(0, 1, 2)), make(seed=4, missing=(2, 3)), make("better", missing=(29,))], "base")
    there = np.setdiff1d(np.arange(N), (0, 1, 2))
    expected = parsing_f_score.summary(videos_of(truth, "base", 1, there))
    for metric, value in expected.items():
        found = row(scores, "base", metric, seed=1)
        assert (found["value"], found["n"], found["n_missing"]) == (value, N - 3, 3)
    assert [row(scores, "base", "f_score_seg_A")[key] for key in ("n", "n_missing")] == [N - 1, 4]
    gain = row(scores, "better", "f_score_seg_A_gain_over_base")
    assert (gain["n"], gain["n_missing"]) == (N - 2, 2)


def test_intervals_are_over_the_clips_that_anybody_could_parse(make, tables, truth):
    for missing, lost in (((), ()), ((0, 1, 2), (0, 1, 2))):
        scores = scored(tables, [make(missing=(0, 1, 2)), make("better", missing=missing)])
        there = np.setdiff1d(np.arange(N), lost)
        expected = mean_interval(100 * videos_of(truth, "better", 1, there)["f_score_seg_V"], there)
        found = row(scores, "better", "f_score_seg_V")
        assert (found["value"], found["low"], found["high"]) == pytest.approx(tuple(expected))


def test_a_clip_whose_scores_are_not_finite_is_missing_and_named(make, tables):
    def spoilt(rows):
        rows[5]["segment_prob"][7] = math.nan
        rows[6]["video_prob"][0] = math.inf
        return rows

    scores = scored(tables, [make(change=spoilt), make("better")], "base")
    assert [row(scores, "base", "f_score_seg_A")[key] for key in ("n", "n_missing")] == [N - 2, 2]
    assert scores.remarks == ["base, seed 1: not scored, for scores that are not finite: videos/05, videos/06"]
    same = scored(tables, [make(missing=(5, 6)), make("better")], "base")
    assert Scores(scores.metrics, scores.classes, []) == same


@pytest.mark.parametrize("others", [(), (4,)])
def test_where_nothing_is_scored_a_row_says_so(make, tables, others):
    paths = [make(missing=range(N)), *(make(seed=seed) for seed in others), make("better")]
    scores = scored(tables, paths, "base")
    one, mean = row(scores, "base", "f_score_seg_A", seed=1), row(scores, "base", "f_score_seg_A")
    assert math.isnan(one["value"]) and math.isnan(one["low"]) and (one["n"], one["n_missing"]) == (0, N)
    assert one["note"] == NOTHING_SCORED
    assert math.isnan(mean["value"]) and mean["note"] == f"{NOTHING_SCORED} with seed 1"
    gain, p = (row(scores, "better", f"f_score_seg_A_{kind}_base") for kind in ("gain_over", "p_against"))
    assert math.isnan(gain["value"]) == math.isnan(p["value"]) == (not others)
    assert gain["note"] == p["note"] == ("" if others else NOTHING_SCORED)
    assert not math.isnan(row(scores, "better", "f_score_seg_A")["value"])
    contracts.to_table(marked(scores.metrics, {}), contracts.PARSING_METRICS)


def test_nothing_scored_at_all_is_a_table_of_notes(make, tables):
    scores = scored(tables, [make(missing=range(N))])
    assert all(math.isnan(r["value"]) and r["note"] for r in scores.metrics) and len(scores.metrics) == 20
    assert all(
        math.isnan(r["f_score"]) == (r["n"] == 0) or r["f_score"] == 0 or math.isnan(r["f_score"]) for r in scores.classes
    )


def test_f_of_a_class_is_of_counts_over_clips_and_seeds(scores, truth):
    for level, name in parsing_f_score.LEVELS.items():
        parts = [parsing_f_score.counts(parsing_f_score.decisions(*guesses(truth, "base", s)), truth)[level] for s in SEEDS]
        tp, fp, fn = (sum(getattr(part, which).sum(axis=0) for part in parts) for which in ("tp", "fp", "fn"))
        found = [r for r in scores.classes if (r["parser"], r["level"]) == ("base", name)]
        assert [(r["kind"], r["class_id"], r["name"]) for r in found] == [
            (kind, number, label) for kind in ("A", "V", "AV") for number, label in enumerate(NAMES)
        ]
        assert [r["f_score"] for r in found] == pytest.approx((200 * tp / (2 * tp + fp + fn)).ravel().tolist())
        assert [r["n"] for r in found] == ((tp + fn) / len(SEEDS)).ravel().tolist()
    heard = [r for r in scores.classes if (r["parser"], r["level"], r["kind"]) == ("base", "segment", "A")]
    assert [r["n"] for r in heard] == truth[:, 0].sum(axis=(0, 2)).tolist()


def test_a_class_that_nobody_knows_of_has_no_f(tables, make, tmp_path):
    def silent(rows):
        for each in rows:
            each["segment_prob"] = [0.0] * 60
        return rows

    events = [e for e in contracts.read(tables["events"], contracts.EVENTS) if e["class_id"] != 2]
    contracts.write(events, contracts.EVENTS, tmp_path / "fewer.parquet", {})
    scores = scored({**tables, "events": tmp_path / "fewer.parquet"}, [make(change=silent)])
    assert {(r["name"], math.isnan(r["f_score"])) for r in scores.classes} == {("Dog", False), ("Bell", False), ("Rain", True)}
    assert all((r["n"] > 0) == (r["name"] != "Rain") for r in scores.classes)


def without(index):
    return lambda rows: rows[:index] + rows[index + 1 :]


def other(column, **change):
    def changed(rows):
        rows[2] = {**rows[2], **change}
        return rows

    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(3), "lacks 1 clips, such as 'videos/03'"),
        (lambda rows: [*rows, rows[0]], "clip 'videos/00' is there twice"),
        (lambda rows: [*rows, {**rows[0], "clip_id": "videos/x"}], "has, beyond the split, 1 clips, such as 'videos/x'"),
        (other("video_prob", video_prob=[0.5] * 2), "video_prob of clip 'videos/02' has 2 numbers, not 3"),
        (other("segment_prob", segment_prob=[0.5] * 59), "segment_prob of clip 'videos/02' has 59 numbers, not 60"),
        (other("available", available=False), "video_prob of clip 'videos/02' has 3 numbers, not none"),
    ],
)
def test_a_file_that_does_not_fit_the_split_is_refused_by_name(make, tables, change, message):
    path = make(change=change)
    with pytest.raises(ContractError, match=f"{path.name}: {message}"):
        scored(tables, [path])


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"dataset": "other"}, r"parses of other, split 'test', cannot be scored as those of toy, split 'test'"),
        ({"split": "val"}, r"parses of toy, split 'val', cannot be scored"),
        ({"seed": 1}, r"are both of parser 'base', seed 1"),
        ({"features": "CLIP"}, r"parser 'base' is told to have another features"),
        ({"leak": True, "plugin": "link"}, r"parser 'base' is told to have another plugin and leak"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(make, tables, facts, message):
    first, second = make(), make(**{"seed": 4, **facts})
    with pytest.raises(ContractError, match=rf"{second.name}.*{message}"):
        scored(tables, [first, second])


def test_a_file_that_tells_nothing_of_itself_is_refused(tables, tmp_path):
    contracts.write([], contracts.PARSES, tmp_path / "bare.parquet", {"dataset": "toy", "split": "test"})
    with pytest.raises(ContractError, match=r"bare.parquet: does not tell its parser, plugin, features, leak, seed"):
        scored(tables, [tmp_path / "bare.parquet"])
    with pytest.raises(ContractError, match="not a table of this version"):
        contracts.write([], contracts.FEATURES, tmp_path / "no.parquet", {**FACTS, "parser": "base", "seed": 0})
        scored(tables, [tmp_path / "no.parquet"])


def test_what_there_is_nothing_to_score_with_is_refused(make, tables, tmp_path):
    with pytest.raises(ContractError, match="no parses to score"):
        scored(tables, [])
    with pytest.raises(ContractError, match=r"clips.parquet: no clip of the split 'val'"):
        scored(tables, [make(split="val")], split="val")
    with pytest.raises(ValueError, match="reference 'best' is none of the parsers that were scored: base"):
        scored(tables, [make()], "best")
    weak = [event for event in contracts.read(tables["events"], contracts.EVENTS) if event["modality"] == "weak"]
    contracts.write(weak, contracts.EVENTS, tmp_path / "weak.parquet", {})
    with pytest.raises(ContractError, match=r"weak.parquet: no clip of the split 'test' has an event with times"):
        scored({**tables, "events": tmp_path / "weak.parquet"}, [make()])


def test_datasets_are_scored_one_by_one(make, tables):
    paths = [make(), make(dataset="other"), make("better"), make("better", dataset="other", missing=(3,))]
    twice = {name: [path, path] for name, path in tables.items()}
    found = score_all(of_datasets(["toy", "other"], paths, **twice), "test", "base")
    alone = [scored(tables, paths[::2], "base"), scored(tables, paths[1::2], "base")]
    assert found == Scores(*([*first, *second] for first, second in zip(*alone, strict=True)))
    assert list(dict.fromkeys(r["dataset"] for r in found.metrics)) == ["toy", "other"]
    with pytest.raises(ContractError, match=f"{paths[1].name}: parses of dataset 'other', which is none of toy"):
        of_datasets(["toy"], paths, **{name: [path] for name, path in tables.items()})


@given(st.sets(st.integers(0, N - 1)), st.sets(st.integers(0, N - 1)))
@settings(max_examples=15, deadline=None)
def test_whatever_is_missing_every_interval_holds_its_value(tmp_path_factory, truth, tables, first, second):
    folder = tmp_path_factory.mktemp("parses")
    paths = [
        write(folder, rows_of(*guesses(truth, "base", 1), first)),
        write(folder, rows_of(*guesses(truth, "base", 4)), seed=4),
    ]
    paths.append(write(folder, rows_of(*guesses(truth, "better", 1), second), "better"))
    found = scored(tables, paths, "base").metrics
    for each in found:
        assert each["n"] + each["n_missing"] >= N
        assert (each["note"] == "") == (not math.isnan(each["value"]))
        if each["unit"] != "p" and not each["note"]:
            assert each["low"] <= each["value"] <= each["high"]
