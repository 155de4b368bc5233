"""Downloads from a server on this machine that does all that servers do wrong."""

import errno
import hashlib
import json
import socket
import sys
import threading
import time
import types
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from earshot import downloads
from earshot.downloads import DownloadError, download, download_from_hub

DATA = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
SHA = hashlib.sha256(DATA).hexdigest()
HALF = len(DATA) // 2


class Server(ThreadingHTTPServer):
    """Answers the n-th request with `answers[n]`, later ones with the last; keeps the headers of requests."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.seen, self.released = [whole], [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/files/model-v1.pth"

    def handle_error(self, request, client_address):
        pass  # clients that hang up are what is tested


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(dict(self.headers))
        self.server.answers[min(len(self.server.seen), len(self.server.answers)) - 1](self)

    def log_message(self, *_):
        pass

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def wanted_start(self):
        text = self.headers.get("Range")
        return int(text.removeprefix("bytes=").rstrip("-")) if text else None


def whole(handler, data=DATA, etag='"one"', **headers):
    """A server that keeps to the rules: 206 from where it was asked, if the version is still the same."""
    start = handler.wanted_start()
    if start is None or handler.headers.get("If-Range") != etag:
        handler.send(200, data, ETag=etag, **headers)
    elif start >= len(data):
        handler.send(416, Content_Range=f"bytes */{len(data)}")
    else:
        handler.send(206, data[start:], ETag=etag, Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}", **headers)


def cut(handler, n=HALF, data=DATA, **headers):
    """Announce all and hang up after `n` bytes."""
    handler.send(200, data[:n], Content_Length=len(data), **{"ETag": '"one"', **headers})


def says(status, **headers):
    return lambda handler: handler.send(status, b"no", **headers)


def hang(handler):
    handler.send(200, DATA[:HALF], Content_Length=len(DATA), ETag='"one"')
    handler.server.released.wait(10)


@pytest.fixture
def server(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def slept():
    return []


@pytest.fixture
def get(server, tmp_path, slept):
    """Download from the server into `tmp_path / "model.pth"`, without waiting."""

    def call(sha256=SHA, **options):
        options = {"offline": False, "sleep": slept.append, "timeout_s": 5.0, "attempts": 4, **options}
        return download(options.pop("url", server.url), tmp_path / "model.pth", sha256, **options)

    return call


@pytest.fixture
def out(tmp_path):
    return tmp_path / "model.pth"


def part_of(out):
    return out.with_name("model.pth.part")


def note_of(out):
    return out.with_name("model.pth.part.json")


def unused_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def assert_only(out, *names):
    assert sorted(p.name for p in out.parent.iterdir()) == sorted(names)


def test_a_file_comes_whole_once(server, get, out, slept):
    assert get() == out
    assert out.read_bytes() == DATA
    assert_only(out, "model.pth")
    assert get() == out
    assert [seen["Accept-Encoding"] for seen in server.seen] == ["identity"]
    assert slept == []


def test_missing_folders_are_made(server, tmp_path):
    path = download(server.url, tmp_path / "a" / "b" / "model.pth", SHA, offline=False)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("sha256", [SHA[:8], SHA.upper(), f" {SHA[:20]}\n"])
def test_the_start_of_a_digest_is_enough(get, sha256):
    assert get(sha256).read_bytes() == DATA


@pytest.mark.parametrize("sha256", ["", SHA[:7], "no digest", SHA + "0"])
def test_a_digest_must_be_one(server, get, sha256):
    with pytest.raises(DownloadError, match="sha256"):
        get(sha256)
    assert server.seen == []


def test_without_checksum_only_if_asked_for(get, out):
    assert get("", unverified=True).read_bytes() == DATA
    assert get("", unverified=True) == out
    with pytest.raises(DownloadError, match="sha256"):
        get("", unverified=False)


def test_unverified_still_verifies_a_checksum_that_is_given(get, out):
    with pytest.raises(DownloadError, match="sha256"):
        get("0" * 64, unverified=True)
    assert_only(out)


def test_a_cut_connection_goes_on_where_it_was(server, get, out, slept):
    server.answers = [cut, whole]
    assert get().read_bytes() == DATA
    start = int(server.seen[1]["Range"].removeprefix("bytes=").rstrip("-"))
    assert 0 < start <= HALF
    assert server.seen[1]["If-Range"] == '"one"'
    assert slept == [1.0]
    assert_only(out, "model.pth")


def test_a_later_call_goes_on_too(server, get, out):
    server.answers = [cut, whole]
    with pytest.raises(DownloadError, match="run again to go on"):
        get(attempts=1)
    assert_only(out, "model.pth.part", "model.pth.part.json")
    kept = part_of(out).stat().st_size
    assert 0 < kept <= HALF
    assert get().read_bytes() == DATA
    assert server.seen[1]["Range"] == f"bytes={kept}-"
    assert_only(out, "model.pth")


def test_a_date_serves_as_version_where_there_is_no_tag(server, get):
    date = formatdate(1_600_000_000, usegmt=True)
    server.answers = [lambda h: cut(h, ETag='W/"weak"', Last_Modified=date), lambda h: whole(h, etag=date)]
    assert get().read_bytes() == DATA
    assert server.seen[1]["If-Range"] == date


def test_without_any_version_a_download_starts_again(server, get):
    server.answers = [lambda h: h.send(200, DATA[:HALF], Content_Length=len(DATA)), whole]
    assert get().read_bytes() == DATA
    assert "Range" not in server.seen[1]


def test_a_server_without_ranges_starts_again(server, get):
    server.answers = [cut, lambda h: h.send(200, DATA, ETag='"one"')]
    assert get().read_bytes() == DATA
    assert "Range" in server.seen[1]


def test_a_version_that_changed_is_not_mixed_with_the_old(server, get):
    server.answers = [
        lambda h: cut(h, data=OTHER, ETag='"old"'),
        lambda h: cut(h, data=DATA, ETag='"new"'),
        lambda h: whole(h, etag='"new"'),
    ]
    assert get().read_bytes() == DATA
    assert [seen.get("If-Range") for seen in server.seen] == [None, '"old"', '"new"']


def test_a_server_that_ignores_if_range_is_not_believed(server, get):
    def continuation(h):
        start = h.wanted_start()
        h.send(206, DATA[start:], ETag='"new"', Content_Range=f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")

    server.answers = [lambda h: cut(h, data=OTHER, ETag='"old"'), continuation, whole]
    assert get("", unverified=True).read_bytes() == DATA
    assert "Range" not in server.seen[2]


def test_a_version_without_a_name_does_not_inherit_the_old_one(server, get):
    server.answers = [cut, lambda h: h.send(200, OTHER[:HALF], Content_Length=len(DATA)), whole]
    assert get("", unverified=True).read_bytes() == DATA
    assert ["Range" in seen for seen in server.seen] == [False, True, False]


def test_a_server_that_sends_less_than_asked_for_is_asked_for_the_rest(server, get, monkeypatch):
    def at_most_50_kb(h):
        start = h.wanted_start()
        end = min(start + 50_000, len(DATA))
        h.send(206, DATA[start:end], ETag='"one"', Content_Range=f"bytes {start}-{end - 1}/{len(DATA)}")

    monkeypatch.setattr(downloads, "_PROGRESS", 20_000)
    server.answers = [cut, at_most_50_kb]
    assert get("", unverified=True).read_bytes() == DATA


def test_a_mixture_that_nothing_betrays_fails_its_checksum_and_starts_again(server, get):
    def continuation(h):
        start = h.wanted_start()
        h.send(206, DATA[start:], Content_Range=f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")

    server.answers = [lambda h: cut(h, data=OTHER), continuation, whole]
    assert get().read_bytes() == DATA
    assert len(server.seen) == 3


@pytest.mark.parametrize("told", ["bytes 0-299999/300000", "bytes 7-9/300000", "items 1-2/3", None])
def test_a_part_that_starts_elsewhere_is_not_taken(server, get, told):
    headers = {"Content_Range": told} if told else {}
    server.answers = [cut, lambda h: h.send(206, OTHER[h.wanted_start() :], ETag='"one"', **headers), whole]
    assert get("", unverified=True).read_bytes() == DATA
    assert "Range" not in server.seen[2]


def test_a_whole_part_is_recognised(server, get, out):
    part_of(out).write_bytes(DATA)
    note_of(out).write_text(json.dumps({"url": server.url, "version": '"one"'}))
    assert get().read_bytes() == DATA  # the server answers 416
    assert len(server.seen) == 1
    assert_only(out, "model.pth")


@pytest.mark.parametrize(("kept", "options"), [(OTHER, {}), (DATA + b"more", {"sha256": "", "unverified": True})])
def test_a_part_that_is_wrong_or_too_long_is_thrown_away(server, get, out, kept, options):
    part_of(out).write_bytes(kept)
    note_of(out).write_text(json.dumps({"url": server.url, "version": '"one"'}))
    assert get(**options).read_bytes() == DATA
    assert "Range" not in server.seen[1]


@pytest.mark.parametrize("note", [None, "", "no json", "[]", '{"url": "http://elsewhere/", "version": "1"}', '{"version": 3}'])
def test_a_part_of_unknown_origin_is_not_gone_on_with(server, get, out, note):
    part_of(out).write_bytes(OTHER[:HALF])
    if note is not None:
        note_of(out).write_text(note)
    assert get().read_bytes() == DATA
    assert "Range" not in server.seen[0]
    assert_only(out, "model.pth")


@pytest.mark.parametrize("status", [403, 404, 401, 410])
def test_a_refusal_is_told_at_once(server, get, out, slept, status):
    server.answers = [says(status)]
    with pytest.raises(DownloadError, match=rf"model-v1\.pth.*{status}.*`path:`"):
        get()
    assert (len(server.seen), slept) == (1, [])
    assert not out.exists()


def test_a_refusal_leaves_what_was_received(server, get, out):
    server.answers = [cut, says(403)]
    with pytest.raises(DownloadError, match="403"):
        get()
    assert_only(out, "model.pth.part", "model.pth.part.json")


def test_a_busy_server_says_how_long_to_wait(server, get, slept):
    server.answers = [says(429, Retry_After=7), says(503, Retry_After=100_000), whole]
    assert get().read_bytes() == DATA
    assert slept == [7.0, 120.0]


def test_a_date_to_wait_for_is_understood(server, get, slept):
    server.answers = [
        says(429, Retry_After=formatdate(time.time() + 30, usegmt=True)),
        says(429, Retry_After=formatdate(0, usegmt=True)),
        says(429, Retry_After="soon"),
        whole,
    ]
    assert get().read_bytes() == DATA
    assert 20 < slept[0] <= 31
    assert slept[1:] == [0.0, 4.0]


def test_a_failing_server_is_asked_again_ever_more_patiently(server, get, slept):
    server.answers = [says(503), says(500), whole]
    assert get().read_bytes() == DATA
    assert slept == [1.0, 2.0]


def test_patience_ends(server, get, out, slept):
    server.answers = [says(502)]
    with pytest.raises(DownloadError, match=r"gave up after 4 attempts: the server answered 502"):
        get()
    assert (len(server.seen), len(slept)) == (4, 3)
    assert_only(out)


def test_getting_on_is_no_failure(server, get, slept, monkeypatch):
    monkeypatch.setattr(downloads, "_PROGRESS", 20_000)
    monkeypatch.setattr(downloads, "_CHUNK", 1000)

    def a_little(h):
        start = h.wanted_start() or 0
        headers = {"Content_Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"} if start else {}
        h.send(206 if start else 200, DATA[start : start + 40_500], Content_Length=len(DATA) - start, ETag='"one"', **headers)

    server.answers = [a_little]
    assert get(attempts=2).read_bytes() == DATA
    assert len(server.seen) == 8
    assert slept == [1.0] * 7


def test_starting_over_and_over_is_a_failure(server, get, monkeypatch):
    monkeypatch.setattr(downloads, "_PROGRESS", 20_000)
    server.answers = [cut]
    with pytest.raises(DownloadError, match="gave up"):
        get()
    assert len(server.seen) == 4


def test_wrong_bytes_are_deleted_and_both_checksums_told(server, get, out):
    server.answers = [lambda h: whole(h, data=OTHER)]
    with pytest.raises(DownloadError) as caught:
        get()
    assert SHA in str(caught.value) and hashlib.sha256(OTHER).hexdigest() in str(caught.value)
    assert len(server.seen) == 1
    assert_only(out)


def test_a_file_that_is_there_but_wrong_is_replaced(get, out):
    out.write_bytes(OTHER)
    assert get().read_bytes() == DATA


@pytest.mark.parametrize("options", [{}, {"sha256": "", "unverified": True}])
def test_less_than_announced_is_not_complete(server, get, out, options):
    server.answers = [lambda h: cut(h, n=len(DATA) - 1)]
    with pytest.raises(DownloadError, match="gave up"):
        get(**options)
    assert_only(out, "model.pth.part", "model.pth.part.json")


def test_a_body_of_unknown_length_is_judged_by_its_checksum(server, get):
    def unannounced(h):
        h.send_response(200)
        h.end_headers()
        h.wfile.write(DATA)

    server.answers = [unannounced]
    assert get().read_bytes() == DATA


def test_a_body_that_is_compressed_against_our_wish_is_opened(server, get, out):
    import gzip

    packed = gzip.compress(DATA)
    server.answers = [
        lambda h: h.send(200, packed[:HALF], ETag='"one"', Content_Encoding="gzip", Content_Length=len(packed)),
        lambda h: h.send(200, packed, ETag='"one"', Content_Encoding="gzip"),
    ]
    assert get().read_bytes() == DATA
    assert "Range" not in server.seen[1]  # bytes of the part are not those of the server


def test_silence_is_not_waited_for(server, get, out):
    server.answers = [hang, whole]
    started = time.monotonic()
    assert get(timeout_s=0.2).read_bytes() == DATA
    assert time.monotonic() - started < 3
    assert "Range" in server.seen[1]


def test_silence_is_named(server, get, out):
    server.answers = [hang]
    with pytest.raises(DownloadError, match=r"silent for 0\.1 s.*bytes are kept"):
        get(timeout_s=0.1, attempts=2)
    assert_only(out, "model.pth.part", "model.pth.part.json")


def test_a_server_that_is_not_there(get):
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1.*gave up.*refused"):
        get(url=f"http://{unused_address()}/file", attempts=2)


def test_a_full_disk_is_told_and_what_is_there_is_kept(get, out, monkeypatch):
    def write(file, chunk):
        if file.tell() >= HALF:
            raise OSError(errno.ENOSPC, "No space left on device")
        file.write(chunk)

    with monkeypatch.context() as patch:
        patch.setattr(downloads, "_write", write)
        with pytest.raises(DownloadError, match=r"disk of .* is full.*run again"):
            get()
    assert not out.exists()
    kept = part_of(out).read_bytes()
    assert len(kept) >= HALF and DATA.startswith(kept)
    assert get().read_bytes() == DATA


def test_a_folder_that_cannot_be_written_is_told(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot write"):
        download(server.url, tmp_path / "file" / "model.pth", SHA, offline=False)


def test_redirects_are_followed_but_only_over_http(server, get, out):
    server.answers = [lambda h: h.send(302, Location="/elsewhere/file"), whole]
    assert get().read_bytes() == DATA
    out.unlink()
    server.answers = [lambda h: h.send(302, Location="file:///etc/passwd")]
    with pytest.raises(DownloadError):
        get()
    assert not out.exists()


@pytest.mark.parametrize(
    "url", ["ftp://host/file", "file:///etc/passwd", "model.pth", "", "http:///x", "http://[x/y", "http://h:99999/x"]
)
def test_only_http_addresses(get, url):
    with pytest.raises(DownloadError):
        get(url=url)


def test_secrets_are_in_no_message(server, get, caplog, tmp_path):
    url = server.url.replace("http://", "http://user:hunter2@") + "?token=hunter3#hunter4"
    server.answers = [says(503), cut, says(404)]
    with pytest.raises(DownloadError) as refused:
        get(url=url)
    note = (tmp_path / "model.pth.part.json").read_text()
    with pytest.raises(DownloadError) as offline:
        get(url=url, offline=True)
    with pytest.raises(DownloadError) as absent:
        get(url=f"http://user:hunter2@{unused_address()}/file?token=hunter3", attempts=2)
    with pytest.raises(DownloadError) as scheme:
        get(url="ftp://user:hunter2@host/file?token=hunter3")
    told = [caplog.text, note, *(str(e.value) for e in (refused, offline, absent, scheme))]
    assert all("hunter" not in text for text in told)
    assert len(caplog.records) >= 2
    # tracebacks print what an error was made from
    assert all(
        e.value.__cause__ is None and (e.value.__context__ is None or e.value.__suppress_context__) for e in (refused, absent)
    )


def test_offline_takes_only_what_is_there_and_right(server, get, out):
    with pytest.raises(DownloadError, match=rf"offline.*model-v1\.pth.*{SHA}.*{out}.*`path:`"):
        get(offline=True)
    out.write_bytes(OTHER)
    with pytest.raises(DownloadError, match=hashlib.sha256(OTHER).hexdigest()):
        get(offline=True)
    out.write_bytes(DATA)
    assert get(offline=True) == out
    assert get("", offline=True, unverified=True) == out
    assert server.seen == []


def test_a_part_is_not_taken_for_the_file_offline(get, out):
    part_of(out).write_bytes(DATA)
    with pytest.raises(DownloadError, match="offline"):
        get(offline=True)


def test_two_at_once_download_once(server, get):
    def slowly(h):
        time.sleep(0.2)
        whole(h)

    server.answers = [slowly]
    threads = [threading.Thread(target=get) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.seen) == 1
    assert get().read_bytes() == DATA


# the Hub, in whose place a function writes the file


@pytest.fixture
def hub(monkeypatch):
    calls = []

    def fetch(repo_id, filename, *, repo_type="model", revision, local_dir, local_files_only, force_download):
        calls.append((filename, revision, local_files_only, force_download))
        path = local_dir / filename
        if fetch.error and filename == fetch.at:
            raise fetch.error
        if not local_files_only:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{repo_id} {filename} {revision}")
        elif not path.exists():
            raise FileNotFoundError("token=hunter2")
        return str(path)

    fetch.error, fetch.at, fetch.calls = None, "b", calls
    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=fetch))
    return fetch


def test_hub_files_lie_in_the_folder(hub, tmp_path):
    paths = download_from_hub("org/name", ["a.bin", "sub/b.json"], "v1", tmp_path, False)
    assert paths == [tmp_path / "a.bin", tmp_path / "sub" / "b.json"]
    assert download_from_hub("org/name", ["a.bin"], "v1", tmp_path, True) == [tmp_path / "a.bin"]
    assert [call[2:] for call in hub.calls] == [(False, False), (False, False), (True, False)]


def test_hub_offline_says_what_to_put_where(hub, tmp_path):
    with pytest.raises(DownloadError, match=r"offline.*a\.bin.*org/name@v1.*`path:`") as caught:
        download_from_hub("org/name", ["a.bin"], "v1", tmp_path, True)
    assert "hunter" not in str(caught.value)
    (tmp_path / "a.bin").write_text("by hand")
    assert download_from_hub("org/name", ["a.bin"], "v1", tmp_path, True) == [tmp_path / "a.bin"]


def test_hub_files_of_another_revision_are_not_taken(hub, tmp_path):
    download_from_hub("org/name", ["a"], "v1", tmp_path, False)
    with pytest.raises(DownloadError, match=r"another revision.*delete .*\.hub\.json"):
        download_from_hub("org/name", ["a"], "v2", tmp_path, True)
    hub.error = OSError("cut")
    with pytest.raises(DownloadError):  # now one is new and one is old
        download_from_hub("org/name", ["a", "b"], "v2", tmp_path, False)
    with pytest.raises(DownloadError, match=r"another revision.*delete .*\.hub\.json"):
        download_from_hub("org/name", ["a"], "v2", tmp_path, True)
    hub.error = None
    download_from_hub("org/name", ["a", "b"], "v2", tmp_path, False)
    assert hub.calls[-1] == ("b", "v2", False, True)
    assert len(download_from_hub("org/name", ["a", "b"], "v2", tmp_path, True)) == 2
    (tmp_path / ".hub.json").unlink()  # the way out that the error names
    assert len(download_from_hub("org/name", ["a", "b"], "v3", tmp_path, True)) == 2


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (type("GatedRepoError", (OSError,), {})("for url https://host/file?Signature=hunter2"), "HF_TOKEN"),
        (type("RepositoryNotFoundError", (OSError,), {})("hunter2"), "check repository"),
        (type("RemoteEntryNotFoundError", (Exception,), {})("hunter2"), "check repository"),
        (OSError(errno.ENOSPC, "No space left"), "disk of .* is full"),
        (ConnectionError("hunter2"), "try again"),
    ],
)
def test_hub_errors_say_what_to_do(hub, tmp_path, error, told):
    hub.error = error
    with pytest.raises(DownloadError, match=told) as caught:
        download_from_hub("org/name", ["b"], "v1", tmp_path, False)
    assert "hunter" not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["../model.bin", "/etc/passwd", "a/../../b"])
def test_hub_files_stay_in_their_folder(hub, tmp_path, name):
    with pytest.raises(DownloadError, match="no file name"):
        download_from_hub("org/name", [name], "v1", tmp_path, False)
    assert hub.calls == []


def test_the_library_has_the_arguments_that_are_used():
    import inspect

    from huggingface_hub import hf_hub_download

    names = inspect.signature(hf_hub_download).parameters
    assert list(names)[:2] == ["repo_id", "filename"]
    assert {"revision", "local_dir", "local_files_only", "force_download", "repo_type"} <= set(names)


def test_the_library_itself_offline(tmp_path):
    pytest.importorskip("huggingface_hub")
    with pytest.raises(DownloadError, match=r"offline.*model\.safetensors"):
        download_from_hub("org/name", ["model.safetensors"], "main", tmp_path, True)
    (tmp_path / "model.safetensors").write_bytes(b"by hand")
    assert download_from_hub("org/name", ["model.safetensors"], "main", tmp_path, True) == [tmp_path / "model.safetensors"]
