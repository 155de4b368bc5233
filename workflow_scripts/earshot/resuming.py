"""State from which a killed training job goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from earshot.files import atomic_path


class Resume:
    """The file from which a killed job goes on; what another code, config or dataset wrote is not taken."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the state, whole or not at all."""
        with atomic_path(self.path) as temporary:
            torch.save({"key": self.key, **state}, temporary)

    def restore(self) -> dict[str, Any] | None:
        """The state that was saved under the same key; None if there is none that can be read."""
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file may raise anything, and is worth no more than none
            print(f"{self.path} cannot be read ({type(error).__name__}): starting again")
            return None
        return state if state.get("key") == self.key else None

    def forget(self) -> None:
        """Remove the file, once the results are written."""
        self.path.unlink(missing_ok=True)
