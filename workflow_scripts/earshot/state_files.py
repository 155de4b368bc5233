"""State dicts in files that are not trusted: safetensors, or torch files of which no code is run."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from earshot.backbones import WeightsError
from earshot.numpy_pickles import SAFE_GLOBALS

_STATE_KEYS = ("state_dict", "model_state_dict", "model", "module", "net")
_CONVERT = "if you trust it, convert it to safetensors (torch.load, then safetensors.torch.save_file of its state dict)"
_TOLD = 8  # how many of many a message lists


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a safetensors or torch file, on the CPU; no code in the file is run. Raises WeightsError.

    It may be the whole content of a torch file, or lie under `state_dict`, `model_state_dict`, `model`, `module` or `net`.
    """
    return state_in(read_content(path), path)


def read_content(path: str | Path) -> Any:
    """All that a safetensors or torch file holds, on the CPU; no code in the file is run. Raises WeightsError."""
    path = Path(path)
    return _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)


def state_in(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The state dict in the content of the file at `path`; raises WeightsError if there is none, or more than tensors."""
    state = _state_in(content)
    others = [f"{key} ({type(value).__name__})" for key, value in state.items() if not isinstance(value, Tensor)]
    if len(others) == len(state):
        raise WeightsError(f"'{path}' holds no tensors, but {first_few(others) or type(content).__name__}")
    if others:
        raise WeightsError(f"'{path}': the state dict holds entries that are no tensors: {first_few(others)}")
    return {str(key): value.detach() for key, value in state.items()}


def refuse_stand_ins(path: Path) -> None:
    """Raise WeightsError for what is often found in the place of a file of weights: nothing, a pointer, a web page."""
    _head(path)


def first_line(error: object) -> str:
    """The first line of an error's text, or its type."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def first_few(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more


def _is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors (else a torch file), by its content; raises WeightsError if it is neither."""
    head = _head(path)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length < 100_000_000:  # the format's bound of its header
        return True
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80" or head[257:262] == b"ustar":
        return False
    raise WeightsError(f"'{path}' is no file of weights, or damaged: neither safetensors nor a torch file")


def _head(path: Path) -> bytes:
    """The first bytes of a file; raises WeightsError for what is often found in the place of weights."""
    if not path.is_file():
        raise WeightsError(f"'{path}' does not exist")
    with open(path, "rb") as file:
        head = file.read(1024)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise WeightsError(f"'{path}' is empty")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"'{path}' is a pointer of git-lfs, not the file itself: run `git lfs pull` where it is from")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(
            f"'{path}' is a web page, not a file of weights: the address led to a page; download the file itself"
        )
    return head


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"'{path}' is truncated or damaged: {first_line(error)}") from error


def _read_torch(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(SAFE_GLOBALS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        # not chained: torch's text advises to switch the safety off
        raise WeightsError(f"'{path}' {_told_of_torch(str(error) or type(error).__name__)}") from None


def _told_of_torch(text: str) -> str:
    asked = re.search(r"GLOBAL (\S+)", text)
    if asked:
        return f"asks for {asked[1]}, which could run code; {_CONVERT}"
    if "TorchScript" in text or "legacy .tar" in text:
        kind = "TorchScript" if "TorchScript" in text else "very old tar"
        return f"is a {kind} archive, which cannot be read without running code; {_CONVERT}"
    if "WeightsUnpickler error" in text:
        told = first_line(text.split("WeightsUnpickler error", 1)[1].lstrip(": "))
        return f"is damaged or holds more than weights: {told}; {_CONVERT}"
    return f"is truncated, damaged or no torch file: {first_line(text)}"


def _state_in(content: Any) -> Mapping[Any, Any]:
    """The state dict in the content of a file: under one of the usual keys, else the content itself."""
    if not isinstance(content, Mapping):
        return {}
    inner = (content.get(key) for key in _STATE_KEYS)
    return next((state for state in inner if isinstance(state, Mapping) and _has_tensors(state)), content)


def _has_tensors(state: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) for value in state.values())
