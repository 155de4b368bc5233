"""Getting hold of a dataset: what its plug-in names is fetched, or taken where the user dropped it, verified and laid out.

In the dataset's folder `downloads` lie archives and other files on their way, those that were dropped by hand, and
`ledger.jsonl`, which is written after every file: a killed run goes on where it was. Nothing counts as there before it is
whole. A checksum that nobody published is kept from the first time, and a file that is another one later is refused.
"""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from earshot import origins
from earshot.archives import ArchiveError, unpack
from earshot.datasets import Dataset, Source
from earshot.downloads import DownloadError, NotThereError
from earshot.files import alone, fingerprint, sha256_of_file, write_json, write_text
from earshot.origins import ToolMissingError

OK, UNAVAILABLE, FETCHED = "ok", "unavailable", "fetched"
_EVERY = 10.0  # s between two lines of progress
_TOLD = ("status", "reason", "to", "sha256", "size", "origin", "files")
_LISTED = 20  # files that are named, before the first byte and where they are missing
_PATIENCE = 20  # files that failed in passing, one after another, before a host is left alone

Entry = dict[str, Any]


class AcquisitionError(RuntimeError):
    """Files of a dataset that could not be had; the message names each, why, and what to do."""


@dataclass(frozen=True)
class Wishes:
    """What the config says of fetching one dataset (`config.DatasetConfig`)."""

    accept_terms: bool = False
    mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    unverified_tls: bool = False


@dataclass(frozen=True)
class Manners:
    """What the config says of fetching all datasets (`config.Downloads`)."""

    parallel: int = 4
    per_host: int = 2
    rate_mb_s: float = 0.0
    attempts: int = 6
    timeout_s: float = 30.0
    keep_archives: bool = False
    video_height: int = 360
    pause_s: float = 1.0


