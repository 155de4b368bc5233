"""Published weights: every source, every layout of files, and files that mean harm."""

import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from earshot import checkpoints
from earshot.backbones import WeightsError
from earshot.checkpoints import fetch
from earshot.downloads import DownloadError
from earshot.errors import SetupError
from earshot.published_statistics import read as read_published_statistics
from earshot.state_files import read_state

STATE = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.zeros(2)}
NAME = "R2Plus1D_18_Weights.KINETICS400_V1"


class Trap:
    """Writes a file where it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return Path.write_text, (Path(self.marker), "code was run")


class Shell:
    """Runs a command where it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.marker}",)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_state(state):
    assert set(state) == set(STATE)
    assert all(torch.equal(state[key], STATE[key]) and not state[key].requires_grad for key in STATE)


# sources


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "local" / "weights.safetensors"
    path.parent.mkdir()
    save_file(STATE, path)
    return path


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "fetched"


@pytest.fixture
def downloaded(monkeypatch, weights):
    """Records the downloads, each of which brings `weights`."""
    calls = []

    def download(url, out, digest, *, offline):
        calls.append((url, digest, offline))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(weights.read_bytes())
        return out

    monkeypatch.setattr(checkpoints, "download", download)
    return calls


def test_a_local_file_stays_where_it_is(weights, folder):
    found = fetch({"path": str(weights)}, folder, offline=True)
    assert found == {
        "file": str(weights),
        "folder": str(weights.parent),
        "sha256": sha256(weights),
        "origin": "path weights.safetensors",
    }
    assert not folder.exists()


def test_what_is_none_is_not_given(weights, folder):
    spec = {"path": str(weights), "url": None, "hub": "", "sha256": None, "files": [], "torchvision": None}
    assert fetch(spec, folder, offline=False)["file"] == str(weights)


@pytest.mark.parametrize("digits", [8, 64])
def test_the_checksum_of_a_local_file_counts(weights, folder, digits):
    right = sha256(weights)
    assert fetch({"path": weights, "sha256": right[:digits].upper()}, folder, False)["sha256"] == right
    with pytest.raises(SetupError, match=f"{right}, not {'0' * digits}"):
        fetch({"path": weights, "sha256": "0" * digits}, folder, False)


def test_a_path_that_is_not_there_is_named(tmp_path, folder):
    with pytest.raises(SetupError, match=r"absent\.pth' does not exist"):
        fetch({"path": str(tmp_path / "absent.pth")}, folder, False)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.safetensors", "pytorch_model.bin", "tokenizer.json"], "model.safetensors"),
        (["pytorch_model.bin", "tokenizer.json"], "pytorch_model.bin"),
        (["clip.pt"], "clip.pt"),
        (["best.pth.tar", "log.tar"], "best.pth.tar"),
        (["clip.pth", "vocab.txt", "clip.pth.part"], "clip.pth"),
        (["a.safetensors", "b.safetensors", "vocab.txt"], r"several files of weights: a\.safetensors, b\.safetensors"),
        (["vocab.txt"], "no .safetensors"),
        ([], "no .safetensors"),
    ],
)
def test_the_weights_in_a_local_folder(tmp_path, folder, names, expected):
    local = tmp_path / "clip"
    local.mkdir()
    for name in names:
        (local / name).write_bytes(b"content")
    if expected in names:
        found = fetch({"path": str(local)}, folder, True)
        assert (found["file"], found["folder"], found["origin"]) == (str(local / expected), str(local), "path clip")
        assert found["sha256"] == hashlib.sha256(b"content").hexdigest()
    else:
        with pytest.raises(SetupError, match=expected):
            fetch({"path": str(local)}, folder, True)


def test_a_folder_named_like_weights_is_no_weights(tmp_path, folder):
    (tmp_path / "clip" / "old.pth").mkdir(parents=True)
    (tmp_path / "clip" / "new.pth").write_bytes(b"content")
    assert fetch({"path": tmp_path / "clip"}, folder, True)["file"].endswith("new.pth")


def test_an_address(weights, folder, downloaded):
    url = "https://user:hunter2@host.org/a%20b/weights%20v1.pth?download=1"
    found = fetch({"url": url, "sha256": sha256(weights)}, folder, False)
    assert found["file"] == str(folder / "weights v1.pth")
    assert (found["folder"], found["sha256"]) == (str(folder), sha256(weights))
    assert found["origin"] == "url host.org/weights v1.pth"
    assert downloaded == [(url, sha256(weights), False)]


