"""What a training step of a prompter will need, counted without doing it.

The step is run with tensors on torch's device `meta`, which have shapes and no content: products are counted where they are made, and memory
where tensors are kept for the backward pass, so the figures follow the code. 1 MAC is 2 FLOP.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.stateless import _reparametrize_module
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from earshot.prompters import _windows

_ADAM = 3  # a gradient and two moments for each trained parameter


@dataclass(frozen=True)
class Estimate:
    """Parameters, trained ones, bytes that a forward pass keeps for the backward one, and multiply-adds.

    `macs` are those of a forward pass, `step_macs` of a training step.
    """

    parameters: int
    trainable: int
    activation_bytes: int
    macs: int
    step_macs: int

    @property
    def memory_bytes(self) -> int:
        """Of a training step with Adam in single precision, the encoders' weights included."""
        return 4 * (self.parameters + _ADAM * self.trainable) + self.activation_bytes


class _Fused(TorchFunctionMode):
    """Attention in the fused form that it has on a CPU, which keeps no matrix of windows; `meta` would take the plain one."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is not functional.scaled_dot_product_attention:
            return function(*args, **kwargs)
        q, k, v, mask = args
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return fused(q, k, v, attn_mask=mask, scale=kwargs["scale"])[0]


class _Products(TorchDispatchMode):
    """Counts multiply-adds; torch's own counter follows modules as well, and needs several times as long."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = function(*args, **kwargs)
        formula: Any = flop_registry.get(function._overloadpacket) or _FUSED_MACS.get(function._overloadpacket)
        if formula is not None:
            self.macs += formula(*args, **kwargs, out_val=found) // 2
        return found


def _fused_flops(q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> int:
    return 2 * q.numel() * (k.shape[2] + v.shape[2])


def _fused_backward_flops(cotangent: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> int:
    return 10 * q.numel() * k.shape[2]  # the scores again, and four gradients


_FUSED_MACS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _fused_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _fused_backward_flops,
}


class _Kept:
    """Bytes of tensors that autograd keeps, each storage once, without parameters; with checkpointing as it would be."""

    def __init__(self, known: set[int]) -> None:
        self.known, self.entries, self.deepest = known, 0, 0
        self.storages: dict[int, Any] = {}
        self.inside: dict[int, Any] | None = None

    def pack(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd keeps, and let it."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            kept = self.storages if self.inside is None else self.inside
            kept[storage._cdata] = storage  # held, so that no other gets its number
        return tensor

    def through(self, part: Callable[..., Any], *tensors: Tensor) -> Any:
        """A checkpointed part: its inputs are kept, its inside is there once, for the part that needs most."""
        self.inside = {}
        found = part(*tensors)
        self.deepest = max(self.deepest, _bytes(self.inside))
        self.inside = None
        self.entries += sum(one.untyped_storage().nbytes() for one in tensors)
        return found

    @property
    def total(self) -> int:
        """All that is there when the backward pass begins, or at its deepest."""
        return _bytes(self.storages) + self.entries + self.deepest


def _bytes(storages: Mapping[int, Any]) -> int:
    return sum(one.nbytes() for one in storages.values())


def estimate(pair: Any, clips: int, segments: int, checkpointing: bool) -> Estimate:
    """Of a step on so many clips, in training mode, with the prompter's present settings; nothing is allocated or changed."""
    trained = {name for name, one in pair.named_parameters() if one.requires_grad}
    total = sum(one.numel() for one in pair.parameters())
    empty = {name: one.detach().to("meta").requires_grad_(name in trained) for name, one in _tensors(pair).items()}
    kept = _Kept({one.untyped_storage()._cdata for one in empty.values()})
    with torch.device("meta"), _reparametrize_module(pair, empty), _apart(pair, kept, checkpointing):
        frames, sound = pair.example(clips * segments)
        hooks = torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda one: one)
        with _Products() as forward, hooks, _Fused():
            encoded = pair(frames, sound)
        macs = forward.macs
        step = macs + (_backward(encoded, [empty[name] for name in trained]) + checkpointing * macs if trained else 0)
    return Estimate(total, sum(empty[name].numel() for name in trained), kept.total, macs, step)


def _tensors(pair: Any) -> dict[str, Tensor]:
    return {**dict(pair.named_parameters()), **dict(pair.named_buffers())}


def _backward(encoded: Any, trained: list[Tensor]) -> int:
    """Multiply-adds of the gradients of trained parameters."""
    outputs = (encoded.visual, encoded.audio, encoded.visual_pooled, encoded.audio_pooled)
    with _Products() as counted:
        torch.autograd.grad([one.sum() for one in outputs if one.requires_grad], trained, allow_unused=True)
    return counted.macs


@contextmanager
def _apart(pair: Any, kept: _Kept, checkpointing: bool) -> Iterator[None]:
    """The prompter in training mode, with biases of attention and checkpoints of its own."""
    biases, was, training = pair.biases, pair.checkpointing, pair.training
    pair.biases, pair.checkpointing = _windows.Biases(), False
    if checkpointing:
        pair.through = kept.through
    pair.train()
    try:
        yield
    finally:
        pair.biases, pair.checkpointing = biases, was
        pair.__dict__.pop("through", None)
        pair.train(training)
