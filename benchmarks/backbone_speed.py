"""Clips per second of a backbone, forward and forward with backward, and the share of the device's matrix-product peak.

Needs torch, torchvision, transformers and pydantic only; runs on CUDA where there is one:

    python benchmarks/backbone_speed.py [--backbones tanet video_swin] [--batches 1 16] [--kinds fp32 tf32 bf16]

The peak is that of a large square matrix product in the same kind of number, measured in the same run. Operations are counted
by torch's counter, which knows products and convolutions only, so the share is a lower bound.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "workflow_scripts"))

import torch
from torch.utils.flop_counter import FlopCounterMode

CLASSES, SECONDS = 101, 3.0


def fastest(call: Callable[[], object], cuda: bool) -> float:
    """Seconds of one call: the median of at least three, over some seconds."""
    taken: list[float] = []
    call()
    begin = time.perf_counter()
    while len(taken) < 3 or time.perf_counter() - begin < SECONDS:
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return sorted(taken)[len(taken) // 2]


def peak(device: str, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product."""
    n = 8192 if device == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / fastest(lambda: a @ b, device == "cuda")


def measure(name: str, options: dict[str, object], batches: list[int], kinds: list[str], device: str) -> None:
    from earshot import weights

    cuda = device == "cuda"
    spec = weights.spec_of(name, options)
    model = weights.placed(weights.build(name, options, CLASSES), device).eval()
    for kind in kinds:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = kind == "tf32"
        dtype = torch.bfloat16 if kind == "bf16" else torch.float32
        best = peak(device, dtype)
        for batch in batches:
            clips = torch.randn(batch, 3, spec.frames, spec.size, spec.size, device=device)
            autocast = torch.autocast(device, torch.bfloat16, enabled=kind == "bf16")

            def forward(clips=clips, autocast=autocast):
                with autocast, torch.no_grad():
                    return model(clips)

            def both(clips=clips, autocast=autocast):
                model.zero_grad(set_to_none=True)
                with autocast:
                    loss = model(clips).float().logsumexp(-1).sum()
                loss.backward()

            for what, call in (("forward", forward), ("with backward", both)):
                with FlopCounterMode(display=False) as counter:
                    call()
                seconds = fastest(call, cuda)
                share = 100 * counter.get_total_flops() / seconds / best
                print(f"{name:16} {kind:5} batch {batch:3} {what:14} {batch / seconds:9.2f} clips/s  {share:5.1f} % of peak")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cuda = torch.cuda.is_available()
    parser.add_argument("--backbones", nargs="+", default=["tanet", "video_swin"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16] if cuda else [1])
    parser.add_argument(
        "--kinds", nargs="+", choices=["fp32", "tf32", "bf16"], default=["fp32", "tf32", "bf16"] if cuda else ["fp32"]
    )
    given = parser.parse_args()
    device = "cuda" if cuda else "cpu"
    print(torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads")
    for name in given.backbones:
        measure(name, {}, given.batches, given.kinds, device)


if __name__ == "__main__":
    main()
