"""Where published weights come from.

A checkpoint is described by plain values: exactly one of

* `path`: a local file, or a local folder for a model of several files;
* `url`, with its `sha256`;
* `hub`: a repository of the Hugging Face Hub, with `files` (default: model.safetensors) and `revision` (default: main);
* `torchvision`: such as `R2Plus1D_18_Weights.KINETICS400_V1`;

and, where it is known, `sha256` of the weights file.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from earshot.downloads import checked_digest, checked_url, download, download_from_hub
from earshot.errors import SetupError
from earshot.files import sha256_of_file

_SUFFIXES = (".safetensors", ".pth", ".pth.tar", ".pt", ".bin")

Found = tuple[Path, Path, str]  # weights file, folder of its companions, origin


def fetch(spec: Mapping[str, Any], folder: str | Path, offline: bool) -> dict[str, str]:
    """Make a checkpoint available, in `folder` unless it is local already, and return what it is.

    The result: `file` (the weights), `folder` (its companions, such as a tokenizer), `sha256` of the file, and `origin`.
    Raises SetupError for a description or a local file that is wrong, DownloadError for one that cannot be had.
    """
    given = [name for name in _SOURCES if spec.get(name)]
    if len(given) != 1:
        told = ", ".join(given) or "none of them"
        raise SetupError(f"a checkpoint needs exactly one of {', '.join(_SOURCES)}; this one has {told}")
    file, companions, origin = _SOURCES[given[0]](spec, Path(folder), offline)
    wanted = checked_digest(spec.get("sha256") or "", may_be_empty=True)
    found = sha256_of_file(file)
    if not found.startswith(wanted):
        raise SetupError(f"checkpoint '{file}': its sha256 is {found}, not {wanted}; correct the one or replace the other")
    return {
        "file": str(file),
        "folder": str(companions),
        "sha256": found,
        "origin": origin,
    }


def _from_path(spec: Mapping[str, Any], folder: Path, offline: bool) -> Found:
    path = Path(spec["path"]).expanduser()
    if path.is_dir():
        return _weights_among([p for p in path.iterdir() if p.is_file()], str(path)), path, f"path {path.name}"
    if not path.is_file():
        raise SetupError(f"checkpoint '{path}' does not exist")
    return path, path.parent, f"path {path.name}"


def _from_url(spec: Mapping[str, Any], folder: Path, offline: bool) -> Found:
    url = checked_url(spec["url"])
    name, host = _name_in(url), urlsplit(url).hostname
    if not spec.get("sha256"):
        raise SetupError(f"checkpoint '{name}' from {host}: a `url` needs the `sha256` of its file")
    return download(url, folder / name, spec["sha256"], offline=offline), folder, f"url {host}/{name}"


def _from_hub(spec: Mapping[str, Any], folder: Path, offline: bool) -> Found:
    files, revision = list(spec.get("files") or ["model.safetensors"]), spec.get("revision") or "main"
    origin = f"hub {spec['hub']}@{revision}"
    weights = _weights_among([Path(name) for name in files], origin)  # before anything is downloaded
    paths = download_from_hub(spec["hub"], files, revision, folder, offline)
    return paths[files.index(str(weights))], folder, origin


def _from_torchvision(spec: Mapping[str, Any], folder: Path, offline: bool) -> Found:
    from torchvision import models

    name = spec["torchvision"]
    try:
        url = models.get_weight(name).url
    except (ValueError, KeyError, AttributeError) as error:
        raise SetupError(
            f"torchvision has no weights '{name}'; a name is such as R2Plus1D_18_Weights.KINETICS400_V1"
        ) from error
    file = _name_in(url)
    marked = re.search(r"-([0-9a-f]{8,64})\.\w+$", file)  # the start of its sha256
    sha256 = spec.get("sha256") or (marked[1] if marked else "")
    if not sha256:
        raise SetupError(f"torchvision {name}: its file '{file}' has no checksum in its name; give its `sha256`")
    return download(url, folder / file, sha256, offline=offline), folder, f"torchvision {name}"


_SOURCES: dict[str, Callable[[Mapping[str, Any], Path, bool], Found]] = {
    "path": _from_path,
    "url": _from_url,
    "hub": _from_hub,
    "torchvision": _from_torchvision,
}


def _name_in(url: str) -> str:
    """The file name in an address."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return "weights" if name in ("", "..") else name


def _weights_among(paths: list[Path], where: str) -> Path:
    """The weights among files: `model.safetensors`, else the only one with the suffix of one. Raises SetupError."""
    weights = sorted(path for path in paths if path.name.endswith(_SUFFIXES))
    named = [path for path in weights if path.name == "model.safetensors"]
    found = named or weights
    if len(found) == 1:
        return found[0]
    listed = ", ".join(path.name for path in found)
    told = f"several files of weights: {listed}" if found else f"no {', '.join(_SUFFIXES)} file"
    raise SetupError(f"checkpoint {where}: {told}; exactly one, or one model.safetensors, is needed")
