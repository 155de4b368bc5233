"""Few-shot rows: the first of each class in the order of a list, and nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from earshot import shots


@given(st.lists(st.integers(-1, 4), max_size=40), st.integers(1, 5))
def test_the_first_rows_of_each_class_are_chosen(labels, count):
    wanted = [place for label in range(5) for place in [p for p, one in enumerate(labels) if one == label][:count]]
    assert shots.first_of_each(np.array(labels, np.int64), count).tolist() == wanted


def test_clips_of_several_classes_or_none_have_no_class_of_their_own():
    weak = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]], np.float32)
    assert shots.single_classes(weak).tolist() == [1, shots.NONE, shots.NONE, 0]
