"""Probing many files: in parallel, once each, and so that neither a kill nor a file that crashes its decoder loses the others.

What is found goes into a journal, line by line, as it comes; a later call probes only files that are new or changed. Results
are the same whatever the journal held and however many workers there are.
"""

import faulthandler
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import IO, Any

from earshot import digests, prepared
from earshot.datasets import Parts
from earshot.errors import MediaError
from earshot.files import fingerprint, sha256_of_file, write_text

_CHUNK = 16  # files that travel to a worker at a time: what a crash makes suspicious
_AHEAD = 2  # chunks for each worker that are under way or waiting
_EVERY = 10.0  # seconds between two lines of progress
NOTHING = {"frames": 0, "duration": 0.0, "fps": 0.0, "width": 0, "height": 0, "audio_rate": 0, "level": float("nan")}

Facts = dict[str, Any]
Target = tuple[Path, Parts]


def probe_one(target: Target) -> Facts:
    """What is in a clip's files: the columns of a clip that do not come from a list; `problem` says why it is unavailable."""
    video, parts = target
    try:
        found = prepared.probe(video, parts)
    except MediaError as error:
        return {**NOTHING, "sha256": _digest(video, parts), "available": False, "problem": str(error)}
    return {
        "frames": found.frames, "duration": found.duration, "fps": found.fps, "width": found.width, "height": found.height,
        "audio_rate": found.audio_rate, "level": found.level, "sha256": _digest(video, parts), "available": True,
        "problem": found.remark,
    }  # fmt: skip


def _digest(video: Path, parts: Parts) -> str:
    """SHA-256 of a clip's file or, if it has several, of theirs; empty if there is none."""
    found = [path for path in prepared.files(video, parts) if path.is_file()]
    digests_found = [sha256_of_file(path) for path in found]
    return digests_found[0] if parts == Parts() and digests_found else fingerprint(digests_found) if digests_found else ""


def probe_files(
    targets: Sequence[Target], workers: int, journal: str | Path = "", limit_s: float = 120.0, named: str = "probed"
) -> list[Facts]:
    """The facts of every target, in order; files that are there several times are probed once.

    `limit_s` is how long one file may take. A file whose decoder dies, or takes longer, is unavailable for that reason.
    """
    keys = [_key(target) for target in targets]
    with _Journal(journal) as known:
        todo = {key: target for key, target in zip(keys, targets, strict=True) if key not in known.found}
        if len(todo) < len(set(keys)):
            print(f"{named}: {len(set(keys)) - len(todo)} of {len(set(keys))} are known from the journal", flush=True)
        work = partial(_probe_chunk, limit_s=limit_s)
        for key, facts in _watched(_probed(list(todo.items()), work, workers, limit_s), len(todo), named):
            known.add(key, facts)
        known.keep(keys)
        return [dict(known.found[key]) for key in keys]


def _key(target: Target) -> str:
    """All that decides what probing finds, apart from bytes that change without size and time."""
    video, parts = target
    return fingerprint([[str(path), *_stamp(path)] for path in prepared.files(video, parts)] + [parts.seconds, parts.rate])


def _stamp(path: Path) -> list[int]:
    try:
        facts = path.stat()
    except OSError:
        return []
    return [facts.st_size, facts.st_mtime_ns]


class _Journal:
    """Facts by key, in memory and, with a path, in a file of one JSON object a line; lines of other code are left behind."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path) if path else None
        self.code = digests.of("probing:probe_one")
        self.found: dict[str, Facts] = {}
        self._file: IO[str] | None = None

    def __enter__(self) -> "_Journal":
        if self.path is None:
            return self
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = True
        for line in self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []:
            whole = line.endswith(b"\n")
            self._take(line)
        self._file = self.path.open("a", encoding="utf-8")
        if not whole:  # the line that a killed run was writing
            self._file.write("\n")
        return self

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            if entry["code"] == self.code:
                self.found[entry["key"]] = entry["facts"]
        except (ValueError, KeyError, TypeError):
            pass  # half a line: the file is probed again

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, key: str, facts: Facts) -> None:
        """Keep what was found, in the file as well."""
        self.found[key] = facts
        if self._file:
            self._file.write(self._line(key))
            self._file.flush()

    def keep(self, keys: Sequence[str]) -> None:
        """Leave in the file only what is still asked for."""
        if self.path:
            write_text(self.path, "".join(map(self._line, dict.fromkeys(keys))))

    def _line(self, key: str) -> str:
        return json.dumps({"code": self.code, "key": key, "facts": self.found[key]}) + "\n"


Pair = tuple[str, Target]
Work = Callable[[Sequence[Pair]], list[tuple[str, Facts]]]


def _probe_chunk(pairs: Sequence[Pair], limit_s: float) -> list[tuple[str, Facts]]:
    found = []
    for key, target in pairs:
        # ends this process even where a decoder never returns to Python
        faulthandler.dump_traceback_later(limit_s, exit=True, file=sys.__stderr__ or 2)
        try:
            found.append((key, probe_one(target)))
        finally:
            faulthandler.cancel_dump_traceback_later()
    return found


def _probed(todo: Sequence[Pair], work: Work, workers: int, limit_s: float) -> Iterator[tuple[str, Facts]]:
    """Facts as they come, in any order. A pool that breaks is replaced, and what was under way is tried file by file."""
    chunks = [todo[start : start + _CHUNK] for start in range(0, len(todo), _CHUNK)]
    while chunks:
        suspects: list[Sequence[Pair]] = []
        with ProcessPoolExecutor(min(workers, len(chunks))) as pool:
            running: dict[Future[list[tuple[str, Facts]]], Sequence[Pair]] = {}
            try:
                while chunks or running:
                    while chunks and len(running) < _AHEAD * workers:
                        running[pool.submit(work, chunks[0])] = chunks[0]
                        chunks.pop(0)
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield from future.result()
                        del running[future]
            except BrokenProcessPool:
                suspects = list(running.values())
        for chunk in suspects:
            yield from _one_by_one(chunk, work, limit_s)


def _one_by_one(pairs: Sequence[Pair], work: Work, limit_s: float) -> Iterator[tuple[str, Facts]]:
    """Each file in a process that may die of it."""
    for pair in pairs:
        try:
            with ProcessPoolExecutor(1) as pool:
                yield from pool.submit(work, [pair]).result()
        except BrokenProcessPool:
            told = f"undecodable: its decoder crashed, or took longer than {limit_s:g} s"
            yield pair[0], {**NOTHING, "sha256": _digest(*pair[1]), "available": False, "problem": told}


def _watched(results: Iterator[tuple[str, Facts]], count: int, named: str) -> Iterator[tuple[str, Facts]]:
    start = said = time.monotonic()
    for done, result in enumerate(results, 1):
        yield result
        now = time.monotonic()
        if now - said > _EVERY or done == count:
            said, rate = now, done / max(now - start, 1e-9)
            print(f"{named}: {done} of {count}, {rate:.0f} a second, about {(count - done) / rate:.0f} s left", flush=True)
