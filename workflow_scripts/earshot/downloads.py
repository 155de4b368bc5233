"""Downloads that go on where they were cut, and that count as complete only when their checksum fits.

While a download runs, its bytes are in `<out>.part`, and `<out>.part.json` names the version on the server that they are
from. `out` itself appears by a rename, after the checksum of every byte.
"""

import errno
import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests

from earshot import retries
from earshot.files import alone, sha256_of_file, write_json

_CHUNK = 1 << 16  # bytes; what a cut connection loses at most
_PROGRESS = 1 << 20  # bytes; an attempt that gained so many is no failure
_BY_HAND = "download it by hand and set `path:`"
_log = logging.getLogger(__name__)


class DownloadError(RuntimeError):
    """A download that did not work; the message says what to do, and holds no credentials."""


class NotThereError(DownloadError):
    """The server says that there is no such file, or no longer."""


@dataclass(frozen=True)
class _Job:
    url: str
    out: Path
    sha256: str  # hex; the whole digest, its start, or nothing
    timeout_s: float
    verify_tls: bool = True
    pace: Callable[[int], None] | None = None

    @property
    def part(self) -> Path:
        return self.out.with_name(f"{self.out.name}.part")

    @property
    def note(self) -> Path:
        return self.out.with_name(f"{self.out.name}.part.json")

    @property
    def shown(self) -> str:
        return without_credentials(self.url)

    def fits(self, digest: str) -> bool:
        return digest.startswith(self.sha256)


def download(
    url: str,
    out: str | Path,
    sha256: str,
    *,
    offline: bool,
    unverified: bool = False,
    attempts: int = 6,
    timeout_s: float = 30.0,
    sleep: Callable[[float], None] = time.sleep,
    verify_tls: bool = True,
    pace: Callable[[int], None] | None = None,
    locked: bool = False,
) -> Path:
    """Download a file over HTTP(S) to `out`, unless it is there with the right checksum; return its path.

    `sha256` is the digest in hex, or at least its first 8 characters; it may be empty only if `unverified`. `attempts` is how
    many may fail in a row without getting on; `timeout_s` is how long the server may be silent, in s. What was received stays
    in `<out>.part` for the next call, except where it cannot be a part of the file. Certificates are not checked without
    `verify_tls`. `pace` is told how many bytes came, and may wait. `locked`: the caller keeps other processes out of the
    folder, and calls for several files at a time. Raises DownloadError, NotThereError for a file that the server has not.
    """
    digest = checked_digest(sha256, may_be_empty=unverified)
    job = _Job(checked_url(url), Path(out), digest, timeout_s, verify_tls, pace)
    if offline:
        return _already_there(job)
    try:
        job.out.parent.mkdir(parents=True, exist_ok=True)
        with nullcontext() if locked else alone(job.out.parent):
            # another process may have brought it while this one waited
            if not (job.out.is_file() and job.fits(sha256_of_file(job.out))):
                _try_until_complete(job, attempts, sleep)
    except OSError as error:
        raise DownloadError(_told_of_disk(job, error)) from error
    return job.out


def download_from_hub(
    repo: str, files: Sequence[str], revision: str, folder: str | Path, offline: bool, kind: str = "model"
) -> list[Path]:
    """Bring files of a repository of the Hugging Face Hub into a folder, and return their paths in order.

    `kind` of repository is model or dataset. Offline, only what the folder holds already is taken, whoever put it there. Raises
    DownloadError.
    """
    from huggingface_hub import hf_hub_download

    folder = Path(folder)
    origin, note = {"repo": repo, "revision": revision}, folder / ".hub.json"
    stale = _read_json(note) not in ({}, origin)
    if stale and offline:
        way_out = f"put {', '.join(files)} of that one there and delete '{note}', or set `path:`"
        raise DownloadError(f"offline, and '{folder}' holds another revision than {repo}@{revision}: {way_out}")
    paths = []
    for name in files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DownloadError(f"{repo}: '{name}' is no file name inside a repository")
        try:
            # where the Hub does not answer, the library would take a file of another revision for the right one
            path = hf_hub_download(
                repo, name, repo_type=kind, revision=revision, local_dir=folder, local_files_only=offline, force_download=stale
            )
        except Exception as error:  # its own errors, and those of what it downloads with
            # not chained: texts of HTTP errors hold signed addresses
            raise DownloadError(_told_of_hub(error, f"{repo}@{revision}", name, folder, offline)) from None
        paths.append(Path(path))
    if not offline:  # files that were put there by hand may be of any revision
        write_json(note, origin)
    return paths


