"""Scores of parsing: against a plain loop over videos, classes and runs, and by what must not move them."""

import math
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.metrics import parsing_f_score as parsing
from earshot.metrics.parsing_f_score import counts, decisions, event_tables, per_video, summary, targets


@st.composite
def matrices(draw, most=4):
    """What is said and what is true, (N, 2, C, 10) each; both often sparse, at times equal."""
    n, c, seed = draw(st.integers(1, most)), draw(st.integers(1, 6)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    said, true = (rng.random((n, 2, c, 10)) < draw(st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.9, 1.0])) for _ in range(2))
    return (said, said) if draw(st.integers(0, 9)) == 0 else (said, true)


def runs(row):
    """Maximal runs of ones, as sets of segments."""
    groups = groupby(enumerate(row.tolist()), key=lambda pair: pair[1])
    return [{t for t, _ in group} for on, group in groups if on]


def counted(said, true, level):
    """True positives, false positives and false negatives of two rows (10,)."""
    if level == "seg":
        return int((said & true).sum()), int((said & ~true).sum()), int((~said & true).sum())
    ours, theirs = runs(said), runs(true)

    def matched(one, others):
        return any(2 * len(one & other) >= len(one | other) for other in others)

    hits = sum(matched(run, theirs) for run in ours)
    return hits, len(ours) - hits, sum(not matched(run, ours) for run in theirs)


def video_score(of_classes):
    f = [2 * tp / (2 * tp + (fn + fp)) for tp, fp, fn in of_classes if tp + fp + fn]
    total = 0.0
    for value in f:
        total += value
    return total / len(f) if f else 1.0


def plainly(said, true):
    """The scores of each video by a loop."""
    scores = {}
    for level in ("seg", "evt"):
        for video, truth in zip(said, true, strict=True):
            kinds = {"A": (video[0], truth[0]), "V": (video[1], truth[1])}
            kinds["AV"] = (video[0] & video[1], truth[0] & truth[1])
            found = {kind: [counted(s, t, level) for s, t in zip(*pair, strict=True)] for kind, pair in kinds.items()}
            together = [tuple(map(sum, zip(a, v, strict=True))) for a, v in zip(found["A"], found["V"], strict=True)]
            for kind, of_classes in (*found.items(), ("EventAV", together)):
                scores.setdefault(f"f_score_{level}_{kind}", []).append(video_score(of_classes))
    return scores


@given(matrices())
@settings(deadline=None)
def test_scores_of_videos_are_those_of_a_loop(pair):
    assert {metric: values.tolist() for metric, values in per_video(*pair).items()} == plainly(*pair)


