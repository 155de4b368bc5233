"""Getting hold of datasets: from servers that fail in every way, from the user's hand, and after being killed."""

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import file_server
import numpy as np
import pytest
from file_server import cut, files, hang, instead, says, slow, whole  # noqa: F401
from pydantic import BaseModel

from earshot import acquisition, downloads, media
from earshot.acquisition import AcquisitionError, Manners, Pace, Wishes, acquire
from earshot.datasets import Dataset, Source

DATA = {f"f{k}.bin": np.random.default_rng(k).bytes(300_000) for k in range(4)}


class Options(BaseModel, extra="forbid"):
    pass


def sha(data):
    return hashlib.sha256(data).hexdigest()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def get(tmp_path, files):  # noqa: F811
    """Acquire sources into `tmp_path / "media"`."""
    waits = []

    def call(*sources, wishes=None, offline=False, restricted="", more=None, **manners):
        spec = Dataset("Toy", "classification", None, "CC0", "Me, 2000", home="https://toy.example", restricted=restricted)
        named = more or (lambda root, options: list(sources))
        module = SimpleNamespace(SPEC=spec, Options=Options, sources=named)
        kept = {"parallel": 2, "attempts": 3, "timeout_s": 5.0, "pause_s": 0.0, **manners}
        place = tmp_path / "toy"
        return acquire(
            "toy", module, Options(), place / "media", place / "downloads", wishes or Wishes(), Manners(**kept), offline,
            place / "downloaded.json", waits.append,
        )["files"]  # fmt: skip

    call.waits, call.root, call.folder = waits, tmp_path / "toy" / "media", tmp_path / "toy" / "downloads"
    return call


@pytest.fixture
def source(files):  # noqa: F811
    """A file that the server has."""

    def make(name, data=None, **how):
        files.files[name] = DATA[name] if data is None else data
        return Source(name, how.pop("to", name), (files.url(name),), **how)

    return make


def asked(server, name):
    return [span for what, span in server.asked if what == name]


def test_files_come_once_and_are_laid_out(get, source, files):  # noqa: F811
    made = get(source("f0.bin", to="a/b.bin"), source("f1.bin"))
    assert (get.root / "a/b.bin").read_bytes() == DATA["f0.bin"]
    assert made["f0.bin"] == {
        "status": "ok", "reason": "", "to": "a/b.bin", "sha256": sha(DATA["f0.bin"]), "size": 300_000,
        "origin": files.url("f0.bin"),
    }  # fmt: skip
    before = (get.folder.parent / "downloaded.json").read_bytes()
    get(source("f0.bin", to="a/b.bin"), source("f1.bin"))
    assert len(files.asked) == 2 and (get.folder.parent / "downloaded.json").read_bytes() == before
    assert sorted(path.name for path in get.folder.iterdir()) == ["ledger.jsonl"]


@pytest.mark.parametrize(
    ("plans", "requests", "waits"),
    [
        ([cut, whole], ["", "bytes=131072-"], [1.0]),
        ([cut, file_server.slow(0), whole], ["", "bytes=131072-"], [1.0]),
        ([says(503, Retry_After=7), whole], ["", ""], [7.0]),
        ([says(429), says(429), whole], ["", "", ""], [1.0, 2.0]),
        ([cut, lambda handler, data: whole(handler, data, '"new"')], ["", "bytes=131072-"], [1.0]),
    ],
)
def test_servers_that_fail_for_a_while_are_asked_again(get, source, files, plans, requests, waits):  # noqa: F811
    one = source("f0.bin", sha256=sha(DATA["f0.bin"]))
    files.plans["f0.bin"] = list(plans)
    get(one)
    assert (get.root / "f0.bin").read_bytes() == DATA["f0.bin"]
    assert asked(files, "f0.bin") == requests and get.waits == waits


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (says(404), "the server answered 404"),
        (says(403), "the server answered 403"),
        (says(500), "gave up after 3 attempts"),
        (instead(b"other"), "its sha256 is .*, not"),
        (hang, "the server was silent for 0.3 s"),
    ],
)
def test_a_file_that_cannot_be_had_is_told_with_the_way_out_and_the_others_are_kept(get, source, files, plan, told):  # noqa: F811
    bad = source("f0.bin", sha256=sha(DATA["f0.bin"]), by_hand="ask Joe")
    files.plans["f0.bin"] = [plan]
    with pytest.raises(AcquisitionError, match=told) as caught:
        get(bad, source("f1.bin"), timeout_s=0.3)
    said = str(caught.value)
    assert "1 of 2 files of 'toy' are missing" in said and "by hand: ask Joe; put it at" in said
    assert f"{get.folder / 'f0.bin'}' (sha256 {sha(DATA['f0.bin'])})" in said and "datasets.toy.root" in said
    assert not (get.root / "f0.bin").exists() and not (get.folder.parent / "downloaded.json").exists()
    assert (get.root / "f1.bin").read_bytes() == DATA["f1.bin"]
    files.plans.clear()
    get(bad, source("f1.bin"))
    assert len(asked(files, "f1.bin")) == 1