def without_credentials(url: str) -> str:
    """An address as messages show it: without user, password, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def checked_digest(sha256: str, may_be_empty: bool = False) -> str:
    """A SHA-256 in lower case; raises DownloadError if it is no hex text of 8 to 64 characters, and not rightly empty."""
    lower = sha256.strip().lower()
    if not (re.fullmatch("[0-9a-f]{8,64}", lower) or (may_be_empty and not lower)):
        raise DownloadError(f"sha256 '{sha256}' is not the hex digest of a file, nor its first 8 or more characters")
    return lower


def checked_url(url: str) -> str:
    """An address that is one of HTTP(S); raises DownloadError."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        raise DownloadError("the address is not well-formed") from None  # not shown: where its password is, is unclear
    if not good:
        raise DownloadError(f"'{without_credentials(url)}' is not the http or https address of a file")
    return url


def _already_there(job: _Job) -> Path:
    wanted = f"put {job.shown}{f' (sha256 {job.sha256})' if job.sha256 else ''} at '{job.out}', or set `path:`"
    if not job.out.is_file():
        raise DownloadError(f"offline, and the file is not there: {wanted}")
    found = sha256_of_file(job.out)
    if not job.fits(found):
        raise DownloadError(f"offline, and the file there has sha256 {found}: {wanted}")
    return job.out


def _try_until_complete(job: _Job, attempts: int, sleep: Callable[[float], None]) -> None:
    failures, best = 0, 0
    while True:
        try:
            return _attempt(job)
        except retries.PassingError as error:
            reason, wait = str(error), error.wait
        except requests.RequestException as error:
            reason, wait = _passing_reason(job, error), None
        size = _size(job.part)
        # the best so far, so that a server which starts over and over again is not taken for one that gets on
        failures = 1 if size >= best + _PROGRESS else failures + 1
        best = max(best, size)
        if failures >= attempts:
            kept = f"; {size} bytes are kept in '{job.part}': run again to go on" if size else ""
            raise DownloadError(f"{job.shown}: gave up after {failures} attempts: {reason}{kept}; or {_BY_HAND}")
        pause = retries.pause(failures, wait)
        _log.warning("%s: %s; trying again in %.0f s", job.shown, reason, pause)
        sleep(pause)


def _attempt(job: _Job) -> None:
    size, version = _resumable(job)
    resume = {"Range": f"bytes={size}-", "If-Range": version} if size else {}
    headers = {"Accept-Encoding": "identity", "User-Agent": "earshot", **resume}
    with requests.get(job.url, headers=headers, stream=True, timeout=job.timeout_s, verify=job.verify_tls) as response:
        if response.status_code == 416 and size:
            return _finish_beyond_end(job, response, size)
        _check_status(job, response)
        if response.status_code == 206:
            _check_continuation(job, response, size, version)
        else:
            _begin(job, response)
            size = 0
        digest = _receive(job, response, size)
    _finish(job, digest, resumed=size > 0)


def _resumable(job: _Job) -> tuple[int, str]:
    """How many bytes are there (0 if they cannot be gone on with), and the version on the server that they are from."""
    note = _read_json(job.note)
    size, version = _size(job.part), note.get("version")
    if not size or note.get("url") != job.shown or not isinstance(version, str):
        return 0, ""
    return size, version


def _check_status(job: _Job, response: requests.Response) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    told = f"{status} {response.reason or ''}".strip()
    if retries.may_pass(status):
        raise retries.PassingError(f"the server answered {told}", retries.asked_wait(response))
    kind = NotThereError if status in (404, 410) else DownloadError
    raise kind(f"{job.shown}: the server answered {told}; check the address, or {_BY_HAND}")


def _check_continuation(job: _Job, response: requests.Response, size: int, version: str) -> None:
    """Throw the part away if an answer 206 does not go on where it ends, or is of another version."""
    start, _ = _content_range(response)
    etag = response.headers.get("ETag")
    other = version.startswith('"') and etag is not None and etag != version
    if not size or start != size or other or _is_encoded(response):
        _forget(job)
        raise retries.PassingError("the server sent another part than the one asked for", wait=0.0)


def _begin(job: _Job, response: requests.Response) -> None:
    """Empty the part, and note which version of the file it will hold, if the server tells."""
    job.note.unlink(missing_ok=True)  # first: a note must never tell of older bytes
    job.part.write_bytes(b"")
    etag = response.headers.get("ETag", "")
    # a weak tag, W/"...", does not promise equal bytes
    version = etag if etag.startswith('"') else response.headers.get("Last-Modified")
    if version and not _is_encoded(response):
        write_json(job.note, {"url": job.shown, "version": version})


