"""M_J and M_F from counts, against the two scores written out from masks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.metrics import segmentation

THRESHOLDS = torch.linspace(0, 1 - 1e-10, 255).numpy()


def drawn(seed, frames=4, side=5, share=0.4):
    rng = np.random.default_rng(seed)
    masks = (rng.random((frames, side, side)) < share).astype(np.uint8)
    masks[rng.random(frames) < 0.3] = 0
    logits = 6 * rng.standard_normal((frames, side, side)).astype(np.float32)
    return logits, masks


def counted(logits, masks):
    return segmentation.counts(torch.from_numpy(logits), torch.from_numpy(masks)).numpy()


def m_j_of_masks(chances, masks):
    scores = []
    for frame, truth in zip(chances, masks, strict=True):
        said = frame > 0.5
        if truth.any():
            scores.append((said & (truth == 1)).sum() / (said | (truth == 1)).sum())
        else:
            scores.append((~said).mean())
    return np.mean(scores)


def m_f_of_masks(chances, masks):
    curves = []
    for frame, truth in zip(chances, masks, strict=True):
        if not truth.any():
            continue
        curve = []
        for threshold in THRESHOLDS:
            hits = ((frame >= threshold) & (truth == 1)).sum()
            precision, recall = hits / max((frame >= threshold).sum(), 1), hits / truth.sum()
            curve.append(1.3 * precision * recall / (0.3 * precision + recall) if hits else 0)
        curves.append(curve)
    return np.mean(curves, axis=0).max() if curves else np.nan


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_the_scores_follow_from_counts(seed, share):
    logits, masks = drawn(seed, share=share)
    chances = torch.from_numpy(logits).sigmoid().numpy()
    kept = counted(logits, masks)
    assert kept.shape == (4, segmentation.COUNTS) and (kept == kept.round()).all()
    assert segmentation.m_j(kept) == pytest.approx(m_j_of_masks(chances, masks), rel=1e-12)
    assert segmentation.m_f(kept) == pytest.approx(m_f_of_masks(chances, masks), rel=1e-12, nan_ok=True)


def test_frames_are_scored_in_the_groups_that_they_are_given_in():
    logits, masks = drawn(3, frames=6)
    masks[:, 0, 0] = 1
    kept = counted(logits, masks)
    clips = kept.reshape(2, 3, -1)
    assert segmentation.m_j(clips).mean() == pytest.approx(segmentation.m_j(kept), rel=1e-12)
    # the maximum over thresholds is taken after the mean over the frames of a group, so smaller groups score higher
    assert segmentation.m_f(clips).mean() > segmentation.m_f(kept)


@pytest.mark.parametrize(("logit", "share"), [(-9.0, 1.0), (9.0, 0.0)])
def test_a_frame_without_truth_is_scored_by_what_is_left_out_and_has_no_f_measure(logit, share):
    kept = counted(np.full((1, 3, 3), logit, np.float32), np.zeros((1, 3, 3), np.uint8))
    assert segmentation.m_j(kept) == share and np.isnan(segmentation.m_f(kept))


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_saturated_chances_are_counted(logit):
    masks = np.array([[[1, 0], [1, 1]]], np.uint8)
    kept = counted(np.full((1, 2, 2), logit, np.float32), masks)
    assert segmentation.m_j(kept) == (0.75 if logit > 0 else 0)
    assert segmentation.m_f(kept) == pytest.approx(1.3 * 0.75 / (0.3 * 0.75 + 1))  # at the threshold 0 all is said


def test_what_is_not_annotated_does_not_count():
    logits, masks = drawn(5, frames=2, side=6)
    masks[0, :, 0] = 1
    partly = masks.copy()
    partly[:, :, 3:] = segmentation.NOT_ANNOTATED
    cut = counted(np.ascontiguousarray(logits[:, :, :3]), np.ascontiguousarray(masks[:, :, :3]))
    assert np.array_equal(counted(logits, partly), cut)
    none = counted(logits, np.full_like(masks, segmentation.NOT_ANNOTATED))
    assert np.isnan(segmentation.m_j(none)) and np.isnan(segmentation.m_f(none))
    some = np.concatenate([none[:1], cut[:1]])
    assert segmentation.m_j(some) == segmentation.m_j(cut[:1]) and segmentation.m_f(some) == segmentation.m_f(cut[:1])


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 4, 4\) and true ones \(2, 5, 5\)"):
        segmentation.counts(torch.zeros(2, 4, 4), torch.zeros(2, 5, 5, dtype=torch.uint8))
