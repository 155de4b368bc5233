"""The part store: the rows of one run, in a file named by everything that decides them.

A job computes only the parts that are missing, so a killed job, a new method or another seed costs only what is new.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa

from earshot import contracts


class PartStore:
    """Parquet files below a folder, by key; a part appears whole or not at all."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def get(self, key: str, schema: pa.Schema, name: str) -> list[dict[str, Any]] | None:
        """The rows of a part, or None if it is not there or cannot be read."""
        path = self._path(key, name)
        try:
            return contracts.read(path, schema) if path.exists() else None
        except (pa.ArrowInvalid, contracts.ContractError) as error:
            print(f"part {path} is made again: {error}")
            return None

    def put(self, key: str, rows: list[dict[str, Any]], schema: pa.Schema, name: str) -> None:
        """Write a part."""
        contracts.write(rows, schema, self._path(key, name), {})

    def _path(self, key: str, name: str) -> Path:
        return self.root / key[:2] / f"{key}.{name}.parquet"
