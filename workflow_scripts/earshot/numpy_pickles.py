"""Arrays of numbers in pickles that are not trusted.

numpy's own functions believe what a pickle tells of an array's memory: a dtype of objects whose flags say that it has none
makes pointers out of bytes. So their names stand for the functions here, which make arrays anew.
"""

import pickle
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


def read_arrays(path: Path) -> list[Any]:
    """What a .npy file holds along its first axis: arrays, if it is one of objects; not checked further.

    Raises ValueError for an array of other than one or two dimensions, and anything at all for a damaged file.
    """
    with open(path, "rb") as file:
        shape, dtype = _npy_header(file)
        if not dtype.hasobject:
            file.seek(0)
            array = np.lib.format.read_array(file, allow_pickle=False)
        else:
            array = _plain(_NumbersUnpickler(file, encoding="latin1").load())
            shape = np.shape(array)
    if len(shape) not in (1, 2):
        raise ValueError(f"it holds an array of shape {shape}, not one array for each layer")
    return [_plain(item) for item in array]


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the format, not 1.0 or 2.0")
    return shape, dtype


def _plain(item: Any) -> Any:
    return item.plain if isinstance(item, _Array) else item


class _Dtype:
    """What a pickle gets for numpy.dtype: a plain number, or any object."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        text = code.decode("latin1") if isinstance(code, bytes) else str(code)
        if not re.fullmatch(r"[biuf][1248]|O[48]?", text):
            raise pickle.UnpicklingError(f"an array of type {text[:20]}")
        self.plain = np.dtype(object) if text[0] == "O" else np.dtype(text)

    def __setstate__(self, state: tuple) -> None:
        self.plain = self.plain.newbyteorder(">" if state[1] in (">", b">") else "<")


class _Array:
    """What a pickle gets for numpy.ndarray; `plain` is the array."""

    plain: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, content = state
        if dtype.plain.hasobject:
            if not isinstance(content, list):
                raise pickle.UnpicklingError("an array of objects without a list of them")
            self.plain = np.empty(len(content), object)
            for i, item in enumerate(content):  # at once, equally long lists would become more dimensions
                self.plain[i] = item
            self.plain = self.plain.reshape(shape)  # a list is in this order, whatever `fortran` tells of the memory
        else:
            self.plain = _numbers(content, dtype, shape, "F" if fortran else "C")


def _numbers(content: Any, dtype: _Dtype, shape: tuple, order: Any) -> np.ndarray:
    raw = content.encode("latin1") if isinstance(content, str) else content  # a str of Python 2
    # frombuffer refuses to make objects of bytes
    return np.frombuffer(raw, dtype.plain).reshape(shape, order=order)


def _make_array(kind: Any, *_: object) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError("an array of another class")
    return _Array()


def _make_array_of_buffer(content: Any, dtype: _Dtype, shape: tuple, order: Any, *_: object) -> _Array:
    array = _Array()
    array.plain = _numbers(content, dtype, shape, order)
    return array


def _make_scalar(dtype: _Dtype, content: Any = b"") -> Any:
    return _numbers(content, dtype, (1,), "C")[0]


def _make_bytes(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes by {encoding}")
    return text.encode("latin1")


def _both(module: str, name: str, made: Any) -> dict[tuple[str, str], Any]:
    """A global under the names that numpy 1 and numpy 2 give its module."""
    return {(f"numpy.{core}.{module}", name): made for core in ("core", "_core")}


_SCALARS = {("numpy", "dtype"): _Dtype, **_both("multiarray", "scalar", _make_scalar)}
_ARRAYS = {
    ("numpy", "ndarray"): _Array,
    **_both("multiarray", "_reconstruct", _make_array),
    **_both("numeric", "_frombuffer", _make_array_of_buffer),
    ("_codecs", "encode"): _make_bytes,
}
SAFE_GLOBALS: list[Any] = [(made, ".".join(name)) for name, made in _SCALARS.items()]


class _NumbersUnpickler(pickle.Unpickler):
    """Reads numpy arrays of numbers, in lists or arrays of objects, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Stand-ins of what arrays need; raises UnpicklingError for any other global."""
        made = {**_SCALARS, **_ARRAYS}.get((module, name))
        if made is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which could run code")
        return made