def test_mirrors_are_tried_in_order_those_of_the_config_first(get, source, files):  # noqa: F811
    one = replace(source("f0.bin"), origins=(files.url("gone"), files.url("f0.bin")))
    made = get(one, wishes=Wishes(mirrors={"f0.bin": [files.url("mine")]}))
    assert [name for name, _ in files.asked] == ["mine", "gone", "f0.bin"]
    assert made["f0.bin"]["origin"] == files.url("f0.bin")


def test_an_archive_is_unpacked_once_and_then_deleted(get, source, files):  # noqa: F811
    one = source("x.zip", zipped({"top/a": b"1", "top/b": b"2"}), to="data", unpack=True, below="top")
    made = get(one)["x.zip"]
    assert made["files"] == 2 and (get.root / "data/a").read_bytes() == b"1" and not (get.folder / "x.zip").exists()
    get(one)
    assert len(files.asked) == 1
    (get.root / "data/b").unlink()  # what was there is not: it is fetched again
    get(one)
    assert len(files.asked) == 2 and (get.root / "data/b").exists()


def test_archives_may_be_kept(get, source):
    get(source("x.zip", zipped({"a": b"1"}), to=".", unpack=True), keep_archives=True)
    assert (get.folder / "x.zip").exists()


def test_another_wish_unpacks_again(get, source, files):  # noqa: F811
    one = source("x.zip", zipped({"a": b"1", "b": b"2"}), to=".", unpack=True, members=frozenset({"a"}))
    get(one)
    assert not (get.root / "b").exists()
    get(replace(one, members=frozenset({"a", "b"})))
    assert (get.root / "b").exists() and len(files.asked) == 2
    get(replace(one, members=frozenset({"b"})))  # all of that is there
    assert len(files.asked) == 2


def test_a_truncated_archive_is_noticed_without_a_checksum_and_comes_from_elsewhere(get, source, files):  # noqa: F811
    data = zipped({"a": b"1" * 5000})
    files.files["bad"] = data[:-40]
    one = replace(source("x.zip", data, to=".", unpack=True), origins=(files.url("bad"), files.url("x.zip")))
    get(one)
    assert (get.root / "a").read_bytes() == b"1" * 5000
    two = Source("y.zip", ".", (files.url("bad"),), unpack=True)
    with pytest.raises(AcquisitionError, match="damaged or cut short"):
        get(two)
    assert not (get.folder / "y.zip").exists()


def test_a_hostile_archive_leaves_nothing(get, source, tmp_path):
    with pytest.raises(AcquisitionError, match="points out of the folder"):
        get(source("x.zip", zipped({"../../evil": b"1"}), to=".", unpack=True))
    assert not list(tmp_path.rglob("evil"))


def test_what_was_dropped_is_taken_verified_and_left(get, source, files):  # noqa: F811
    get.folder.mkdir(parents=True)
    (get.folder / "f0.bin").write_bytes(DATA["f0.bin"])
    (get.folder / "x.zip").write_bytes(zipped({"a": b"1"}))
    one = Source("f0.bin", "sub/f0.bin", sha256=sha(DATA["f0.bin"]))
    made = get(one, Source("x.zip", ".", unpack=True), restricted="research only")
    assert made["f0.bin"]["origin"] == "dropped" and (get.root / "sub/f0.bin").read_bytes() == DATA["f0.bin"]
    assert (get.folder / "f0.bin").exists() and (get.folder / "x.zip").exists() and (get.root / "a").exists()
    assert files.asked == []