def _receive(job: _Job, response: requests.Response, start: int) -> str:
    """Append the body to the part, and return the digest of the whole."""
    total = _announced(response, start)
    digest = hashlib.sha256()
    with open(job.part, "r+b") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        for chunk in response.iter_content(_CHUNK):
            _write(file, chunk)
            digest.update(chunk)
            if job.pace:
                job.pace(len(chunk))
        size = file.tell()
    if total is not None and size < total:
        raise retries.PassingError(f"the connection ended after {size} of {total} bytes")
    if total is not None and size > total:
        _forget(job)
        raise retries.PassingError(f"the server announced {total} bytes and sent {size}")
    return digest.hexdigest()


def _write(file: BinaryIO, chunk: bytes) -> None:
    file.write(chunk)


def _announced(response: requests.Response, start: int) -> int | None:
    """The length of the whole file in bytes, if the answer tells."""
    length = response.headers.get("Content-Length", "")
    _, total = _content_range(response)
    if total is not None and response.status_code == 206:
        return total
    return start + int(length) if length.isdecimal() and not _is_encoded(response) else None


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and whole length that `Content-Range` tells; None for what it does not."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if not found:
        return None, None
    start, total = found.groups()
    return int(start) if start else None, None if total == "*" else int(total)


def _is_encoded(response: requests.Response) -> bool:
    return response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")


def _finish_beyond_end(job: _Job, response: requests.Response, size: int) -> None:
    """The part ends where the file does, or beyond: either it is the file, or it is nothing."""
    _, total = _content_range(response)
    if total == size:
        return _finish(job, sha256_of_file(job.part), resumed=True)
    _forget(job)
    raise retries.PassingError("what was there is no part of the file", wait=0.0)


def _finish(job: _Job, digest: str, resumed: bool) -> None:
    """Rename the part to what it is, if its digest is right."""
    if job.fits(digest):
        job.part.replace(job.out)
        job.note.unlink(missing_ok=True)
        return
    _forget(job)
    told = f"its sha256 is {digest}, not {job.sha256}"
    if resumed:  # the part may have been damaged while it lay there
        raise retries.PassingError(told, wait=0.0)
    raise DownloadError(f"{job.shown}: {told}; the download was deleted: check the address and the sha256")


def _forget(job: _Job) -> None:
    job.note.unlink(missing_ok=True)
    job.part.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read_json(path: Path) -> dict:
    """An object in a JSON file; {} if there is none that can be read."""
    with suppress(OSError, ValueError):
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else {}
    return {}


def _passing_reason(job: _Job, error: requests.RequestException) -> str:
    """Why a connection failed; raises DownloadError where trying again cannot help."""
    told, passing = retries.connection_failure(error, job.timeout_s)
    if isinstance(error, requests.exceptions.SSLError):
        told += ", its certificate could not be verified"
    if not passing:
        raise DownloadError(f"{job.shown}: {told}; check the address, or {_BY_HAND}") from None
    return told


def _told_of_disk(job: _Job, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        kept = f"{_size(job.part)} bytes of {job.shown} are kept in '{job.part}'"
        return f"the disk of '{job.out.parent}' is full: {kept}; make room and run again to go on"
    return f"{job.shown}: cannot write '{job.out}': {error.strerror or error}"


def _told_of_hub(error: Exception, origin: str, name: str, folder: Path, offline: bool) -> str:
    if offline:
        return (
            f"offline, and '{folder / name}' is not there: put it there from {origin} of the Hugging Face Hub, or set `path:`"
        )
    chain = retries.causes(error)
    kinds = {kind.__name__ for e in chain for kind in type(e).__mro__}
    way_out = f"try again, or put it at '{folder / name}' by hand"
    if any(isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT) for e in chain):
        return f"hub {origin}: the disk of '{folder}' is full; make room and run again"
    if "GatedRepoError" in kinds:
        return f"hub {origin}: access must be asked for on its page; then set HF_TOKEN, or put '{name}' into '{folder}' by hand"
    if kinds & {"RepositoryNotFoundError", "RevisionNotFoundError", "RemoteEntryNotFoundError", "HFValidationError"}:
        return f"hub {origin}: no '{name}' ({type(error).__name__}); check repository, revision and files, or set `path:`"
    return f"hub {origin}: could not get '{name}' ({type(error).__name__}); {way_out}"