@pytest.mark.parametrize("path", ["", "/", "/..", "/%2e%2e", "/a/..%2F.."])
def test_an_address_names_no_file_outside_the_folder(weights, folder, downloaded, path):
    found = fetch({"url": f"https://host{path}", "sha256": sha256(weights)}, folder, False)
    assert Path(found["file"]) == folder / "weights"


def test_an_address_needs_a_checksum(folder, downloaded):
    with pytest.raises(SetupError, match=r"weights\.pth.*needs the `sha256`"):
        fetch({"url": "https://host/weights.pth"}, folder, False)
    assert downloaded == []


@pytest.mark.parametrize("url", ["ftp://host/x", "http://[x", "weights.pth"])
def test_an_address_must_be_one(folder, url):
    with pytest.raises(DownloadError):
        fetch({"url": url, "sha256": "0" * 64}, folder, False)


def test_offline_reaches_the_download(folder):
    with pytest.raises(DownloadError, match=r"offline.*fetched/weights\.pth"):
        fetch({"url": "https://host/weights.pth", "sha256": "0" * 64}, folder, True)


@pytest.fixture
def hub(monkeypatch):
    calls = []

    def bring(repo, files, revision, folder, offline):
        calls.append((repo, files, revision, offline))
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            (folder / name).write_text(name)
        return [folder / name for name in files]

    monkeypatch.setattr(checkpoints, "download_from_hub", bring)
    return calls


def test_a_hub_repository(folder, hub):
    found = fetch({"hub": "org/name"}, folder, False)
    assert hub == [("org/name", ["model.safetensors"], "main", False)]
    assert found["file"] == str(folder / "model.safetensors")
    assert found["origin"] == "hub org/name@main"


def test_a_hub_repository_with_companions(folder, hub):
    spec = {"hub": "org/name", "files": ["tokenizer.json", "open_clip.bin"], "revision": "abc"}
    found = fetch(spec, folder, True)
    assert hub == [("org/name", ["tokenizer.json", "open_clip.bin"], "abc", True)]
    assert (found["file"], found["folder"]) == (str(folder / "open_clip.bin"), str(folder))
    assert found["sha256"] == hashlib.sha256(b"open_clip.bin").hexdigest()
    assert found["origin"] == "hub org/name@abc"
    with pytest.raises(SetupError, match="sha256"):
        fetch({**spec, "sha256": "0" * 64}, folder, True)


def test_hub_files_must_tell_which_are_the_weights(folder, hub):
    with pytest.raises(SetupError, match="several"):
        fetch({"hub": "org/name", "files": ["a.bin", "b.bin"]}, folder, False)
    with pytest.raises(SetupError, match=r"no \.safetensors"):
        fetch({"hub": "org/name", "files": ["tokenizer.json"]}, folder, False)
    assert hub == []


def test_torchvision_names_its_file_and_checksum(folder, downloaded):
    with pytest.raises(SetupError, match="sha256"):  # what the stand-in brings is other weights
        fetch({"torchvision": NAME, "sha256": "0" * 64}, folder, False)
    fetch({"torchvision": NAME}, folder, True)
    (_, given, _), (url, taken, offline) = downloaded
    assert given == "0" * 64
    assert (url.rpartition("/")[2], taken, offline) == ("r2plus1d_18-91a641e6.pth", "91a641e6", True)
    assert fetch({"torchvision": NAME}, folder, False)["origin"] == f"torchvision {NAME}"


@pytest.mark.parametrize("name", ["R2Plus1D_18_Weights", "Nothing.V1", "R2Plus1D_18_Weights.V7", "a.b.c"])
def test_torchvision_must_know_the_weights(folder, name):
    with pytest.raises(SetupError, match="torchvision has no weights"):
        fetch({"torchvision": name}, folder, False)


