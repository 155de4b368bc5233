"""What every script of the workflow does first: send its output, and the traceback if it fails, to the job's log."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path


@contextmanager
def job_log(path: str) -> Iterator[None]:
    """Send standard output and error to the file at `path`; an exception is written there and passed on.

    The last line of an exception also goes to the real standard error, so that the terminal says what went wrong.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", buffering=1, encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            print(f"{type(error).__name__}: {error}\n(log: {path})", file=sys.__stderr__)
            raise
