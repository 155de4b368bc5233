"""Unpacking archives that nobody vouches for: all or nothing, and nothing outside of the folder they are for.

Every member is vetted before a byte is written: no absolute path, no way up, no link, no device, no name twice. What is
written is counted, since the sizes that an archive declares may be lies. Contents go to a staging folder beside the target
and are moved once they are whole, so a killed run leaves no half of an archive in the dataset. `.rar` is listed by the
library rarfile and unpacked, in one run, by a tool on PATH, and what comes out is compared with what was listed.
"""

import errno
import lzma
import os
import re
import shutil
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

_CHUNK = 1 << 20  # bytes
_MOST = 5_000_000  # members
_RATIO = 200  # contents are refused beyond so many times the archive's size, and beyond _FLOOR; videos hardly shrink
_FLOOR = 100_000_000  # bytes of contents that any archive may have
_NAME = re.compile(r"[^\x00-\x1f\x7f\\]+")
_JUNK = re.compile(r"(^|/)(__MACOSX(/|$)|\._[^/]*$|\.DS_Store$)")
_SUFFIXES = {
    ".zip": "zip",
    ".rar": "rar",
    ".tar": "tar",
    ".tgz": "tar",
    ".gz": "tar",
    ".bz2": "tar",
    ".xz": "tar",
}
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
_BROKEN = (*_DAMAGE, OSError, NotImplementedError, RuntimeError, ValueError)  # what libraries raise of damaged files
_TOOLS: dict[str, Callable[[str, str], list[str]]] = {
    "7zz": lambda archive, into: ["x", "-y", "-p-", "-bso0", "-bsp0", f"-o{into}", "--", archive],
    "7z": lambda archive, into: ["x", "-y", "-p-", "-bso0", "-bsp0", f"-o{into}", "--", archive],
    "unar": lambda archive, into: ["-quiet", "-force-overwrite", "-no-directory", "-output-directory", into, archive],
    "bsdtar": lambda archive, into: ["-x", "-f", archive, "-C", into],
    "unrar": lambda archive, into: ["x", "-o+", "-p-", archive, f"{into}{os.sep}"],
}  # some distributions build some of them without what .rar needs, so each is tried


class ArchiveError(RuntimeError):
    """An archive that cannot be unpacked, or will not be; the message names it, the member and the way out."""


@dataclass(frozen=True)
class _Member:
    """A file or folder of an archive: `kind` is file, folder, or what else it is."""

    name: str  # as the archive writes it
    size: int
    kind: str
    crc: int | None = None
    encrypted: bool = False

    @property
    def path(self) -> str:
        """Its path in the archive, without `./` and a last slash."""
        return "/".join(part for part in self.name.split("/") if part not in ("", "."))


@dataclass
class _Budget:
    """Bytes that may still be written."""

    archive: Path
    most: int
    written: int = field(default=0)

    def spend(self, count: int) -> None:
        self.written += count
        if self.written > self.most:
            raise ArchiveError(f"{self.archive.name}: its contents are larger than {self.most} bytes; it was not unpacked")


