"""Independent work over several processes; results come in the order of the items, whatever the number of workers."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def over_items(work: Callable[[Item], Result], items: Sequence[Item], workers: int, chunk: int) -> list[Result]:
    """Apply `work` to every item; one worker means this process. `chunk` items travel to a worker at a time."""
    if workers == 1:
        return [work(item) for item in items]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(work, items, chunksize=chunk))