class Pace:
    """Counts the bytes of all threads, keeps them below a rate in bytes a second (0: any), and prints how it goes."""

    def __init__(
        self, rate: float, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.rate, self.clock, self.sleep = rate, clock, sleep
        self.bytes, self.files, self.of = 0, 0, 0
        self._lock = threading.Lock()
        self._start = self._said = self._due = clock()

    def __call__(self, count: int) -> None:
        """Count bytes that came, and wait if they came too fast."""
        with self._lock:
            self.bytes += count
            now = self.clock()
            self._due = max(self._due, now) + (count / self.rate if self.rate else 0.0)
            wait = self._due - now if self.rate else 0.0
            if now - self._said > _EVERY:
                self._said = now
                self._say(now)
        if wait > 0:
            self.sleep(wait)

    def done(self) -> None:
        """Count a file."""
        with self._lock:
            self.files += 1
            self._said = self.clock()
            self._say(self._said)

    def _say(self, now: float) -> None:
        speed = self.bytes / max(now - self._start, 1e-9)
        print(f"{self.files} of {self.of} files; {self.bytes / 1e6:.1f} MB came, {speed / 1e6:.2f} MB/s", flush=True)


class _Ledger:
    """What became of each file, a line for every change: of several lines of a file the last holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, Entry] = {}
        self._lock = threading.Lock()
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):  # half a line of a killed run: its file is looked at again
                entry = json.loads(line)
                self.files[entry["name"]] = entry["entry"]
        write_text(path, "".join(map(self._line, self.files)))

    def get(self, name: str) -> Entry:
        """The entry of a file; empty if there is none."""
        return self.files.get(name, {})

    def set(self, name: str, **entry: Any) -> None:
        """Write down what became of a file."""
        with self._lock:
            self.files[name] = entry
            with self.path.open("a", encoding="utf-8") as file:
                file.write(self._line(name))

    def _line(self, name: str) -> str:
        return json.dumps({"name": name, "entry": self.files[name]}, sort_keys=True) + "\n"


@dataclass
class Acquisition:
    """One dataset on its way: `folder` holds what is fetched or dropped, `root` what it becomes."""

    name: str
    spec: Dataset
    root: Path
    folder: Path
    wishes: Wishes
    manners: Manners
    offline: bool
    asking: origins.Asking
    pace: Pace
    ledger: _Ledger
    hosts: dict[str, threading.Semaphore] = field(default_factory=dict)
    refusals: int = 0  # of files that are not needed, in a row

    def settled(self, source: Source) -> bool:
        """Whether nothing is left to do for a file."""
        entry = self.ledger.get(source.name)
        if entry.get("want") != _want(source) or not self._had(source, entry):
            return False
        if entry["status"] == UNAVAILABLE:
            return bool(entry["final"]) and not self.dropped(source)
        return entry["status"] == OK and self._fits(source, entry)

    def _had(self, source: Source, entry: Entry) -> bool:
        """Whether all wanted members were among those wanted when the archive was unpacked."""
        before = self.ledger.get(entry.get("members", "")).get("names")
        return before is None or (source.members is not None and source.members <= set(before))

    def _fits(self, source: Source, entry: Entry) -> bool:
        """Whether what was written down is still there, and still right."""
        wanted = self.checksum(source)
        if wanted and wanted != entry["sha256"]:
            return False
        if source.unpack:
            return all((self.root / source.to / name).is_file() for name in entry["ends"])
        return _stamp(self.root / source.to) == entry["stamp"]

    def checksum(self, source: Source) -> str:
        """The checksum that a file must have; empty if nobody told one."""
        return str(self.wishes.checksums.get(source.name, source.sha256))

    def place(self, source: Source) -> Path:
        """Where a file is before it is laid out."""
        return self.folder / source.name

    def dropped(self, source: Source) -> bool:
        """Whether the user put a file where it is looked for."""
        there = self.place(source).is_file() or (not source.unpack and (self.root / source.to).is_file())
        return there and self.ledger.get(source.name).get("status") != FETCHED

    def addresses(self, source: Source) -> list[str]:
        """Where a file may be had, mirrors of the config first."""
        return [*self.wishes.mirrors.get(source.name, ()), *source.origins]

    # one file

    def settle(self, source: Source) -> str:
        """Bring a file to where it belongs; returns why that did not work, if it matters."""
        try:
            if self.dropped(source):
                self._take(source)
            else:
                self._fetch(source)
        except (AcquisitionError, ArchiveError, DownloadError, OSError) as error:
            return self._told(source, error)
        self.pace.done()
        return ""

    def _take(self, source: Source) -> None:
        """Take what the user dropped, and leave it there."""
        place, target = self.place(source), self.root / source.to
        there = place if place.is_file() else target
        digest = self._verified(source, there)
        if source.unpack:
            self._unpack(source, digest, "dropped")
            return
        if there != target:
            _copy(place, target)
        self._write_down(source, digest, "dropped")

    def _verified(self, source: Source, path: Path) -> str:
        digest, wanted = sha256_of_file(path), self.checksum(source)
        if wanted and digest != wanted:
            raise AcquisitionError(
                f"'{path}' has sha256 {digest}, and {wanted} is wanted: it is another file, or was not copied whole; replace it"
            )
        return digest

    def _fetch(self, source: Source) -> None:
        """Try every address in turn, until what it gives is whole and can be laid out."""
        problems, gone = [], True
        for bring in self._ways(source):
            try:
                self._lay_out(source, *bring())
                self.refusals = 0
                return
            except (DownloadError, ArchiveError, AcquisitionError) as error:
                problems.append(str(error))
                gone = gone and isinstance(error, NotThereError)
                if isinstance(error, ToolMissingError):
                    raise
                if isinstance(error, ArchiveError):
                    self._forget(source, error)
        problem = "; ".join(problems) or ("offline" if self.offline else "it has to be dropped by hand")
        if source.needed:
            raise AcquisitionError(problem)
        self._give_up(source, problem, final=bool(problems) and gone)

    def _ways(self, source: Source) -> Iterator[Callable[[], tuple[str, str]]]:
        """What brings a file, and gives its checksum and origin: what a killed run left, then every address."""
        entry = self.ledger.get(source.name)
        if entry.get("status") == FETCHED and self.place(source).is_file():
            yield lambda: (sha256_of_file(self.place(source)), entry["origin"])
        for address in () if self.offline else self.addresses(source):
            yield partial(self._bring, source, address)

    def _bring(self, source: Source, address: str) -> tuple[str, str]:
        with self._of_host(origins.host(address)):
            origins.fetch(address, self.place(source), self.checksum(source), self.asking)
        digest, origin = self._known_digest(source), origins.shown(address)
        self.ledger.set(source.name, status=FETCHED, origin=origin, sha256=digest, want=_want(source))
        return digest, origin

    def _give_up(self, source: Source, reason: str, final: bool) -> None:
        """Write down that a file which is not needed cannot be had; raises AcquisitionError where nothing can be, for now."""
        self.ledger.set(source.name, status=UNAVAILABLE, reason=reason, final=final, to=source.to, want=_want(source))
        self.refusals = 0 if final else self.refusals + 1
        if self.refusals >= _PATIENCE and not self.offline:
            raise AcquisitionError(f"{reason}; {self.refusals} files in a row failed in passing, so run again later")

    def _of_host(self, host: str) -> threading.Semaphore:
        return self.hosts.setdefault(host, threading.Semaphore(self.manners.per_host))

    def _known_digest(self, source: Source) -> str:
        """The checksum of what came; raises AcquisitionError where another file came the first time."""
        digest, before = sha256_of_file(self.place(source)), self.ledger.get(source.name).get("sha256", "")
        if before and digest != before and not self.checksum(source):
            self.place(source).unlink()
            raise AcquisitionError(
                f"its sha256 is {digest}, and was {before} the first time: its authors changed it, or somebody else did; if "
                f"you trust it, set `datasets.{self.name}.checksums: {{{source.name}: {digest}}}`"
            )
        return digest

    def _forget(self, source: Source, error: ArchiveError) -> None:
        """Delete a fetched archive that is none, so that it comes from elsewhere, or anew; not for want of room."""
        if "disk is full" in str(error) or " are free" in str(error):
            raise error
        if self.ledger.get(source.name).get("status") == FETCHED:
            self.place(source).unlink(missing_ok=True)
            self.ledger.set(source.name, status="damaged", want="")

    def _lay_out(self, source: Source, digest: str, origin: str) -> None:
        """Unpack or move what was fetched."""
        if source.unpack:
            self._unpack(source, digest, origin)
            if not self.manners.keep_archives:
                self.place(source).unlink()
            return
        target = self.root / source.to
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.place(source), target)
        self._write_down(source, digest, origin)

    def _unpack(self, source: Source, digest: str, origin: str) -> None:
        into = self.root / source.to
        files = unpack(self.place(source), into, below=source.below, members=source.members, limit=source.unpacked)
        ends = [files[0], files[-1]] if files else []
        wanted = ""
        if source.members is not None:  # many archives share what is wanted of them, so it is kept once
            names = sorted(source.members)
            wanted = f"members/{fingerprint(names)}"
            if not self.ledger.get(wanted):
                self.ledger.set(wanted, names=names)
        self._write_down(source, digest, origin, files=len(files), ends=ends, members=wanted, size=_size(self.place(source)))

    def _write_down(self, source: Source, digest: str, origin: str, **more: Any) -> None:
        path = self.root / source.to
        about = more or {"size": path.stat().st_size, "stamp": _stamp(path)}
        self.ledger.set(
            source.name, status=OK, reason="", to=source.to, sha256=digest, origin=origin, want=_want(source), **about
        )

    def _told(self, source: Source, error: Exception) -> str:
        told = str(error)
        if "certificate" in told:
            told += f" (or set `datasets.{self.name}.unverified_tls: true`, for files whose checksum is known)"
        by_hand = f"by hand: {source.by_hand or 'get it from ' + (self.spec.home or 'its authors')}"
        digest = self.checksum(source)
        digest = f" (sha256 {digest})" if digest else ""
        return f"{source.name}: {told}\n    {by_hand}; put it at '{self.place(source)}'{digest}"


def acquire(
    name: str,
    module: ModuleType,
    options: BaseModel,
    root: Path,
    folder: Path,
    wishes: Wishes,
    manners: Manners,
    offline: bool,
    out: Path,
    sleep: Callable[[float], None] = time.sleep,
) -> Entry:
    """Bring all files of a dataset to `root`, and write the manifest `out`; returns it.

    The manifest holds for each file its status (ok or unavailable), its path below the root, checksum, size in bytes, origin
    and, of an archive, how many files were taken out of it. Raises AcquisitionError that lists what is missing, after all else
    was got; DatasetError for a list that cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    pace = Pace(manners.rate_mb_s * 1e6, sleep=sleep)
    asking = origins.Asking(
        manners.attempts, manners.timeout_s, not wishes.unverified_tls, manners.video_height, manners.pause_s, pace, sleep
    )
    with alone(folder):
        ledger = _Ledger(folder / "ledger.jsonl")
        made = Acquisition(name, module.SPEC, root, folder, wishes, manners, offline, asking, pace, ledger)
        print(*_terms(made.spec), sep="\n", flush=True)
        sources = _settle_all(made, module, options)
        files = {source.name: {k: v for k, v in ledger.get(source.name).items() if k in _TOLD} for source in sources}
    manifest = {"dataset": name, "files": files}
    write_json(out, manifest)
    return manifest


def _terms(spec: Dataset) -> list[str]:
    told = [("licence", spec.licence), ("terms", spec.restricted), ("cite", spec.citation), ("page", spec.home)]
    return [spec.title, *(f"  {what}: {text}" for what, text in told if text)]


def _settle_all(made: Acquisition, module: ModuleType, options: BaseModel) -> list[Source]:
    """Settle what is named, and what is named once that is there; returns all of it."""
    known: dict[str, Source] = {}
    while True:
        named = [source for source in module.sources(made.root, options) if source.name not in known]
        if not named:
            return list(known.values())
        for source in named:
            _check_place(source)
        known |= {source.name: source for source in named}
        todo = [source for source in named if not made.settled(source)]
        if todo:
            _settle_some(made, todo)


def _check_place(source: Source) -> None:
    for path in (source.name, source.to):
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise AcquisitionError(f"'{path}' is no path below the folder of a dataset")


def _settle_some(made: Acquisition, todo: Sequence[Source]) -> None:
    asked = [source for source in todo if not made.dropped(source) and made.addresses(source)]
    if asked and not made.offline:
        _refuse_unaccepted(made, asked)
        _refuse_too_large(made, asked)
        for source in asked[:_LISTED]:
            size = f", about {source.size / 1e6:.0f} MB" if source.size else ""
            print(f"  {source.name}{size} from {origins.shown(made.addresses(source)[0])}")
        if len(asked) > _LISTED:
            print(f"  and {len(asked) - _LISTED} more files", flush=True)
    made.pace.of += len(todo)
    problems = []
    with ThreadPoolExecutor(made.manners.parallel) as pool:
        for problem in pool.map(made.settle, todo):
            problems += [problem] * bool(problem)
            if made.refusals >= _PATIENCE and not made.offline:  # the host will not have it: what waits is not asked for
                pool.shutdown(cancel_futures=True)
                break
    if problems:
        raise AcquisitionError(
            f"{len(problems)} of {len(todo)} files of '{made.name}' are missing; the others are kept.\n  "
            + "\n  ".join([*problems[:_LISTED], *([f"and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else [])])
            + f"\nThen run again, or lay the whole dataset out yourself and set `datasets.{made.name}.root`."
        )


def _refuse_unaccepted(made: Acquisition, asked: Sequence[Source]) -> None:
    if made.spec.restricted and not made.wishes.accept_terms:
        raise AcquisitionError(
            f"{made.spec.title}: {made.spec.restricted}. Nothing was fetched. If you have read its terms ({made.spec.home}) "
            f"and keep to them, set `datasets.{made.name}.accept_terms: true`; or drop {len(asked)} files, such as "
            f"{asked[0].name}, into '{made.folder}', or set `datasets.{made.name}.root` to a folder that holds the dataset"
        )


def _refuse_too_large(made: Acquisition, asked: Sequence[Source]) -> None:
    """Raise AcquisitionError where what is known of sizes is more than there is room for."""
    needed = sum(source.size * (2 if source.unpack else 1) - _size(made.place(source)) for source in asked if source.size)
    free = shutil.disk_usage(made.folder).free
    if needed > free:
        told = f"about {needed / 1e9:.1f} GB are needed at '{made.folder}', with contents, and {free / 1e9:.1f} GB are free"
        raise AcquisitionError(f"{made.spec.title}: {told}; make room, or move it with `pathvars: {{data: …}}`")


def _size(path: Path) -> int:
    """Bytes that are there of a file on its way."""
    part = path.with_name(f"{path.name}.part")
    return next((p.stat().st_size for p in (path, part) if p.exists()), 0)


def _want(source: Source) -> str:
    """What a file is laid out as: another wish makes it anew."""
    return fingerprint([source.to, source.unpack, source.below, source.members is None])


def _stamp(path: Path) -> list[int]:
    with suppress(OSError):
        facts = path.stat()
        return [facts.st_size, facts.st_mtime_ns]
    return []


def _copy(source: Path, target: Path) -> None:
    """A second name for a file or, where that is impossible, a copy, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        part.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, part)
    part.replace(target)
