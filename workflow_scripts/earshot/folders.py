"""What a user's folder holds, without opening a file; imported when the Snakefile is read."""

from pathlib import Path

from earshot.files import fingerprint


def listing(root: str) -> str:
    """Fingerprint of names, sizes and times of all files below a folder; raises FileNotFoundError if there is none."""
    folder = Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"dataset folder '{root}' does not exist; correct `root` in `datasets:`")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return fingerprint([[path.relative_to(folder).as_posix(), *_size_and_time(path)] for path in files])


def _size_and_time(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns
