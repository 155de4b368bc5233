"""What a user's folder holds, without opening a file; imported when the Snakefile is read."""

from pathlib import Path

from earshot.files import fingerprint

# what the workflow itself writes into `<data>/<dataset>`, which may be the folder of the user's files as well
_TABLES = ("clips", "classes", "events", "questions", "masks", "findings")
_OWN_FILES = frozenset({*(f"{name}.parquet" for name in _TABLES), "prepared.json", "downloaded.json", "probed.jsonl"})
_OWN_FOLDERS = frozenset({"audio", "class_vectors", "downloads", "features", "pseudo_labels", "segments"})


def listing(root: str, key: str, shared: bool = False) -> str:
    """Fingerprint of names, sizes and times of all files below a folder, which the config names under `key`.

    `shared`: the workflow writes there too; its own files do not count. Raises FileNotFoundError if there is no such folder.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder '{root}' does not exist; make it, or correct `root` in `{key}`")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    places = [(path, path.relative_to(folder)) for path in files]
    counted = [(path, place) for path, place in places if not (shared and _is_own(place))]
    return fingerprint([[place.as_posix(), *_size_and_time(path)] for path, place in counted])


def _is_own(place: Path) -> bool:
    return place.parts[0] in (_OWN_FOLDERS if len(place.parts) > 1 else _OWN_FILES)


def _size_and_time(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns
