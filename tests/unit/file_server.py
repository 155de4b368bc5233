"""A web server on this machine that offers files, with ranges and version tags, and misbehaves where a test asks it to."""

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest


class FileServer(ThreadingHTTPServer):
    """`files` maps names to bytes; `plans` maps names to what is done with each request in turn, the last again and again."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.plans, self.asked = {}, {}, []
        self.released, self.lock = threading.Event(), threading.Lock()
        self.busy = self.busiest = 0

    def url(self, name):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def handle_error(self, request, client_address):
        pass  # clients that hang up are what is tested


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, unquote(self.path.lstrip("/"))
        with server.lock:
            server.asked.append((name, self.headers.get("Range", "")))
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
            plans = server.plans.get(name, [whole])
            plan = plans.pop(0) if len(plans) > 1 else plans[0]
        try:
            plan(self, server.files.get(name))
        finally:
            with server.lock:
                server.busy -= 1

    def log_message(self, *_):
        pass

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in {"Content_Length": len(body), **headers}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)


def whole(handler, data, tag=None):
    """Keep to the rules: 404 for what is not there, 206 from where it was asked if the version is the same."""
    if data is None:
        return handler.send(404, b"no")
    tag = tag or f'"{hashlib.sha256(data).hexdigest()[:8]}"'
    start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    if start and handler.headers.get("If-Range") == tag:
        span = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return handler.send(206, data[start:], ETag=tag, Content_Range=span)
    return handler.send(200, data, ETag=tag)


def cut(handler, data):
    """Hang up in the middle."""
    tag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
    handler.send(200, data[: len(data) // 2], Content_Length=len(data), ETag=tag)


def says(status, **headers):
    """Answer with a status."""
    return lambda handler, data: handler.send(status, b"no", **headers)


def instead(other):
    """Send other bytes, as if they were right."""
    return lambda handler, data: whole(handler, other)


def slow(seconds):
    """Wait before a right answer."""

    def plan(handler, data):
        time.sleep(seconds)
        whole(handler, data)

    return plan


def hang(handler, data):
    """Begin, and never go on."""
    handler.send(200, data[:10], Content_Length=len(data))
    handler.server.released.wait(10)


@pytest.fixture
def files(monkeypatch):
    """A running server."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()
