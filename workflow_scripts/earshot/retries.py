"""What clients of HTTP servers share: which failures may pass, how long to wait, and what to say of them."""

import time
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime

import requests

_LONGEST_WAIT_S = 120.0
_PASSING = {408, 425, 429}  # with all of 5xx: statuses that may be gone after a while


class PassingError(Exception):
    """An attempt that failed in a way that may pass; `wait` in s is what the server asked for, None where it did not."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def may_pass(status: int) -> bool:
    """Whether an HTTP status may be gone after a while."""
    return status in _PASSING or status >= 500


def asked_wait(response: requests.Response) -> float | None:
    """What `Retry-After` asks for, in s: a number or a date; None if it asks for nothing."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def pause(failures: int, asked: float | None) -> float:
    """How long to wait after so many failures in a row, in s: what the server asked for, else twice as long each time."""
    return min(2.0 ** (failures - 1) if asked is None else asked, _LONGEST_WAIT_S)


def connection_failure(error: requests.RequestException, timeout_s: float) -> tuple[str, bool]:
    """Why a connection failed, in words without the address, and whether that may pass."""
    chain = causes(error)
    if any(isinstance(e, TimeoutError | requests.Timeout) or "Timeout" in type(e).__name__ for e in chain):
        return f"the server was silent for {timeout_s:g} s", True
    system = next((e.strerror for e in chain if isinstance(e, OSError) and e.strerror), None)
    passing = isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError)
    told = f"the connection failed: {system or type(error).__name__}"
    return told, passing and not isinstance(error, requests.exceptions.SSLError)


def causes(error: BaseException) -> list[BaseException]:
    """An error and all that it was made from, in `reason`, in arguments or as its context."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        e = waiting.pop()
        if not any(e is known for known in found):
            found.append(e)
            waiting.extend(_inside(e))
    return found


def _inside(error: BaseException) -> Iterator[BaseException]:
    for cause in (getattr(error, "reason", None), error.__cause__, error.__context__, *error.args):
        if isinstance(cause, BaseException):
            yield cause