def test_a_file_that_lies_where_it_belongs_is_taken(get, files):  # noqa: F811
    get.root.mkdir(parents=True)
    (get.root / "list.csv").write_text("mine")
    assert get(Source("list.csv", "list.csv"))["list.csv"]["origin"] == "dropped"


def test_a_dropped_file_that_is_another_or_half_copied_is_refused_and_left(get, source):
    get.folder.mkdir(parents=True)
    (get.folder / "f0.bin").write_bytes(DATA["f0.bin"][:100])
    with pytest.raises(AcquisitionError, match="it is another file, or was not copied whole; replace it"):
        get(source("f0.bin", sha256=sha(DATA["f0.bin"])))
    (get.folder / "x.zip").write_bytes(zipped({"a": b"1"})[:-30])
    with pytest.raises(AcquisitionError, match="damaged or cut short"):
        get(Source("x.zip", ".", unpack=True))
    assert (get.folder / "f0.bin").exists() and (get.folder / "x.zip").exists()


def test_what_has_to_be_dropped_is_said_with_its_place(get):
    with pytest.raises(AcquisitionError, match=r"x\.zip: it has to be dropped by hand\n .*: fill in the form; put it at"):
        get(Source("x.zip", ".", unpack=True, by_hand="fill in the form"))


def test_terms_are_shown_before_the_first_request_and_must_be_accepted(get, source, files, capsys):  # noqa: F811
    one = source("f0.bin")
    with pytest.raises(AcquisitionError, match=r"Toy: research only. Nothing was fetched.*datasets.toy.accept_terms: true"):
        get(one, restricted="research only")
    assert files.asked == []
    told = []
    files.plans["f0.bin"] = [lambda handler, data: (told.append(capsys.readouterr().out), whole(handler, data))]
    get(one, restricted="research only", wishes=Wishes(accept_terms=True))
    for text in ("Toy", "licence: CC0", "terms: research only", "Me, 2000", f"f0.bin from {files.url('f0.bin')}"):
        assert text in told[0]


def test_offline_takes_what_is_there_and_names_the_rest(get, source, files):  # noqa: F811
    with pytest.raises(AcquisitionError, match=r"f0\.bin: offline"):
        get(source("f0.bin"), offline=True)
    assert files.asked == []
    get.folder.mkdir(parents=True, exist_ok=True)
    (get.folder / "f0.bin").write_bytes(DATA["f0.bin"])
    assert get(source("f0.bin"), offline=True)["f0.bin"]["status"] == "ok"


def test_what_a_list_names_follows_the_list(get, source, files):  # noqa: F811
    listed = source("list.txt", b"f0.bin f1.bin")
    source("f0.bin"), source("f1.bin")

    def more(root, options):
        path = root / "list.txt"
        return [listed, *(Source(n, n, (files.url(n),)) for n in (path.read_text().split() if path.exists() else ()))]

    assert sorted(get(more=more)) == ["f0.bin", "f1.bin", "list.txt"]
    assert (get.root / "f1.bin").exists()


def test_a_checksum_that_nobody_published_is_kept_to(get, source, files):  # noqa: F811
    one = source("f0.bin")
    get(one)
    (get.root / "f0.bin").unlink()
    files.files["f0.bin"] = b"changed"
    with pytest.raises(AcquisitionError, match=r"was .* the first time.*checksums: {f0\.bin: "):
        get(one)
    get(one, wishes=Wishes(checksums={"f0.bin": sha(b"changed")}))
    assert (get.root / "f0.bin").read_bytes() == b"changed"


def test_a_full_disk_is_told_and_what_came_is_kept(get, source, monkeypatch):
    written = []

    def fill(file, chunk):
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(file.write(chunk[:1000]))

    monkeypatch.setattr(downloads, "_write", fill)
    with pytest.raises(AcquisitionError, match=r"disk of .* is full: .* are kept"):
        get(source("f0.bin", data=b"x" * 200_000))
    assert (get.folder / "f0.bin.part").stat().st_size >= 1000
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    get(source("f0.bin", data=b"x" * 200_000))


def test_too_little_room_is_told_before_the_first_request(get, source, files, monkeypatch):  # noqa: F811
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000_000))
    with pytest.raises(AcquisitionError, match=r"about 8\.0 GB are needed at .* and 3\.0 GB are free"):
        get(source("x.zip", b"", to=".", unpack=True, size=4_000_000_000))
    assert files.asked == []


def test_files_come_side_by_side_but_few_from_one_host(get, source, files):  # noqa: F811
    many = [source(name) for name in DATA]
    for name in DATA:
        files.plans[name] = [slow(0.15)]
    get(*many, parallel=4, per_host=2)
    assert files.busiest == 2
    for name in DATA:
        (get.root / name).unlink()
    files.busiest = 0
    get(*many, parallel=1, per_host=2)
    assert files.busiest == 1


def test_all_threads_together_keep_below_a_rate():
    now, slept = [0.0], []
    pace = Pace(1000.0, clock=lambda: now[0], sleep=slept.append)
    for _ in range(4):
        pace(500)
    assert slept == [0.5, 1.0, 1.5, 2.0]
    now[0] = 10.0
    pace(500)
    assert slept[-1] == 0.5
    free = Pace(0.0, clock=lambda: now[0], sleep=slept.append)
    free(10**9)
    assert len(slept) == 5


def test_a_broken_ledger_costs_only_its_lines(get, source, files):  # noqa: F811
    pair = source("f0.bin"), source("f1.bin")
    get(*pair)
    path = get.folder / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + '{"name": "f1.bin", "entry": {"sta')
    assert {entry["status"] for entry in get(*pair).values()} == {"ok"}


def test_paths_of_a_plug_in_stay_in_its_folder(get, source):
    for one in (source("f0.bin", to="../f0.bin"), Source("../x", "x"), Source("x", "/etc/x")):
        with pytest.raises(AcquisitionError, match="is no path below the folder of a dataset"):
            get(one)


_KILLED = """
import sys
from pathlib import Path
from types import SimpleNamespace
from pydantic import BaseModel
from earshot.acquisition import Manners, Wishes, acquire
from earshot.datasets import Dataset, Source
url, place, names = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
class Options(BaseModel): pass
sources = [Source(n, n, (url + n,)) for n in names]
module = SimpleNamespace(SPEC=Dataset("Toy", "x", None, "", ""), Options=Options, sources=lambda r, o: sources)
folders = place / "media", place / "downloads"
acquire("toy", module, Options(), *folders, Wishes(), Manners(parallel=1), False, place / "downloaded.json")
"""


def test_a_killed_run_goes_on_where_it_was(get, source, files):  # noqa: F811
    many = [source(name) for name in DATA]
    files.plans["f2.bin"] = [hang]
    env = {**os.environ, "PYTHONPATH": str(Path(acquisition.__file__).parents[1])}
    command = [sys.executable, "-c", _KILLED, files.url(""), str(get.folder.parent), *DATA]
    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    while "f2.bin" not in [name for name, _ in files.asked]:
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (get.folder.parent / "downloaded.json").exists() and not (get.root / "f2.bin").exists()
    files.plans.clear()
    get(*many)
    assert {name: (get.root / name).read_bytes() == data for name, data in DATA.items()} == dict.fromkeys(DATA, True)
    assert len(asked(files, "f0.bin")) == len(asked(files, "f1.bin")) == 1


