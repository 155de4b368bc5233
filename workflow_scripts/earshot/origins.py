"""Where files are to be had, by kind of address: web servers, the Hugging Face Hub, Google Drive, and clips of YouTube videos.

`http(s)://…`; `hub://datasets/<owner>/<name>@<revision>/<path>` (or `hub://models/…`); `drive://<id>`; and
`youtube://<id>?start=<s>&end=<s>`, times in seconds. The last two are fetched by the programs gdown and yt-dlp, which
are extras: these hosts change, and their programs change with them. What a program says is classified: a video that is gone
is gone for good, while a host that is busy may be asked again later.
"""

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from earshot import downloads, media
from earshot.downloads import DownloadError, NotThereError
from earshot.errors import MediaError

_EXTRAS = "install the optional tools: pip install -r requirements-fetch.lock"
_SHORT = 1.0  # s that a clip may be shorter than it was asked for
_GONE = re.compile(
    r"private video|video (is )?(unavailable|not available)|removed|account .*terminated|no longer available|copyright"
    r"|does not exist|not made this video available in your country|members[- ]only|violat",
    re.IGNORECASE,
)
_BUSY = re.compile(
    r"HTTP Error (429|5\d\d)|too many requests|rate.?limit|sign in to confirm|timed? ?out|connection|network", re.IGNORECASE
)


class ToolMissingError(DownloadError):
    """A program that fetches is not installed."""


@dataclass
class Asking:
    """How origins are asked: `pace` is told how many bytes came, `pause_s` lies between two requests for videos."""

    attempts: int = 6
    timeout_s: float = 30.0
    verify_tls: bool = True
    height: int = 360
    pause_s: float = 1.0
    pace: Callable[[int], None] | None = None
    sleep: Callable[[float], None] = time.sleep
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _last: float = -1e9

    def wait_for_turn(self) -> None:
        """Keep requests for videos apart."""
        with self._turn:
            left = self._last + self.pause_s - time.monotonic()
            if left > 0:
                self.sleep(left)
            self._last = time.monotonic()


def host(address: str) -> str:
    """Who is asked: one host is asked for few files at a time."""
    parts = urlsplit(address)
    return {"hub": "hub", "drive": "drive", "youtube": "youtube"}.get(parts.scheme, parts.hostname or "")


def shown(address: str) -> str:
    """An address as messages and ledgers show it, without credentials."""
    return downloads.without_credentials(address) if address.startswith("http") else address


