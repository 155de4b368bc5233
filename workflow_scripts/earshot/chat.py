"""A client of OpenAI-compatible chat endpoints that waits, tries again and counts, and that never shows its key."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from earshot import retries
from earshot.downloads import without_credentials

_LARGEST = 1 << 20  # bytes of an answer
_CONNECT_S = 10.0
_HIDDEN = 8  # characters; shorter keys are dummies for servers that want none, and words of answers
_TOLD = 300  # characters of a server's words that a message repeats


class ChatError(RuntimeError):
    """An answer that cannot be had; the message holds no credentials."""


@dataclass(frozen=True)
class Reply:
    """What a model said, why it stopped (`stop`, `length`, …) and what that cost in tokens."""

    text: str
    finish: str
    tokens: Mapping[str, int]


class _Bearer(requests.auth.AuthBase):
    """Sets the key itself: requests would prefer a password for that host in the user's .netrc."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Client:
    """A model behind `<base_url>/chat/completions`; the key is read from the environment.

    `deadline_s` is how long an answer may take, in s; `attempts` is how many may fail in a row; `most_requests` how many are
    sent at all, and `sent` how many were. Raises ChatError for an address that holds more than an address, and for a key that
    is none.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        key_env: str,
        *,
        deadline_s: float,
        attempts: int,
        most_requests: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(base_url)
        more = parts.query or parts.fragment or "@" in parts.netloc
        if parts.scheme not in ("http", "https") or not parts.hostname or more:
            raise ChatError(
                "`base_url` must be an http or https address without user, password and query; the key is read from the "
                f"environment variable {key_env}"
            )
        self.base_url, self.model, self.key_env = base_url, model, key_env
        self.deadline_s, self.attempts, self.most_requests, self.sleep = deadline_s, attempts, most_requests, sleep
        self.sent = 0
        self._key = os.environ.get(key_env, "").strip()
        if not all("!" <= letter <= "~" for letter in self._key):
            raise ChatError(f"the environment variable {key_env} holds no key: it has blanks, line breaks or other letters")

    def complete(self, messages: Sequence[Mapping[str, str]], **settings: Any) -> Reply:
        """Send a conversation and return the answer; raises ChatError when trying again cannot help, or did not."""
        body = {"model": self.model, "messages": list(messages), **settings}
        failures = 0
        while True:
            if self.sent >= self.most_requests:
                raise ChatError(f"the limit of {self.most_requests} requests is reached; raise `max_requests` to go on")
            self.sent += 1
            try:
                return self._reply(self._post(body))
            except retries.PassingError as error:
                failures += 1
                if failures >= self.attempts:
                    raise ChatError(f"{self._shown}: gave up after {failures} attempts: {error}") from None
                wait = retries.pause(failures, error.wait)
                print(f"{self._shown}: {error}; trying again in {wait:.0f} s", flush=True)
                self.sleep(wait)

    def hide(self, text: str) -> str:
        """Text without the key."""
        return text.replace(self._key, "***") if len(self._key) >= _HIDDEN else text

    @property
    def _shown(self) -> str:
        return without_credentials(self.base_url)

    def _post(self, body: Mapping[str, Any]) -> str:
        url = f"{self.base_url.rstrip('/')}/chat/completions"
        try:
            timeouts = (_CONNECT_S, self.deadline_s)  # an answer that is not streamed is silence until it is there
            with requests.post(
                url, json=body, auth=_Bearer(self._key), timeout=timeouts, stream=True, allow_redirects=False
            ) as response:
                text = self._received(response)
                self._check_status(response, text)
                return text
        except requests.RequestException as error:
            told, passing = retries.connection_failure(error, self.deadline_s)
            if passing:
                raise retries.PassingError(told) from None
            raise ChatError(f"{self._shown}: {told}; check `base_url`") from None

    def _received(self, response: requests.Response) -> str:
        """The body, if it comes in time; a server that dribbles is never silent, so its whole time is limited too."""
        end, parts = time.monotonic() + self.deadline_s, []
        length = int(response.headers.get("Content-Length") or _LARGEST + 1)
        for size, part in enumerate(response.iter_content(1), 1):  # more at a time would wait for more
            parts.append(part)
            if size < length and time.monotonic() > end:
                raise retries.PassingError(f"the answer took longer than {self.deadline_s:g} s")
            if size > _LARGEST:
                raise ChatError(f"{self._shown}: the answer is larger than {_LARGEST >> 20} MB")
        return b"".join(parts).decode("utf-8", errors="replace")

    def _check_status(self, response: requests.Response, text: str) -> None:
        status = response.status_code
        if status == 200:
            return
        told = self.hide(f"the server answered {status} {response.reason or ''}".strip())
        if retries.may_pass(status):
            raise retries.PassingError(told, retries.asked_wait(response))
        if status in (401, 403):  # such answers like to repeat the key, or parts of it
            raise ChatError(f"{self._shown}: {told}: put a valid key into the environment variable {self.key_env}")
        said = self.hide(" ".join(text.split()))[:_TOLD]
        raise ChatError(f"{self._shown}: {told}; check `base_url`, `model` and `structured`; it said: {said}")

    def _reply(self, text: str) -> Reply:
        try:
            found = json.loads(text)
            choice = found["choices"][0]
            said = choice["message"].get("content") or ""
            told = found.get("usage")
            usage = told if isinstance(told, dict) else {}
            tokens = {name: _count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens")}
            return Reply(self.hide(str(said)), self.hide(str(choice.get("finish_reason") or "")), tokens)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            raise retries.PassingError("the answer is none of a chat endpoint") from None


def _count(value: Any) -> int:
    """A number of tokens; 0 for what is none, since an answer is worth more than its bill."""
    return value if isinstance(value, int) and value > 0 else 0