@pytest.fixture
def tls(tmp_path, files):  # noqa: F811
    """A server whose certificate nobody vouches for."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), file_server._Handler)
    for name in ("files", "plans", "asked", "lock", "released"):
        setattr(server, name, getattr(files, name))
    server.busy = server.busiest = 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_certificate_is_waived_only_on_demand_and_with_a_checksum(get, source, tls):
    one = replace(source("f0.bin"), origins=(f"{tls}f0.bin",))
    with pytest.raises(AcquisitionError, match=r"certificate could not be verified.*unverified_tls: true"):
        get(one)
    with pytest.raises(AcquisitionError, match=r"`unverified_tls` needs the file's checksum"):
        get(one, wishes=Wishes(unverified_tls=True))
    get(one, wishes=Wishes(unverified_tls=True, checksums={"f0.bin": sha(DATA["f0.bin"])}))
    assert (get.root / "f0.bin").read_bytes() == DATA["f0.bin"]


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A program on PATH: Python code that finds its arguments in `args`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name, code):
        path = folder / name
        path.write_text(f"#!{sys.executable}\nimport shutil, sys\nargs = sys.argv[1:]\n{code}\n")
        path.chmod(0o755)

    return make


CLIP = Source("v/a.mp4", "v/a.mp4", ("youtube://AbCdEfGhIj_?start=30&end=32",), needed=False)
SAVE = "shutil.copy({!r}, args[args.index('--output') + 1].replace('%(ext)s', 'mp4'))"


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "video.mp4"
    media.write_video(path, np.zeros((16, 32, 32, 3), np.uint8), 8.0)
    return str(path)


def test_a_clip_is_cut_out_of_its_video(get, program, video, tmp_path):
    program("yt-dlp", f"open({str(tmp_path / 'said')!r}, 'w').write(repr(args))\n{SAVE.format(video)}")
    made = get(CLIP, video_height=240)
    assert made["v/a.mp4"]["status"] == "ok" and (get.root / "v/a.mp4").read_bytes() == Path(video).read_bytes()
    said = (tmp_path / "said").read_text()
    get(replace(CLIP, name="x", to="x.mp4", origins=("youtube://AbCdEfGhIj_?start=101.8&end=103.8",)))
    assert "'*101.8-103.8'" in (tmp_path / "said").read_text()
    for text in ("'*30-32'", "height<=240", "'--', 'https://www.youtube.com/watch?v=AbCdEfGhIj_'"):
        assert text in said
    assert not list(get.folder.rglob("*.mp4"))


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: [youtube] AbCdEfGhIj_: Private video. Sign in if you've been granted access to this video",
        "ERROR: [youtube] AbCdEfGhIj_: Video unavailable. This video has been removed by the uploader",
        "ERROR: [youtube] AbCdEfGhIj_: Video unavailable. The YouTube account associated with this video has been terminated.",
    ],
)
def test_a_video_that_is_gone_is_written_down_and_not_asked_for_again(get, program, said, tmp_path, video):
    count = tmp_path / "count"
    program("yt-dlp", f"open({str(count)!r}, 'a').write('x')\nsys.exit({said!r})")
    made = get(CLIP)["v/a.mp4"]
    assert made["status"] == "unavailable" and made["to"] == "v/a.mp4"
    assert made["reason"] == said.removeprefix("ERROR: [youtube] ")
    get(CLIP)
    assert count.read_text() == "x"
    (get.root / "v").mkdir(parents=True)
    shutil.copy(video, get.root / "v/a.mp4")  # the user has it
    assert get(CLIP)["v/a.mp4"]["status"] == "ok"


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: unable to download video data: HTTP Error 429: Too Many Requests",
        "ERROR: [youtube] AbCdEfGhIj_: Sign in to confirm you're not a bot. This helps protect our community.",
    ],
)
def test_a_busy_host_is_asked_again_the_next_time(get, program, said, video):
    program("yt-dlp", f"sys.exit({said!r})")
    assert get(CLIP)["v/a.mp4"]["status"] == "unavailable"
    program("yt-dlp", SAVE.format(video))
    assert get(CLIP)["v/a.mp4"]["status"] == "ok"


def test_a_clip_beyond_the_end_of_its_video_is_refused(get, program, video):
    program("yt-dlp", SAVE.format(video))
    made = get(replace(CLIP, origins=("youtube://AbCdEfGhIj_?start=30&end=40",)))["v/a.mp4"]
    assert made["reason"] == "the video ends 8.0 s before its clip does" and not (get.root / "v/a.mp4").exists()


DRIVE = Source("x.bin", "x.bin", ("drive://1FjKwe79e0u96vdjIVwf",), by_hand="open the link")
PUT = "open(args[args.index('-O') + 1], 'wb').write({!r})"


def test_a_file_of_a_drive(get, program):
    program("gdown", f"assert args[0] == '1FjKwe79e0u96vdjIVwf' and '--continue' in args\n{PUT.format(b'bytes')}")
    assert get(DRIVE)["x.bin"]["sha256"] == sha(b"bytes")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (PUT.format(b"<!DOCTYPE html>Quota exceeded"), "a page came instead"),
        ("sys.exit('Too many users have viewed or downloaded this file recently')", "Too many users.*is closed for a day"),
    ],
)
def test_a_drive_that_gives_no_file_is_told(get, program, code, told):
    program("gdown", code)
    with pytest.raises(AcquisitionError, match=told) as caught:
        get(DRIVE)
    assert "open the link" in str(caught.value) and not (get.root / "x.bin").exists()


def test_without_the_optional_tools_it_is_said_how_to_get_them(get, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("earshot.origins.find_spec", lambda _: None)
    with pytest.raises(AcquisitionError, match=r"gdown is not there; .* -r requirements-fetch.lock"):
        get(DRIVE)
    with pytest.raises(AcquisitionError, match="yt-dlp is not there"):
        get(CLIP)  # though it is not needed: no clip could be had


def test_a_host_that_refuses_again_and_again_is_left_alone(get, program, tmp_path):
    count = tmp_path / "count"
    program("yt-dlp", f"open({str(count)!r}, 'a').write('x')\nsys.exit('HTTP Error 429: Too Many Requests')")
    many = [replace(CLIP, name=f"{k}.mp4", to=f"{k}.mp4") for k in range(60)]
    with pytest.raises(AcquisitionError, match=r"in a row failed in passing, so run again later"):
        get(*many)
    assert 20 <= len(count.read_text()) <= 26 and not (get.folder.parent / "downloaded.json").exists()


def test_offline_a_vanished_video_is_no_error(get):
    assert get(CLIP, offline=True)["v/a.mp4"]["reason"] == "offline"


def test_an_archive_that_was_fetched_before_a_kill_and_is_damaged_comes_anew(get, source, files):  # noqa: F811
    one = source("x.zip", zipped({"a": b"1"}), to=".", unpack=True)
    get.folder.mkdir(parents=True)
    (get.folder / "x.zip").write_bytes(files.files["x.zip"][:-30])
    entry = {"status": "fetched", "origin": "there", "want": "", "sha256": ""}
    (get.folder / "ledger.jsonl").write_text(json.dumps({"name": "x.zip", "entry": entry}) + "\n")
    assert get(one)["x.zip"]["status"] == "ok" and (get.root / "a").exists()


@pytest.mark.parametrize(
    "address",
    [
        "drive://x",
        "drive://-O/etc/passwd",
        "youtube://short?start=1&end=2",
        "youtube://AbCdEfGhIj_?start=3",
        "hub://x",
        "ftp://x/y",
    ],
)
def test_addresses_that_are_none_are_refused(get, address):
    with pytest.raises(AcquisitionError, match=r"is not|is no address|no address"):
        get(Source("x", "x", (address,)))


def test_a_file_of_the_hub(get, monkeypatch):
    seen = []

    def fake(repo, names, revision, folder, offline, kind):
        seen.append((repo, names, revision, kind))
        path = Path(folder, names[0])
        path.parent.mkdir(parents=True)
        path.write_bytes(b"hub")
        return [path]

    monkeypatch.setattr(downloads, "download_from_hub", fake)
    get(Source("CLIP.zip", "CLIP.zip", ("hub://datasets/o-1/n.a_me@main/sub/CLIP.zip",)))
    assert seen == [("o-1/n.a_me", ["sub/CLIP.zip"], "main", "dataset")] and (get.root / "CLIP.zip").read_bytes() == b"hub"
    assert sorted(path.name for path in get.folder.iterdir()) == ["ledger.jsonl"]


def test_two_processes_wait_for_each_other(get, source, files):  # noqa: F811
    one = source("f0.bin")
    files.plans["f0.bin"] = [slow(0.2)]
    threads = [threading.Thread(target=get, args=(one,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files.asked) == 1 and json.loads((get.folder.parent / "downloaded.json").read_text())["files"]["f0.bin"]


def test_progress_is_told(get, source, capsys):
    get(source("f0.bin"), source("f1.bin"))
    assert "2 of 2 files; 0.6 MB came" in capsys.readouterr().out
