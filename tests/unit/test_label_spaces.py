"""Classes of published checkpoints, and the Kinetics-Sounds subsets of Kinetics-400."""

import csv

import pytest

from earshot import label_spaces

# rows of the 32 classes in Kinetics-400's list, in alphabetical order; `strumming guitar` is in the list of 32 only
ROWS = [
    26, 27, 31, 56, 99, 180, 201, 217, 219, 221, 225, 230, 232, 233, 236, 239, 241, 244, 247, 248, 250, 252, 276, 299, 301,
    304, 332, 335, 349, 350, 351, 359,
]  # fmt: skip
STRUMMING = 335


@pytest.mark.parametrize(("n", "rows"), [(31, [row for row in ROWS if row != STRUMMING]), (32, ROWS)])
def test_kinetics_sounds_are_slices_of_kinetics(n, rows):
    wanted = label_spaces.read(f"kinetics_sounds_{n}")
    assert len(wanted.names) == n
    assert label_spaces.read("k400").positions(wanted.names) == rows


def test_names_before_the_final_kinetics_release_are_found():
    k400 = label_spaces.read("k400")
    assert k400.positions(["blowing out", "stomping", "mowing the lawn by pushing lawnmower"]) == [27, 332, 201]


def test_spelling_does_not_count():
    assert label_spaces.read("k400").positions(["Blowing_Nose", "tap-dancing"]) == [26, 349]
    assert label_spaces.read("ucf101").positions(["apply eye makeup", "YoYo"]) == [0, 100]


def test_the_library_s_lists(shared):
    for ours, theirs in (("k400", "k400"), ("ucf101", "ucf101"), ("ssv2", "ssv2_174")):
        with (shared / "data" / "classes" / f"{theirs}.csv").open(encoding="utf-8") as file:
            assert label_spaces.read(ours).names == tuple(row["name"] for row in csv.DictReader(file))


def test_k400_is_the_order_of_torchvision_s_weights():
    from torchvision.models import get_weight

    for name in ("R2Plus1D_18_Weights", "S3D_Weights", "MViT_V2_S_Weights", "Swin3D_B_Weights"):
        assert tuple(get_weight(f"{name}.KINETICS400_V1").meta["categories"]) == label_spaces.read("k400").names


def test_classes_that_are_not_there_are_named():
    with pytest.raises(label_spaces.LabelSpaceError, match="2 of 3 classes are not in the label space: whale song, chopping"):
        label_spaces.read("k400").positions(["singing", "whale song", "chopping"])


def test_a_user_s_list(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("index,name\n1,b\n0,a\n", encoding="utf-8")
    assert label_spaces.read(str(path)).names == ("a", "b")
    path.write_text("index,name\n1,b\n2,a\n", encoding="utf-8")
    with pytest.raises(label_spaces.LabelSpaceError, match="count from 0"):
        label_spaces.read(str(path))
    path.write_text("id,class\n1,b\n", encoding="utf-8")
    with pytest.raises(label_spaces.LabelSpaceError, match=r"expected the columns index, name; .*\['id', 'class'\]"):
        label_spaces.read(str(path))
    with pytest.raises(label_spaces.LabelSpaceError, match=r"no label space 'k600'; .*k400, kinetics50, kinetics_sounds_31"):
        label_spaces.read("k600")


def test_identity_depends_on_order():
    assert label_spaces.identity(["a", "b"]) != label_spaces.identity(["b", "a"])
    assert label_spaces.identity(["a", "b"]).startswith("2-")


def test_names_must_be_there_once_and_not_be_empty(tmp_path):
    path = tmp_path / "space.csv"
    path.write_text("index,name\n0,a\n1,a\n2,\n")
    with pytest.raises(label_spaces.LabelSpaceError, match="once and not be empty: 'a', ''"):
        label_spaces.read(str(path))


def test_a_finder_takes_the_name_itself_before_one_that_is_spelt_otherwise():
    find = label_spaces.Finder(["C", "C++", "Violin, fiddle"])
    assert [find(text) for text in ("C", "C++", "violin_fiddle", "viola")] == ["C", "C++", "Violin, fiddle", None]
