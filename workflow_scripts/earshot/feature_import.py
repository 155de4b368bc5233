"""Published files of features and pseudo-labels, one `.npy` a video: how they are named, and what is in them.

Source of the layouts: our spec `avvp.md` section 1.2. No file is trusted: nothing is unpickled, and shape and type are looked
at before anything else is read.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from earshot.errors import MediaError, SetupError
from earshot.feature_store import Array
from earshot.state_files import first_line

FLOATS, INTEGERS = "f", "biu"  # kinds of numbers, as NumPy calls them
_NAMED = {FLOATS: "floating-point numbers", INTEGERS: "integers"}


def file_names(clip_ids: Sequence[str], id_length: int) -> list[str]:
    """The name of each clip's file; raises SetupError if two clips would share one."""
    stems = [PurePosixPath(clip_id).name for clip_id in clip_ids]
    names = [f"{stem[: id_length or None]}.npy" for stem in stems]
    owners: dict[str, str] = {}
    for name, clip_id in zip(names, clip_ids, strict=True):
        if (other := owners.setdefault(name, clip_id)) != clip_id:
            raise SetupError(
                f"the clips '{other}' and '{clip_id}' would both be read from '{name}': `id_length` is {id_length}; set it to "
                "as many characters as tell the clips apart, or to 0 for whole names"
            )
    return names


def no_file(folder: Path, names: Sequence[str]) -> str:
    """What to say if none of these files below a folder can be used."""
    example = names[0] if names else "<name>.npy"
    return f"'{folder}' holds no file that can be used; one should be called '{example}' (see `root` and `id_length`)"


def read_array(root: Path, name: str, shape: tuple[int, ...], kinds: str) -> Array:
    """The array of exactly `shape` in a `.npy` file below `root`, of a kind of numbers; nothing is unpickled.

    Raises MediaError that names the file: it is missing, cut off, of another shape or type, or holds objects.
    """
    try:
        mapped = np.lib.format.open_memmap(root / name, mode="r")  # reads the header alone
    except FileNotFoundError:
        raise MediaError(f"missing: no file '{name}'") from None
    except Exception as error:  # a damaged header may raise anything
        told = getattr(error, "strerror", None) or first_line(error)
        raise MediaError(f"'{name}' is cut off, or no .npy file of numbers: {told}") from error
    if mapped.shape != shape:
        raise MediaError(f"'{name}' holds shape {mapped.shape}, not {shape}")
    if mapped.dtype.kind not in kinds:
        raise MediaError(f"'{name}' holds {mapped.dtype.name}, not {_NAMED[kinds]}")
    return np.array(mapped)
