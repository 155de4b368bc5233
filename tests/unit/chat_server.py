"""A server on the loopback address that speaks the protocol of chat endpoints, and misbehaves as it is told."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ChatServer:
    """`script` holds what to do with the next requests, one each: a name of a method here, or a function; then it is good.

    `seen` are the bodies of all requests, `authorised` their Authorization headers, `paid` the sounds of each good answer.
    """

    def __init__(self, truth, script=()):
        self.truth, self.script = truth, list(script)
        self.seen, self.authorised, self.paid = [], [], []

    def handle(self, http):
        body = json.loads(http.rfile.read(int(http.headers["Content-Length"])))
        self.seen.append(body)
        self.authorised.append(http.headers.get("Authorization"))
        step = self.script.pop(0) if self.script else "good"
        if isinstance(step, str):
            getattr(self, step)(http, body)
        else:
            self.answer(http, step(self.rows(body)))

    def sounds(self, body):
        text = body["messages"][0]["content"]
        listed = text.split("Sounds:\n")[1].split("\n\n")[0]
        return [line.removeprefix("- ") for line in listed.strip().split("\n")]

    def rows(self, body):
        def targets(sound):
            return [{"label": label, "weight": weight} for label, weight in self.truth.get(sound, {}).items()]

        return [{"audio_label": sound, "video_labels": targets(sound)} for sound in self.sounds(body)]

    def answer(self, http, text, status=200, finish="stop", headers=()):
        content = text if isinstance(text, str) else json.dumps(text)
        message = {"choices": [{"message": {"content": content}, "finish_reason": finish}]}
        self.send(http, json.dumps({**message, "usage": {"prompt_tokens": 100, "completion_tokens": 10}}), status, headers)

    def send(self, http, text, status=200, headers=()):
        data = text.encode()
        http.send_response(status)
        for name, value in headers:
            http.send_header(name, value)
        http.send_header("Content-Length", str(len(data)))
        http.end_headers()
        http.wfile.write(data)

    def good(self, http, body):
        self.paid.append(self.sounds(body))
        self.answer(http, {"rows": self.rows(body)})

    def busy(self, http, body):
        self.send(http, "{}", 429, [("Retry-After", "7")])

    def broken(self, http, body):
        self.send(http, "oh dear", 500)

    def unauthorised(self, http, body):
        self.send(http, f"wrong key: {http.headers.get('Authorization')}", 401)

    def refused(self, http, body):
        self.send(http, f"no such model; you sent {http.headers.get('Authorization')}", 404)

    def moved(self, http, body):
        self.send(http, "", 302, [("Location", "http://127.0.0.1:9/elsewhere")])

    def slow(self, http, body):
        time.sleep(1.0)
        self.good(http, body)

    def dribble(self, http, body):
        http.send_response(200)
        http.send_header("Content-Length", "100000")
        http.end_headers()
        for _ in range(40):  # much longer than any deadline of a test
            http.wfile.write(b" ")
            http.wfile.flush()
            time.sleep(0.1)

    def cut(self, http, body):
        http.send_response(200)
        http.send_header("Content-Length", "100000")
        http.end_headers()
        http.wfile.write(b'{"choices": [')

    def hung_up(self, http, body):
        http.close_connection = True
        http.connection.shutdown(2)

    def odd_bill(self, http, body):
        message = {"choices": [{"message": {"content": json.dumps({"rows": self.rows(body)})}}]}
        self.send(http, json.dumps({**message, "usage": {"prompt_tokens": "n/a"}}))

    def no_chat(self, http, body):
        self.send(http, '{"hello": "world"}')

    def echo(self, http, body):
        self.answer(http, f"You sent {http.headers.get('Authorization')}. " + json.dumps({"rows": self.rows(body)}))


@contextmanager
def serving(server):
    """Serve until the block ends; yields the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/chat/completions"
            server.handle(self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.handle_error = lambda *_: None  # of clients that went away
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_address[1]}/v1"
        finally:  # a server whose socket is closed would spin for ever
            http.shutdown()
            thread.join()