def fetch(address: str, out: Path, sha256: str, asking: Asking) -> None:
    """Bring a file to `out`; `sha256` may be empty.

    Raises DownloadError, and NotThereError where asking again is of no use.
    """
    scheme = urlsplit(address).scheme
    ways = {"http": _from_web, "https": _from_web, "hub": _from_hub, "drive": _from_drive, "youtube": _from_youtube}
    if scheme not in ways:
        raise DownloadError(f"'{shown(address)}' is no address of the kinds {', '.join(ways)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    ways[scheme](address, out, sha256, asking)


def _from_web(address: str, out: Path, sha256: str, asking: Asking) -> None:
    if not asking.verify_tls and not sha256 and address.startswith("https:"):
        raise DownloadError(
            f"{shown(address)}: `unverified_tls` needs the file's checksum, since anybody could send it: give it in `checksums`"
        )
    downloads.download(
        address, out, sha256, offline=False, unverified=not sha256, attempts=asking.attempts, timeout_s=asking.timeout_s,
        sleep=asking.sleep, verify_tls=asking.verify_tls, pace=asking.pace, locked=True,
    )  # fmt: skip


def _from_hub(address: str, out: Path, sha256: str, asking: Asking) -> None:
    found = re.fullmatch(r"hub://(dataset|model)s/([\w.-]+/[\w.-]+)@([\w.-]+)/(.+)", address)
    if not found:
        raise DownloadError(f"'{address}' is not hub://datasets/<owner>/<name>@<revision>/<path>")
    kind, repo, revision, name = found.groups()
    folder = out.with_name(f"{out.name}.hub")
    (path,) = downloads.download_from_hub(repo, [name], revision, folder, False, kind)
    path.replace(out)
    shutil.rmtree(folder)


def _program(name: str, module: str) -> list[str]:
    """The command of an optional tool: on PATH, or of this Python."""
    found = shutil.which(name)
    if found:
        return [found]
    if find_spec(module):
        return [sys.executable, "-m", module]
    raise ToolMissingError(f"{name} is not there; {_EXTRAS}")


def _run(command: list[str]) -> str:
    """Run a program; returns what it complained of, empty if it succeeded."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    said = (done.stderr or done.stdout).decode(errors="replace").strip()
    return (said or f"it ended with {done.returncode}") if done.returncode else ""


def _from_drive(address: str, out: Path, sha256: str, asking: Asking) -> None:
    number = address.removeprefix("drive://")
    if not re.fullmatch(r"[\w-]{10,}", number):
        raise DownloadError(f"'{address}' is not drive://<id of a file>")
    part = out.with_name(f"{out.name}.part")
    manners = ["--quiet", "--continue", "--retries", str(asking.attempts), "--timeout", str(round(asking.timeout_s))]
    problem = _run([*_program("gdown", "gdown"), number, "-O", str(part), *manners])
    if problem or not part.is_file():
        told = _last_line(problem) or "no file came"
        raise DownloadError(f"{address}: gdown: {told}; a drive that many ask is closed for a day: try later, or drop the file")
    with part.open("rb") as file:
        page = file.read(64).lstrip().lower().startswith((b"<!doctype", b"<html"))
    if page:
        part.unlink()
        raise DownloadError(f"{address}: a page came instead: the file's quota is used up, or it is not shared; drop the file")
    part.replace(out)


def _from_youtube(address: str, out: Path, sha256: str, asking: Asking) -> None:
    query = parse_qs(urlsplit(address).query)
    try:
        start, end = float(query["start"][0]), float(query["end"][0])
    except (KeyError, ValueError):
        start = end = 0.0
    video = address.removeprefix("youtube://").partition("?")[0]  # ids tell capitals apart
    if not re.fullmatch(r"[\w-]{11}", video) or not 0 <= start < end < 1e6:
        raise DownloadError(f"'{address}' is not youtube://<id>?start=<s>&end=<s>")
    asking.wait_for_turn()
    stem = out.with_name(f"{out.stem}.fetching")
    command = [
        *_program("yt-dlp", "yt_dlp"), "--ignore-config", "--no-playlist", "--quiet", "--no-warnings", "--no-progress",
        "--force-overwrites", "--socket-timeout", str(round(asking.timeout_s)), "--ffmpeg-location", media.ffmpeg_binary(),
        "--format", f"bv*[height<={asking.height}]+ba/b[height<={asking.height}]/wv*+ba/w", "--merge-output-format", "mp4",
        "--remux-video", "mp4", "--download-sections", f"*{start:g}-{end:g}", "--force-keyframes-at-cuts",
        "--output", f"{str(stem).replace('%', '%%')}.%(ext)s", "--", f"https://www.youtube.com/watch?v={video}",
    ]  # fmt: skip
    made = stem.with_name(f"{stem.name}.mp4")
    try:
        problem = _run(command)
        if problem:
            raise _of_video(video, problem)
        _refuse_short(made, end - start, video)
        made.replace(out)
    finally:
        for path in out.parent.glob(f"{_escaped(stem.name)}.*"):
            path.unlink(missing_ok=True)


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _of_video(video: str, problem: str) -> DownloadError:
    told = _last_line(problem)
    gone = _GONE.search(problem) and not _BUSY.search(problem)
    return NotThereError(told) if gone else DownloadError(f"video {video}: yt-dlp: {told}")


def _last_line(problem: str) -> str:
    line = problem.strip().splitlines()[-1] if problem.strip() else ""
    return re.sub(r"^ERROR: (\[[\w:+-]+\] )?", "", line)[:200]


def _refuse_short(path: Path, seconds: float, video: str) -> None:
    try:
        found = media.probe(path).duration
    except MediaError as error:
        raise DownloadError(f"video {video}: what came is no video: {error}") from error
    if found < seconds - _SHORT:
        raise NotThereError(f"the video ends {seconds - found:.1f} s before its clip does")
