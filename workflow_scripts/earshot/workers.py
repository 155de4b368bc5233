"""Independent work over several processes; results come in the order of the items, whatever the number of workers."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_EVERY = 10.0  # seconds between two lines of progress


def over_items(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, chunk: int, named: str = ""
) -> list[Result]:
    """Apply `work` to every item; one worker means this process. `chunk` items travel to a worker at a time.

    With a name, progress is printed now and then: how many are done, and about how long the rest will take.
    """
    if workers == 1 or len(items) < 2:
        return list(_watched(map(work, items), len(items), named))
    with ProcessPoolExecutor(min(workers, len(items))) as pool:
        return list(_watched(pool.map(work, items, chunksize=chunk), len(items), named))


def _watched(results: Iterable[Result], count: int, named: str) -> Iterator[Result]:
    start = said = time.monotonic()
    for done, result in enumerate(results, 1):
        yield result
        now = time.monotonic()
        if named and (now - said > _EVERY or done == count):
            said, rate = now, done / max(now - start, 1e-9)
            print(f"{named}: {done} of {count}, {rate:.2f} a second, about {(count - done) / rate:.0f} s left", flush=True)