@given(matrices(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_videos_moves_no_score_of_a_video(pair, random):
    order = random.sample(range(len(pair[0])), len(pair[0]))
    moved = per_video(*(part[order] for part in pair))
    assert all(np.array_equal(moved[metric], values[order]) for metric, values in per_video(*pair).items())


@given(matrices(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_classes_moves_the_last_bits_at_most(pair, random):
    order = random.sample(range(pair[0].shape[2]), pair[0].shape[2])
    moved, plain = per_video(*(part[:, :, order] for part in pair)), per_video(*pair)
    assert all(np.allclose(moved[metric], plain[metric], rtol=1e-14, atol=0) for metric in plain)


@given(matrices())
@settings(deadline=None)
def test_classes_that_are_never_there_move_nothing(pair):
    wider = [np.concatenate([part, np.zeros_like(part)], axis=2) for part in pair]
    assert all(np.array_equal(per_video(*wider)[metric], values) for metric, values in per_video(*pair).items())


@given(matrices())
@settings(deadline=None)
def test_scores_stay_in_their_range_and_are_means(pair):
    videos = per_video(*pair)
    scores = summary(videos)
    assert tuple(scores) == parsing.METRICS and len(scores) == 10
    assert all(0 <= score <= 100 for score in scores.values())
    for level in ("seg", "evt"):
        a, v, av, kinds, events = (scores[f"f_score_{level}_{kind}"] for kind in ("A", "V", "AV", "TypeAV", "EventAV"))
        assert kinds == (av + a + v) / 3
        assert events == pytest.approx(100 * videos[f"f_score_{level}_EventAV"].mean())


@given(matrices())
@settings(deadline=None)
def test_saying_what_is_true_is_worth_everything(pair):
    assert set(summary(per_video(pair[1], pair[1])).values()) == {100.0}


@given(matrices())
@settings(deadline=None)
def test_what_is_said_and_what_is_true_change_places(pair):
    """F is symmetric: only false positives and false negatives are exchanged."""
    there, back = counts(*pair), counts(*pair[::-1])
    for level in ("seg", "evt"):
        assert np.array_equal(there[level].tp, back[level].tp)
        assert np.array_equal(there[level].fp, back[level].fn)
    assert all(np.array_equal(per_video(*pair)[m], values) for m, values in per_video(*pair[::-1]).items())


def test_event_tables_are_the_same_from_either_side():
    tp, fp, fn = (table.astype(int) for table in event_tables())
    assert np.array_equal(tp, tp.T) and np.array_equal(fp, fn.T)
    assert (tp + fp == (tp + fp)[:, :1]).all(), "the number of runs of a mask does not depend on the other mask"
    assert {table.shape for table in (tp, fp, fn)} == {(1024, 1024)} and min(tp.min(), fp.min(), fn.min()) == 0


def test_half_an_overlap_is_enough_and_less_is_not():
    said, true = np.zeros((3, 2, 1, 10), bool), np.zeros((3, 2, 1, 10), bool)
    true[:, 0, 0, :] = [[1] * 10, [1] * 10, [0, 1, 1, 1, 0, 0, 0, 0, 0, 0]]
    said[0, 0, 0, :5] = True  # 5 of 10
    said[1, 0, 0, :4] = True  # 4 of 10
    said[2, 0, 0, 2:5] = True  # 2 shared of 4
    assert per_video(said, true)["f_score_evt_A"].tolist() == [1, 0, 1]


def test_what_is_heard_and_seen_counts_where_both_are_at_once():
    """An audio and a visual event that match, one after the other, make no audio-visual one."""
    said, true = np.zeros((1, 2, 1, 10), bool), np.zeros((1, 2, 1, 10), bool)
    true[0, 0, 0, :5], true[0, 1, 0, 5:] = True, True
    said[0, :, 0, :] = True
    scores = per_video(said, true)
    assert scores["f_score_seg_AV"].tolist() == [0] and scores["f_score_seg_EventAV"].tolist() == [pytest.approx(2 / 3)]
    assert scores["f_score_evt_AV"].tolist() == [0] and scores["f_score_evt_EventAV"].tolist() == [1]


def test_counts_of_classes_are_sums_over_videos():
    rng = np.random.default_rng(0)
    said, true = rng.random((2, 30, 2, 4, 10)) < 0.4
    for level, name in parsing.LEVELS.items():
        of_classes = counts(said, true)[level].summed()
        for kind, pair in enumerate(((said[:, 0], true[:, 0]), (said[:, 1], true[:, 1]), (said.all(1), true.all(1)))):
            for c in range(4):
                expected = np.sum([counted(s[c], t[c], level) for s, t in zip(*pair, strict=True)], axis=0)
                assert [part[kind, c] for part in of_classes] == expected.tolist(), name


def test_f_of_a_class_without_truth_and_prediction_is_unknown():
    found = parsing.f_scores(parsing.Counts(*np.array([[1.0, 0, 0], [1, 1, 0], [0, 0, 0]])))
    assert found[:2].tolist() == [2 / 3, 0] and math.isnan(found[2])


def test_both_scores_must_reach_a_half():
    half, below = np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(0))
    video = np.array([[half, half, below, 1.5]], np.float32)
    segments = np.full((1, 10, 2, 4), half, np.float32)
    segments[0, 3, 1] = below
    decided = decisions(video, segments)
    assert decided.shape == (1, 2, 4, 10) and decided.dtype == bool and decided.flags.c_contiguous
    assert decided[0, 0].any(axis=1).tolist() == [True, True, False, True]
    assert decided[0, 1, 0].tolist() == [True] * 3 + [False] + [True] * 6
    assert decisions(video.astype(np.float64), segments.astype(np.float16))[0, 0, 3].all()


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) and of segments \(2, 10, 3, 2\) are not \(N, C\) and \(N, 10, 2, C\)"):
        decisions(np.zeros((2, 3)), np.zeros((2, 10, 3, 2)))
    with pytest.raises(ValueError, match="scores of 1 of 2 videos are NaN; the first is number 1"):
        decisions(np.array([[0.0], [math.nan]]), np.zeros((2, 10, 2, 1)))
    with pytest.raises(ValueError, match=r"decisions \(1, 2, 3, 10\) and truth \(1, 2, 4, 10\) are not both"):
        counts(np.zeros((1, 2, 3, 10), bool), np.zeros((1, 2, 4, 10), bool))
    with pytest.raises(ValueError, match="are not both"):
        counts(np.zeros((1, 2, 3, 9), bool), np.zeros((1, 2, 3, 9), bool))


def test_a_split_without_videos_has_no_score():
    with pytest.raises(ValueError, match="no video to score"):
        summary(per_video(np.zeros((0, 2, 3, 10), bool), np.zeros((0, 2, 3, 10), bool)))


def test_targets_are_whole_seconds_and_a_union():
    rows = [
        [(1, 0.9, 2.9, "audio"), (1, 1, 4, "audio"), (0, 3, 3, "audio"), (0, 9, 0, "audio"), (2, 8, 12, "visual")],
        [],
        [(2, math.nan, math.nan, "weak")],
    ]
    truth = targets(3, rows)
    assert truth.shape == (3, 2, 3, 10)
    assert {tuple(place) for place in np.argwhere(truth).tolist()} == {
        *((0, 0, 1, t) for t in range(4)), (0, 1, 2, 8), (0, 1, 2, 9)
    }  # fmt: skip
    assert not targets(3, []).size


@pytest.mark.parametrize(
    "event", [(3, 0, 1, "audio"), (-1, 0, 1, "audio"), (0, -1, 1, "audio"), (0, math.nan, 1, "visual"), (0, 0, 1, "smell")]
)
def test_an_event_that_cannot_be_is_refused(event):
    with pytest.raises(ValueError, match=r"video 1: .* is no event of 3 classes"):
        targets(3, [[(0, 0, 1, "audio")], [event]])


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 10), st.integers(0, 10), st.sampled_from(["audio", "visual"]))))
@settings(deadline=None)
def test_targets_are_those_of_slices(events):
    expected = np.zeros((2, 3, 10), bool)
    for c, onset, offset, modality in events:
        expected[["audio", "visual"].index(modality), c, onset:offset] = True
    assert np.array_equal(targets(3, [events])[0], expected)
