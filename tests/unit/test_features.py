"""Features on disk: rows of clips in order, files that belong together, and published files of which none is trusted."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot import contracts, feature_import, features, plugins
from earshot.contracts import ContractError
from earshot.errors import MediaError, SetupError

IDS = ["videos/a", "videos/b", "videos/c"]


def stored(folder, made, ids=IDS, shape=(10, 4), **more):
    features.write(iter(made), ids, shape, {"extractor": "x"}, folder / "f.npy", folder / "f.parquet", **more)
    return features.read(folder / "f.npy")


def clips_table(path, clip_ids):
    row = dict.fromkeys((f.name for f in contracts.CLIPS), 0)
    text = {"video": "", "sha256": "", "problem": "", "source": "", "group": "", "split": "test"}
    rows = [{**row, **text, "available": False, "clip_id": clip_id} for clip_id in clip_ids]
    contracts.write(rows, contracts.CLIPS, path, {})
    return path


def test_rows_come_back_in_the_order_of_the_clips_and_a_missing_one_is_zeros(tmp_path):
    a, c = (np.random.default_rng(i).standard_normal((10, 4)).astype(np.float32) for i in range(2))
    found = stored(tmp_path, [a, MediaError("missing: no such file"), c])
    assert found.array.dtype == np.float32 and isinstance(found.array, np.memmap)
    assert np.array_equal(found.array, np.stack([a, np.zeros_like(a), c]))
    assert found.available.tolist() == [True, False, True]
    assert found.problems == ("", "missing: no such file", "")
    assert found.facts["extractor"] == "x" and found.facts["shape"] == [3, 10, 4]
    assert found.rows_of(["videos/c", "videos/a"]).tolist() == [2, 0]
    assert found.rows_of([]).dtype == np.int64


def test_a_clip_that_is_not_there_is_named(tmp_path):
    found = stored(tmp_path, [np.ones((10, 4))] * 3)
    with pytest.raises(ContractError, match=r"1 of 2 clips have no row among the 3.*'videos/z'"):
        found.rows_of(["videos/a", "videos/z"])


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (np.ones((9, 4)), "features of shape (9, 4), not (10, 4)"),
        (np.full((10, 4), np.nan), "features that are not finite"),
        (np.full((10, 4), np.inf), "features that are not finite"),
    ],
)
def test_bad_features_cost_their_clip_alone(tmp_path, bad, told):
    found = stored(tmp_path, [np.ones((10, 4)), bad, np.ones((10, 4))])
    assert found.problems == ("", told, "")
    assert not found.array[1].any() and found.array[[0, 2]].all()


def test_without_any_features_there_is_no_file_but_a_reason(tmp_path):
    with pytest.raises(SetupError, match="the folder is wrong; of the first clip, 'videos/a': gone"):
        stored(tmp_path, [MediaError("gone")] * 3, nothing="the folder is wrong")
    with pytest.raises(SetupError, match="no clips"):
        stored(tmp_path, [], ids=[])
    with pytest.raises(ContractError, match="features of 2 clips for a table of 3"):
        stored(tmp_path, [np.ones((10, 4))] * 2)
    assert list(tmp_path.iterdir()) == []


def test_equal_features_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        stored(tmp_path / name, [np.arange(40).reshape(10, 4)] * 3)
    for name in ("f.npy", "f.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_array_and_a_table_that_do_not_belong_together_are_refused(tmp_path):
    """Of another shape, of another kind, of equal shape but other numbers; cut off; and absent."""
    stored(tmp_path, [np.full((10, 4), 2.0)] * 3)
    array, table = tmp_path / "f.npy", tmp_path / "f.parquet"
    first, whole = array.read_bytes(), table.read_bytes()
    for other, told in (
        (np.zeros((2, 10, 4), np.float32), r"holds shape \[2, 10, 4\], float32, but .* shape \[3, 10, 4\]"),
        (np.zeros((3, 10, 4)), r"float64, but .* float32"),
        (np.full((3, 10, 4), 3, np.float32), "but .* other numbers for 3 clips"),
    ):
        np.save(array, other)
        with pytest.raises(ContractError, match=told):
            features.read(array)
    for broken in (first[:-7], first[:5], b""):
        array.write_bytes(broken)
        with pytest.raises(ContractError, match="no whole array"):
            features.read(array)
    array.unlink()
    with pytest.raises(ContractError, match="no whole array"):
        features.read(array)
    array.write_bytes(first)
    assert features.read(array).array[0, 0, 0] == 2 and table.read_bytes() == whole


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40).filter(any), st.integers(1, 5))
def test_what_is_written_is_read(tmp_path_factory, usable, dim):
    folder = tmp_path_factory.mktemp("store")
    rows = [np.full((10, dim), i + 1.0) if good else MediaError(f"{i}") for i, good in enumerate(usable)]
    found = stored(folder, rows, [f"c{i}" for i in range(len(rows))], (10, dim))
    assert found.available.tolist() == usable
    assert (found.array == np.where(usable, np.arange(len(rows)) + 1, 0)[:, None, None]).all()


# --- published files --------------------------------------------------------------------------------------------------


def published(root, plugin, arrays):
    folder = root / plugins.load("extractors", plugin).FILES
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def imported(root, out, clip_ids, plugin="vggish", options=None, id_length=11, threads=1):
    clips = clips_table(out / "clips.parquet", clip_ids)
    files = (out / "f.npy", out / "f.parquet")
    features.import_files(plugin, options or {}, str(root), str(clips), id_length, threads, *map(str, files))
    return features.read(files[0])


def test_published_files_are_found_by_the_id_whatever_it_holds(tmp_path):
    """Ids hold dashes, underscores and dots after them; the video may be gone."""
    ids = ["videos/-a_b-c_d__1_30_40", "videos/AP0061o0Nvk_101.8_111.8"]
    arrays = {"-a_b-c_d__1": np.ones((10, 128), np.float32), "AP0061o0Nvk": np.full((10, 128), 2.0, np.float16)}
    published(tmp_path, "vggish", arrays)
    found = imported(tmp_path, tmp_path, ids)
    assert found.available.all() and found.array[:, 0, 0].tolist() == [1, 2] and found.array.dtype == np.float32
    assert found.facts["extractor"] == "vggish" and found.facts["origin"] == "files"
    whole = {"-a_b-c_d__1_30_40": np.ones((10, 128)), "AP0061o0Nvk_101.8_111.8": np.ones((10, 128))}
    (tmp_path / "whole").mkdir()
    published(tmp_path / "whole", "vggish", whole)
    assert imported(tmp_path / "whole", tmp_path, ids, id_length=0, threads=3).available.all()


def test_every_bad_file_costs_its_clip_alone_and_is_told(tmp_path):
    good = np.ones((10, 128), np.float32)
    folder = published(
        tmp_path,
        "vggish",
        {
            "good": good, "shape": np.ones((80, 128)), "flat": np.ones(1280), "integers": good.astype(int),
            "nan": np.full((10, 128), np.nan), "huge": np.full((10, 128), 1e300), "cut": good, "halves": good.astype(">f2"),
            "fortran": np.asfortranarray(np.arange(1280.0).reshape(10, 128)), "complex": good * 1j,
        },
    )  # fmt: skip
    whole = (folder / "cut.npy").read_bytes()
    (folder / "cut.npy").write_bytes(whole[:-100])
    (folder / "head.npy").write_bytes(whole[:30])
    (folder / "empty.npy").write_bytes(b"")
    (folder / "pointer.npy").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "folder.npy").mkdir()
    np.save(folder / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (folder / "pickle.npy").write_bytes(pickle.dumps(good))
    np.savez(folder / "archive", good)
    (folder / "archive.npz").rename(folder / "archive.npy")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (10**12, 128), }"
    (folder / "bomb.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    names = [
        "good",
        "halves",
        "fortran",
        *sorted({file.stem for file in folder.iterdir()} - {"good", "halves", "fortran"}),
        "absent",
    ]
    found = imported(tmp_path, tmp_path, names, id_length=0)
    told = dict(zip(names, found.problems, strict=True))
    assert [name for name in names if not told[name]] == ["good", "halves", "fortran"]
    assert found.array[2].ravel().tolist() == list(range(1280))
    assert told["absent"] == "missing: no file 'feats/vggish/absent.npy'"
    assert told["shape"] == "'feats/vggish/shape.npy' holds shape (80, 128), not (10, 128)"
    assert told["flat"] == "'feats/vggish/flat.npy' holds shape (1280,), not (10, 128)"
    assert told["integers"] == "'feats/vggish/integers.npy' holds int64, not floating-point numbers"
    assert "complex" in told["complex"]
    assert told["nan"] == told["huge"] == "features that are not finite"
    broken = ("cut", "head", "empty", "pointer", "folder", "objects", "pickle", "archive", "bomb")
    assert all(told[name].startswith(f"'feats/vggish/{name}.npy' is cut off, or no .npy file of numbers: ") for name in broken)
    assert str(tmp_path) not in json.dumps(told), "no path of this machine"
    assert set(names) == {"good", "halves", "fortran", "absent", "shape", "flat", "integers", "complex", "nan", "huge", *broken}


def test_nothing_in_a_file_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    folder = published(tmp_path, "vggish", {"good": np.ones((10, 128))})
    np.save(folder / "evil.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    (folder / "evil2.npy").write_bytes(pickle.dumps(Evil()))
    found = imported(tmp_path, tmp_path, ["good", "evil", "evil2"], id_length=0)
    assert found.available.tolist() == [True, False, False] and not (tmp_path / "ran").exists()


def test_without_any_usable_file_the_folder_and_an_example_are_named(tmp_path):
    told = r"feats/vggish' holds no file that can be used; one should be called 'AP0061o0Nvk.npy' .*missing"
    with pytest.raises(SetupError, match=told):
        imported(tmp_path, tmp_path, ["videos/AP0061o0Nvk_101.8_111.8"])


def test_clips_that_would_share_a_file_are_refused(tmp_path):
    with pytest.raises(SetupError, match=r"'v/train_00001_a' and 'v/train_00001_b' would both be read from 'train_00001.npy'"):
        imported(tmp_path, tmp_path, ["v/train_00001_a", "v/train_00001_b"])


def test_the_first_eleven_characters_tell_the_clips_of_llp_apart(shared):
    lines = (shared / "data" / "llp" / "AVVP_dataset_full.csv").read_text(encoding="utf-8").splitlines()[1:]
    names = feature_import.file_names([f"videos/{line.split()[0]}" for line in lines], 11)
    assert len(set(names)) == 11_849 and all(len(name) == 15 for name in names)


def test_an_extractor_without_published_files_says_so(tmp_path):
    with pytest.raises(SetupError, match="extractor 'tagger' has no published files"):
        imported(tmp_path, tmp_path, ["a"], plugin="tagger")


@pytest.mark.parametrize(
    ("plugin", "shape", "dim"),
    [
        ("vggish", (10, 128), 128),
        ("resnet152", (80, 2048), 2048),
        ("r2plus1d", (10, 512), 512),
        ("clip", (10, 768), 768),
        ("clap", (64, 768), 768),
    ],
)
def test_published_layouts_become_ten_rows(tmp_path, plugin, shape, dim):
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    published(tmp_path, plugin, {"AP0061o0Nvk": array})
    found = imported(tmp_path, tmp_path, ["videos/AP0061o0Nvk_1_11"], plugin)
    assert found.array.shape == (1, 10, dim) and found.available.all()
    if shape == (10, dim):
        assert np.array_equal(found.array[0], array)
    if plugin == "resnet152":
        np.testing.assert_allclose(found.array[0], array.reshape(10, 8, dim).astype(np.float64).mean(1), rtol=1e-6, atol=1e-7)
