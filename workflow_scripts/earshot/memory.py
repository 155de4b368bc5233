"""Peak memory of a piece of work: of the GPU or, on a CPU, of the whole process."""

import contextlib
import resource
from pathlib import Path

import torch

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Peak:
    """The highest use of memory from now on. Where Linux's counter cannot be set back, it counts from the process's start."""

    def __init__(self, device: str) -> None:
        self.cuda = device.startswith("cuda")
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            return
        with contextlib.suppress(OSError):  # not Linux, or not allowed
            _RESET.write_text("5")

    def megabytes(self) -> float:
        """Megabytes of 10^6 bytes."""
        if self.cuda:
            return torch.cuda.max_memory_allocated() / 1e6
        if _STATUS.exists():
            lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
            return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