def test_torchvision_weights_without_a_checksum_need_one(folder, downloaded, weights, monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr("torchvision.models.get_weight", lambda _: SimpleNamespace(url="https://host/model.pth"))
    with pytest.raises(SetupError, match="no checksum in its name"):
        fetch({"torchvision": NAME}, folder, False)
    assert fetch({"torchvision": NAME, "sha256": sha256(weights)}, folder, False)["file"] == str(folder / "model.pth")


@pytest.mark.parametrize("spec", [{}, {"sha256": "0" * 64}, {"path": "a", "url": "b"}, {"path": ""}])
def test_exactly_one_source(folder, spec):
    with pytest.raises(SetupError, match="exactly one of path, url, hub, torchvision"):
        fetch(spec, folder, False)


# files of weights


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.pth"


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


LAYOUTS = [
    STATE,
    OrderedDict(STATE),
    {"epoch": 30, "arch": "tanet", "state_dict": STATE, "best_prec1": 71.2},
    {"meta": {"config": "x = 1", "time": "now"}, "state_dict": STATE, "optimizer": {"state": {}, "param_groups": [1]}},
    {"model_state_dict": STATE},
    {"model": STATE, "optimizer": None},
    {"model": {"name": "swin"}, "net": STATE},
    {"state_dict": {key: nn.Parameter(value) for key, value in STATE.items()}},
]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("content", LAYOUTS)
def test_layouts_of_torch_files(file, content, zipped):
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    assert_state(read_state(file))


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_safetensors_by_whatever_name(tmp_path, name):
    save_file(STATE, tmp_path / name)
    assert_state(read_state(tmp_path / name))


def test_a_module_s_own_state_dict(file):
    layer = nn.BatchNorm1d(3)
    torch.save(layer.state_dict(), file)
    assert set(read_state(str(file))) == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def as_numpy_1(content):
    """Pickles of numpy 1 name its modules without underscore."""
    return content.replace(b"numpy._core.", b"numpy.core.")


@pytest.mark.parametrize("convert", [as_numpy_1, bytes])
@pytest.mark.parametrize("number", [np.float64(71.5), np.float32(1), np.int64(3), np.bool_(True), np.dtype(">f8").type(2)])
def test_numpy_scalars_beside_the_weights(file, number, convert):
    torch.save({"best_prec1": number, "state_dict": STATE}, file, _use_new_zipfile_serialization=False)
    content = convert(file.read_bytes())
    assert b"numpy.core" in content or convert is bytes
    file.write_bytes(content)
    before = set(torch.serialization.get_safe_globals())
    assert_state(read_state(file))
    assert set(torch.serialization.get_safe_globals()) == before


def test_numpy_scalars_in_zip_files(file):
    torch.save({"best_prec1": np.float64(71.5), "dtype": np.dtype("f4"), "state_dict": STATE}, file)
    assert_state(read_state(file))


@pytest.mark.parametrize("harm", [Trap, Shell])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_torch_files_is_not_run(file, marker, harm, zipped):
    torch.save({"state_dict": STATE, "extra": harm(marker)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        WeightsError, match=r"asks for (pathlib|posix|builtins|getattr)\S*, which could run code.*safetensors"
    ) as caught:
        read_state(file)
    assert "weights_only=False" not in str(caught.value) and caught.value.__cause__ is None
    assert not marker.exists()
    with open(file, "rb") as opened:  # the trap works
        torch.load(opened, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("extra", [np.zeros(3), nn.Linear(1, 1), np.array(None, object)])
def test_more_than_scalars_is_named(file, extra):
    torch.save({"state_dict": STATE, "extra": extra}, file)
    with pytest.raises(WeightsError, match=r"asks for (numpy\._core\.multiarray\._reconstruct|torch\.nn\.modules\S*),"):
        read_state(file)


def test_entries_that_are_no_tensors_are_listed(file):
    torch.save({"state_dict": {**STATE, "epoch": 3, "name": "x"}}, file)
    with pytest.raises(WeightsError, match=r"no tensors: epoch \(int\), name \(str\)$"):
        read_state(file)
    torch.save({**STATE, **{f"n{i}": i for i in range(20)}}, file)
    with pytest.raises(WeightsError, match=r"n7 \(int\) and 12 more$"):
        read_state(file)


@pytest.mark.parametrize(
    "content", [{"epoch": 3}, {}, [torch.zeros(1)], torch.zeros(1), {"state_dict": {}}, {"a": {"b": STATE}}, None]
)
def test_no_tensors(file, content):
    torch.save(content, file)
    with pytest.raises(WeightsError, match=r"model\.pth' holds no tensors"):
        read_state(file)


def test_no_tensors_in_safetensors(tmp_path):
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="holds no tensors"):
        read_state(tmp_path / "model.safetensors")


OTHER_CONTENT = [
    (b"", "is empty"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n", "git lfs pull"),
    (b"\n  <!DOCTYPE html>\n<html>", "web page"),
    (b"\xef\xbb\xbf<html><body>Sign in", "web page"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied', "web page"),
    (b'{"error": "not found"}', "no file of weights"),
    (b"plain text", "no file of weights"),
    (b"\x00" * 2000, "no file of weights"),
    (b"\x80", "damaged"),
    (b"PK\x03\x04" + b"\x00" * 100, "damaged"),
]


@pytest.mark.parametrize(("content", "told"), OTHER_CONTENT)
def test_what_is_no_weights_is_named(file, content, told):
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"model\.pth.*{told}"):
        read_state(file)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated_files(file, kind, share):
    state = {"fc.weight": torch.zeros(100, 100)}
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match=r"model\.pth' is (truncated|damaged|no file of weights, or damaged)"):
        read_state(file)


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(WeightsError, match="does not exist"):
            read_state(path)


@pytest.mark.filterwarnings("ignore:.*TorchScript")
def test_other_archives(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    with pytest.raises(WeightsError, match="no torch file"):
        read_state(file)
    with tarfile.open(file, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
        archive.addfile(tarfile.TarInfo("tensors"))
        archive.addfile(tarfile.TarInfo("pickle"))
    with pytest.raises(WeightsError, match=r"very old tar archive.*safetensors"):
        read_state(file)
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), str(file))
    with pytest.raises(WeightsError, match=r"TorchScript archive.*safetensors"):
        read_state(file)


# published statistics

LAYERS = {"layer1.bn": 4, "layer2.bn": 8, "layer3.bn": 3}


def vectors(layers=LAYERS, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random(n, dtype=np.float32) for n in layers.values()]


def objects(items):
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


def save_npy(path, array, protocol=4, convert=bytes):
    """What np.save wrote in its various versions."""
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(convert(pickle.dumps(array, protocol=protocol)))


@pytest.fixture
def mean(tmp_path):
    return tmp_path / "mean.npy"


@pytest.fixture
def var(tmp_path):
    np.save(tmp_path / "var.npy", objects(vectors(seed=1)), allow_pickle=True)
    return tmp_path / "var.npy"


def assert_statistics(found, means=None, layers=LAYERS):
    assert list(found) == list(layers)
    for (mean, var), m, v in zip(found.values(), means or vectors(layers), vectors(layers, 1), strict=True):
        assert (mean.dtype, var.dtype) == (torch.float32, torch.float32)
        assert torch.equal(mean, torch.from_numpy(m)) and torch.equal(var, torch.from_numpy(v))


def test_statistics_as_np_save_writes_them(mean, var):
    np.save(mean, objects(vectors()), allow_pickle=True)
    assert_statistics(read_published_statistics(mean, str(var), LAYERS))


@pytest.mark.parametrize("convert", [as_numpy_1, bytes])
@pytest.mark.parametrize("protocol", [2, 3])  # later ones count the bytes of names
def test_statistics_of_either_numpy(mean, var, protocol, convert):
    save_npy(mean, objects(vectors()), protocol, convert)
    assert (b"numpy.core" in mean.read_bytes()) == (convert is as_numpy_1)
    assert_statistics(read_published_statistics(mean, var, LAYERS))


@pytest.mark.parametrize("protocol", range(6))
def test_statistics_in_every_protocol(mean, var, protocol):
    save_npy(mean, objects(vectors()), protocol)
    assert_statistics(read_published_statistics(mean, var, LAYERS))


def test_statistics_of_python_2(mean, var):
    """Its pickles hold bytes as text."""

    class Old(pickle._Pickler):
        def save_bytes(self, obj):
            self.write(pickle.BINSTRING + struct.pack("<i", len(obj)) + obj)
            self.memoize(obj)

    Old.dispatch = {**pickle._Pickler.dispatch, bytes: Old.save_bytes}
    buffer = io.BytesIO()
    Old(buffer, 2).dump(objects(vectors()))
    with open(mean, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (3,)})
        file.write(as_numpy_1(buffer.getvalue()))
    assert b"_codecs" not in mean.read_bytes()
    assert_statistics(read_published_statistics(mean, var, LAYERS))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", object])
def test_statistics_of_layers_that_are_all_equal(mean, tmp_path, dtype):
    """Lists of equally long arrays become a matrix."""
    layers = dict.fromkeys("abc", 4)
    np.save(mean, np.array(vectors(layers)).astype(dtype), allow_pickle=True)
    np.save(tmp_path / "var.npy", np.asfortranarray(np.array(vectors(layers, 1)).astype(dtype)), allow_pickle=True)
    assert_statistics(read_published_statistics(mean, tmp_path / "var.npy", layers), layers=layers)


@pytest.mark.parametrize(
    "change",
    [lambda v: v.astype(np.float64), lambda v: v.astype(">f4"), list, lambda v: v.tolist(), lambda v: np.stack([v, v])[1]],
)
def test_statistics_of_other_types_are_converted(mean, var, change):
    save_npy(mean, objects([change(v) for v in vectors()]), 2)
    assert_statistics(read_published_statistics(mean, var, LAYERS))


def test_one_layer_is_no_special_case(mean, tmp_path):
    np.save(mean, objects(vectors({"a": 4})), allow_pickle=True)
    np.save(tmp_path / "var.npy", np.array(vectors({"a": 4}, 1)))
    assert_statistics(read_published_statistics(mean, tmp_path / "var.npy", {"a": 4}), layers={"a": 4})


@pytest.mark.parametrize(("n", "names"), [(53, "TANet"), (52, "Swin-B")])
def test_the_number_of_arrays_must_fit(mean, tmp_path, n, names):
    layers = {f"{names}.{i}": 2 + i for i in range(n)}
    np.save(mean, objects(vectors(layers)), allow_pickle=True)
    np.save(tmp_path / "var.npy", objects(vectors(layers, 1)), allow_pickle=True)
    assert len(read_published_statistics(mean, tmp_path / "var.npy", layers)) == n
    with pytest.raises(WeightsError, match=rf"mean\.npy' holds {n} arrays; the model has {n + 1} layers"):
        read_published_statistics(mean, tmp_path / "var.npy", {**layers, "more": 3})
    with pytest.raises(WeightsError, match=rf"mean\.npy' holds {n} arrays; the model has {n - 1} layers"):
        read_published_statistics(mean, tmp_path / "var.npy", dict(list(layers.items())[:-1]))


def test_the_length_of_every_array_must_fit(mean, var):
    items = vectors()
    np.save(mean, objects([items[0], items[2], np.zeros((3, 1), np.float32)]), allow_pickle=True)
    told = r"array 1 \(layer layer2\.bn\) has shape \(3,\), expected \(8,\), array 2 \(layer layer3\.bn\) has shape \(3, 1\)"
    with pytest.raises(WeightsError, match=told):
        read_published_statistics(mean, var, LAYERS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("which", ["mean", "var"])
def test_numbers_must_be_finite(tmp_path, mean, var, value, which):
    np.save(mean, objects(vectors()), allow_pickle=True)
    items = [v.astype(np.float64) for v in vectors()]
    items[1][5] = value
    np.save(tmp_path / f"{which}.npy", objects(items), allow_pickle=True)
    with pytest.raises(WeightsError, match=rf"{which}\.npy': array 1 \(layer layer2\.bn\) holds numbers that are not finite"):
        read_published_statistics(mean, var, LAYERS)


def test_variances_must_not_be_negative(mean, var):
    np.save(mean, objects([-v for v in vectors()]), allow_pickle=True)
    read_published_statistics(mean, var, LAYERS)
    np.save(var, objects([*vectors()[:2], np.array([0, 1, -0.5], np.float32)]), allow_pickle=True)
    with pytest.raises(WeightsError, match=r"var\.npy': array 2 \(layer layer3\.bn\) holds a negative variance: -0\.5"):
        read_published_statistics(mean, var, LAYERS)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("harm", [Trap, Shell])
def test_code_in_statistics_is_not_run(mean, var, marker, harm, protocol):
    array = objects([*vectors()[:2], harm(marker)])
    save_npy(mean, array, protocol)
    with pytest.raises(WeightsError, match=r"mean\.npy.*it asks for \S+, which could run code"):
        read_published_statistics(mean, var, LAYERS)
    assert not marker.exists()
    np.load(mean, allow_pickle=True)  # the trap works
    assert marker.exists()


def pickled(*operations):
    return b"\x80\x02" + b"".join(operations) + b"."


def string(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def array_of(dtype, flags, content):
    """A pickled array of one element, whose dtype has the given flags."""
    kind = b"cnumpy\ndtype\n" + string(dtype) + b"\x89\x88\x87R"
    kind += b"(K\x03" + string("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK" + bytes([flags]) + b"tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + string("b") + b"\x87R"
    return empty + b"(K\x01K\x01\x85" + kind + b"\x89" + content + b"tb"


ADDRESS = b"c_codecs\nencode\n" + string("A" * 8) + string("latin1") + b"\x86R"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (pickled(array_of("O8", 0, ADDRESS)), "without a list"),  # numpy itself would follow the bytes as an address
        (pickled(array_of("O8", 63, b"]")), "reshape"),
        (pickled(array_of("V8", 0, ADDRESS)), "type V8"),
        (pickled(array_of("f8,O", 0, ADDRESS)), "type f8,O"),
        (pickled(array_of("f4", 0, b"]")), "bytes-like"),
        (pickled(array_of("f4", 63, ADDRESS)), "reshape"),  # two numbers for a shape of one
        (pickled(b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n", string("O"), b"\x85R", ADDRESS, b"\x86R"), "OBJECT array"),
        (pickled(b"c_codecs\nencode\n", string("A" * 8), string("rot13"), b"\x86R"), "bytes by rot13"),
        (pickled(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\nK\x00\x85", string("b"), b"\x87R"), "another class"),
        (pickled(b"cnumpy\nndarray\n"), "shape"),
        (pickled(b"cnumpy\nndarray\n)\x81"), "plain"),  # an array that was never filled
        (pickled(b"cnumpy\nload\n", string("x"), b"\x85R"), r"asks for numpy\.load"),
        (pickled(b"cnumpy\ndtype.type\n"), r"asks for numpy\.dtype\.type"),
        (pickled(string("text")), "shape"),
        (pickled(b"N"), "shape"),
        (pickled(b"}"), "shape"),
        (pickled(b"]q\x00h\x00a"), "dimension"),  # a list that holds itself
        (b"", r"no \.npy file"),
        (b"\x80", r"no \.npy file"),
        (b"not a pickle", r"no \.npy file"),
    ],
)
def test_odd_pickles_are_refused(mean, var, content, told):
    with open(mean, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        file.write(content)
    with pytest.raises(WeightsError, match=rf"mean\.npy.*{told}"):
        read_published_statistics(mean, var, {"a": 1})


def test_the_odd_pickles_are_well_made(mean, tmp_path):
    """One that is right is read, so that the others are refused for what is wrong in them."""
    number = b"c_codecs\nencode\n" + string("\0\0\x40\x40") + string("latin1") + b"\x86R"
    for path in (mean, tmp_path / "var.npy"):
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
            file.write(pickled(array_of("O8", 63, b"]" + array_of("f4", 0, number) + b"a")))
    (mean_found, _) = read_published_statistics(mean, tmp_path / "var.npy", {"a": 1})["a"]
    assert mean_found.tolist() == [3.0]


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((2, 2, 2)), "shape"),
        (np.float32(1), "shape"),
        (np.array(["a", "b", "c"]), "no array of numbers"),
        (objects([{}, {}, {}]), "no array of numbers"),
        (np.array({"a": 1}, object), "shape"),
        (np.zeros(3, "f4,i4"), "no array of numbers"),
    ],
)
def test_other_arrays_are_refused(mean, var, array, told):
    np.save(mean, array, allow_pickle=True)
    with pytest.raises(WeightsError, match=rf"mean\.npy.*{told}"):
        read_published_statistics(mean, var, LAYERS)


@pytest.mark.parametrize("share", [0.03, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("array", [objects(vectors()), np.zeros((3, 500), np.float32)])
def test_truncated_statistics(mean, var, array, share):
    np.save(mean, array, allow_pickle=True)
    whole = mean.read_bytes()
    mean.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match=r"mean\.npy' is no \.npy file"):
        read_published_statistics(mean, var, LAYERS)


@pytest.mark.parametrize(
    ("content", "told"), [*OTHER_CONTENT[:5], (b"text", r"no \.npy file"), (b"\x93NUMPY\x07\x00", "version")]
)
def test_what_is_no_statistics_is_named(mean, var, content, told):
    mean.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"mean\.npy.*{told}"):
        read_published_statistics(mean, var, LAYERS)


def test_statistics_that_are_not_there(mean, var):
    with pytest.raises(WeightsError, match=r"mean\.npy' does not exist"):
        read_published_statistics(mean, var, LAYERS)