def unpack(archive: Path, into: Path, *, below: str = "", members: Collection[str] | None = None, limit: int = 0) -> list[str]:
    """Unpack an archive into a folder, and return the sorted paths of its files below that.

    `below` is a folder of the archive of which only the contents are unpacked, without its name; `members` are the names,
    without folders, of the only files that are wanted; `limit` is how many bytes the contents may have (0: 200 times the
    archive's size, or 100 MB). Files of the same names are replaced, others are left. Raises ArchiveError.
    """
    staging = into.parent / f".unpacking-{into.name}-{archive.name}"
    shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
    budget = _Budget(archive, limit or max(_FLOOR, _RATIO * archive.stat().st_size))
    try:
        staging.mkdir(parents=True)
        wanted = _Wanted(archive, below.strip("/"), members)
        _READERS[_kind(archive)](archive, staging, wanted, budget)
        files = sorted(path.relative_to(staging).as_posix() for path in staging.rglob("*") if not path.is_dir())
        _move(staging, into, files, archive)
        return files
    except OSError as error:
        raise ArchiveError(_told_of_disk(archive, error, budget)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@dataclass(frozen=True)
class _Wanted:
    """Which members go where."""

    archive: Path
    below: str
    members: Collection[str] | None

    def place(self, path: str) -> str | None:
        """Where a file goes below the target; None if it is not wanted."""
        if _JUNK.search(path) or (self.members is not None and PurePosixPath(path).name not in self.members):
            return None
        if not self.below:
            return path
        return path.removeprefix(f"{self.below}/") if path.startswith(f"{self.below}/") else None

    def check(self, listed: Collection[_Member]) -> None:
        """Raise ArchiveError if the folder to unpack is not there."""
        if self.below and not any(member.path.startswith(f"{self.below}/") for member in listed):
            tops = sorted({member.path.partition("/")[0] for member in listed})
            more = f" and {len(tops) - 10} more" if len(tops) > 10 else ""
            raise ArchiveError(f"{self.archive.name}: no folder '{self.below}' in it; there are: {', '.join(tops[:10])}{more}")


def _kind(archive: Path) -> str:
    """zip, tar or rar, by the first bytes; raises ArchiveError for anything else, such as a page that says the file is gone."""
    with archive.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        found = "zip"
    elif head.startswith(b"Rar!\x1a\x07"):
        found = "rar"
    elif head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")) or head[257:262] == b"ustar":
        found = "tar"
    else:
        what = "a web page" if head.lstrip()[:1] == b"<" else "no archive of the kinds .zip, .tar, .tar.gz, .rar"
        raise ArchiveError(f"{archive.name}: it is {what}; delete it and fetch it again")
    named = _SUFFIXES.get(archive.suffix.lower(), found)
    if named != found:
        raise ArchiveError(f"{archive.name}: it is a {found} archive by its content; rename it, if that is what it should be")
    return found


def _vet(listed: Collection[_Member], wanted: _Wanted, budget: _Budget) -> None:
    """Raise ArchiveError for a member that must not be written, before anything is."""
    archive = budget.archive
    if len(listed) > _MOST:
        raise ArchiveError(f"{archive.name}: {len(listed)} members are more than {_MOST}; it was not unpacked")
    files: set[str] = set()
    folders: set[str] = set()
    for member in listed:
        _vet_one(member, archive)
        (files if member.kind == "file" else folders).add(member.path)
        folders.update(parent.as_posix() for parent in PurePosixPath(member.path).parents)
    if len(files) < sum(member.kind == "file" for member in listed):
        twice = next(m.name for m in listed if m.kind == "file" and sum(o.path == m.path for o in listed) > 1)
        raise ArchiveError(f"{archive.name}: '{twice}' is in it twice; it was not unpacked")
    if both := sorted(files & folders):
        raise ArchiveError(f"{archive.name}: '{both[0]}' is both a file and a folder; it was not unpacked")
    wanted.check(listed)
    needed = sum(member.size for member in listed if member.kind == "file" and wanted.place(member.path) is not None)
    if needed > budget.most:
        raise ArchiveError(f"{archive.name}: its contents are said to be {needed} bytes, more than {budget.most}; not unpacked")
    free = shutil.disk_usage(archive.parent).free
    if needed > free:
        raise ArchiveError(f"{archive.name}: its contents need {needed} bytes, and {free} are free; make room and run again")


def _vet_one(member: _Member, archive: Path) -> None:
    name = member.name
    reason = ""
    if member.kind not in ("file", "folder"):
        reason = f"is {member.kind}"
    elif member.encrypted:
        reason = "is encrypted"
    elif not _NAME.fullmatch(name) or re.match(r"[A-Za-z]:", name):
        reason = "has a name that not every system takes"
    elif name.startswith("/") or ".." in name.split("/"):
        reason = "points out of the folder"
    elif not member.path and member.kind == "file":
        reason = "has no name"
    if reason:
        raise ArchiveError(f"{archive.name}: its member {name!r} {reason}; nothing was unpacked")


def _write(source: IO[bytes], member: _Member, path: Path, budget: _Budget) -> None:
    """Write a member, counting; raises ArchiveError if it is not as long as declared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with path.open("xb") as out:
        while chunk := source.read(_CHUNK):
            budget.spend(len(chunk))
            written += len(chunk)
            if written > member.size:
                break
            out.write(chunk)
    if written != member.size:
        raise ArchiveError(
            f"{budget.archive.name}: its member {member.name!r} is not of {member.size} bytes, as it says; refused"
        )


def _damaged(archive: Path, error: Exception) -> ArchiveError:
    told = str(error).partition("\n")[0] or type(error).__name__
    return ArchiveError(f"{archive.name}: it is damaged or cut short ({told}); delete it and fetch it again")


def _unzip(archive: Path, staging: Path, wanted: _Wanted, budget: _Budget) -> None:
    with _reading(archive), zipfile.ZipFile(archive) as opened:
        infos = opened.infolist()
        listed = [_of_zip(info) for info in infos]
        _vet(listed, wanted, budget)
        for info, member in zip(infos, listed, strict=True):
            place = wanted.place(member.path) if member.kind == "file" else None
            if place is not None:
                with opened.open(info) as source:  # checks the CRC at the end
                    _write(source, member, staging / place, budget)


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """What a library raises of an archive's content is that archive's fault; what the disk raises is not."""
    try:
        yield
    except ArchiveError:
        raise
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _damaged(archive, error) from error


def _of_zip(info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    kind = "folder" if info.is_dir() else "file"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "a link" if stat.S_ISLNK(mode) else "no plain file"
    return _Member(info.orig_filename, info.file_size, kind, info.CRC, bool(info.flag_bits & 1))


def _untar(archive: Path, staging: Path, wanted: _Wanted, budget: _Budget) -> None:
    with _reading(archive):
        listed = list(_of_tar(archive))
    _vet(listed, wanted, budget)
    with _reading(archive), tarfile.open(archive) as opened:  # in order: seeking back in a compressed one begins anew
        for info in opened:
            member = _tar_member(info)
            place = wanted.place(member.path) if member.kind == "file" else None
            source = opened.extractfile(info) if place is not None else None
            if source is not None and place is not None:
                _write(source, member, staging / place, budget)


def _of_tar(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive) as opened:
        for number, info in enumerate(opened):
            if number > _MOST:
                raise ArchiveError(f"{archive.name}: more than {_MOST} members; it was not unpacked")
            yield _tar_member(info)
        if opened.fileobj is None or opened.fileobj.tell() <= opened.offset:
            raise tarfile.ReadError("its end is missing")
        while opened.fileobj.read(_CHUNK):
            pass  # to the end, where compressed streams have their checksum


def _tar_member(info: tarfile.TarInfo) -> _Member:
    kind = (
        "file" if info.isreg() else "folder" if info.isdir() else "a link" if info.issym() or info.islnk() else "no plain file"
    )
    return _Member(info.name, info.size, kind)


def _unrar(archive: Path, staging: Path, wanted: _Wanted, budget: _Budget) -> None:
    import rarfile

    try:
        with rarfile.RarFile(archive, errors="strict") as opened:
            listed = [_of_rar(info) for info in opened.infolist()]
    except rarfile.Error as error:
        raise _damaged(archive, error) from error
    _vet(listed, wanted, budget)
    raw = staging / "contents"
    _run_tools(archive, raw, listed, budget)
    for member in listed:
        place = wanted.place(member.path) if member.kind == "file" else None
        if place is not None:
            (staging / "kept" / place).parent.mkdir(parents=True, exist_ok=True)
            (raw / member.path).replace(staging / "kept" / place)
    shutil.rmtree(raw)
    for path in (staging / "kept").iterdir() if (staging / "kept").exists() else ():
        path.replace(staging / path.name)
    with suppress(FileNotFoundError):
        (staging / "kept").rmdir()


def _of_rar(info: Any) -> _Member:
    kind = "file" if info.is_file() else "folder" if info.is_dir() else "a link"
    return _Member(info.filename, info.file_size, kind, info.CRC, info.needs_password())


def _run_tools(archive: Path, into: Path, listed: Sequence[_Member], budget: _Budget) -> None:
    """Unpack a .rar with the first tool on PATH that brings out what is listed."""
    failures = []
    for name in _TOOLS:
        if path := shutil.which(name):
            shutil.rmtree(into, ignore_errors=True)
            into.mkdir()
            try:
                _run_tool(path, name, archive, into)
                return _compare(into, listed, budget)
            except ArchiveError as error:
                failures.append(f"{name}: {error}")
    if not failures:
        raise ArchiveError(
            f"{archive.name}: nothing on PATH unpacks .rar ({', '.join(_TOOLS)}); install one, such as `unar` or `7zip-rar` of "
            "Debian or `unrar` of conda-forge, or unpack it by hand and set `root:`"
        )
    raise ArchiveError("; ".join(failures))


def _run_tool(path: str, name: str, archive: Path, into: Path) -> None:
    command = [path, *_TOOLS[name](str(archive.resolve()), str(into.resolve()))]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        told = " ".join((done.stderr or done.stdout).decode(errors="replace").split())[:300]
        if "no space" in told.lower():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise ArchiveError(f"{archive.name}: it cannot be unpacked ({told or done.returncode}); delete it and fetch it again")


def _compare(folder: Path, listed: Iterable[_Member], budget: _Budget) -> None:
    """Raise ArchiveError unless a tool wrote exactly what was listed."""
    budget.written = 0
    expected = {member.path: member for member in listed if member.kind == "file"}
    found: set[str] = set()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode) or name not in expected:
            raise ArchiveError(f"{budget.archive.name}: '{name}' came out of it and was not listed; it was not unpacked")
        found.add(name)
        member = expected[name]
        budget.spend(path.stat().st_size)
        if path.stat().st_size != member.size or (member.crc is not None and _crc(path) != member.crc):
            raise ArchiveError(f"{budget.archive.name}: its member '{name}' is damaged; delete it and fetch it again")
    if absent := sorted(set(expected) - found):
        raise ArchiveError(f"{budget.archive.name}: its member '{absent[0]}' did not come out; delete it and fetch it again")


def _crc(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        for chunk in iter(partial(file.read, _CHUNK), b""):
            value = zlib.crc32(chunk, value)
    return value


_READERS = {"zip": _unzip, "tar": _untar, "rar": _unrar}


def _move(staging: Path, into: Path, files: Iterable[str], archive: Path) -> None:
    """Move files to where they belong, none of them through a link that is there already."""
    into.mkdir(parents=True, exist_ok=True)
    top = into.resolve()
    for name in files:
        target = into / name
        for folder in (target, *target.parents):
            if folder == into:
                break
            if folder.is_symlink() and (folder != target) and not folder.resolve().is_relative_to(top):
                raise ArchiveError(f"{archive.name}: '{folder}' is a link that leaves the folder; nothing was unpacked")
            if folder != target and folder.exists() and not folder.is_dir():
                raise ArchiveError(f"{archive.name}: '{folder}' is in the way, a file where a folder must be; move it")
        if target.is_dir() and not target.is_symlink():
            raise ArchiveError(f"{archive.name}: '{target}' is in the way, a folder where a file must be; move it")
    for name in files:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).chmod(0o644)
        (staging / name).replace(into / name)


def _told_of_disk(archive: Path, error: OSError, budget: _Budget) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{archive.name}: the disk is full after {budget.written} bytes of contents; it is kept: make room, run again"
    return f"{archive.name}: cannot unpack it: {error.strerror or error}"
