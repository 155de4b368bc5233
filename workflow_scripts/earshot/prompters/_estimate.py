"""What a training step of a prompter will need, counted without doing it.

The forward pass is run with tensors on torch's device `meta`, which have shapes and no content: products are counted where they
are made, and memory where tensors are kept for the backward pass, so the figures follow the code. 1 MAC is 2 FLOP.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
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
        # the fused form has no gradient of a mask, which the encoder's own form has where it is trained as a whole
        return fused(q, k, v, attn_mask=None if mask is None else mask.detach(), scale=kwargs["scale"])[0]


class _Products(TorchDispatchMode):
    """Counts multiply-adds, of the frozen encoders and of adapters apart."""

    def __init__(self) -> None:
        super().__init__()
        self.macs, self.adapting = [0, 0], False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        packet = function._overloadpacket
        if packet is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:
            self.macs[self.adapting] += 2 * args[0].numel() * args[1].shape[2]
        elif packet in flop_registry:
            self.macs[self.adapting] += flop_registry[packet](*args, **(kwargs or {}), out_val=found) // 2
        return found

    def watch(self, adapters: Sequence[nn.Module]) -> ExitStack:
        """Until the stack is closed, know when an adapter is at work."""
        stack = ExitStack()
        for one in adapters:
            for register, inside in ((one.register_forward_pre_hook, True), (one.register_forward_hook, False)):
                stack.callback(register(lambda *_, inside=inside: setattr(self, "adapting", inside)).remove)
        return stack


class _Kept:
    """Bytes of tensors that autograd keeps, each storage once, without parameters."""

    def __init__(self, known: set[int]) -> None:
        self.known, self.storages = known, {}  # type: tuple[set[int], dict[int, Any]]

    def pack(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd keeps, and let it."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.storages[storage._cdata] = storage  # held, so that no other gets its number
        return tensor

    @property
    def bytes(self) -> int:
        """Of all storages."""
        return sum(one.nbytes() for one in self.storages.values())


class _Parts:
    """Runs the parts of a model, each kind of them once: those of the same shapes need the same."""

    def __init__(self, kept: _Kept, products: _Products) -> None:
        self.kept, self.products, self.seen = kept, products, {}  # type: tuple[_Kept, _Products, dict[Any, Any]]
        self.inside, self.entries, self.repeated = [0], 0, 0  # bytes: inside each kind, what goes into parts, of repeated parts

    def through(self, part: Any, *tensors: Tensor) -> Any:
        """As `Paired.through`, without a second run of the same kind."""
        last = part.args[:1] == part.func.__self__.last_position
        key = (part.func.__name__, last, *((one.shape, one.requires_grad) for one in tensors))
        self.entries += sum(one.untyped_storage().nbytes() for one in tensors)
        if key not in self.seen:
            before, macs = self.kept.bytes, list(self.products.macs)
            found = part(*tensors)
            self.inside.append(self.kept.bytes - before)
            self.seen[key] = found, self.inside[-1], [now - then for now, then in zip(self.products.macs, macs, strict=True)]
            return found
        found, inside, macs = self.seen[key]
        self.repeated += inside
        self.products.macs = [one + more for one, more in zip(self.products.macs, macs, strict=True)]
        return found


def estimate(pair: Any, clips: int, segments: int, checkpointing: bool) -> Estimate:
    """Of a step on so many clips, in training mode, with the prompter's present settings; nothing is allocated or changed.

    A step takes twice the products of the frozen encoders, which need gradients of what goes in, and three times those of
    adapters and, where one is trained as a whole, of both encoders; with checkpointing, those of a forward pass more.
    """
    trained = {name for name, one in pair.named_parameters() if one.requires_grad}
    total = sum(one.numel() for one in pair.parameters())
    tensors = {**dict(pair.named_parameters()), **dict(pair.named_buffers())}
    empty = {name: one.detach().to("meta").requires_grad_(name in trained) for name, one in tensors.items()}
    kept, products = _Kept({one.untyped_storage()._cdata for one in empty.values()}), _Products()
    parts = _Parts(kept, products)
    with torch.device("meta"):
        inputs = pair.example(clips * segments)
    hooks = torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda one: one)
    with _reparametrize_module(pair, empty), _apart(pair, parts), products.watch(pair.adapters), products, hooks, _Fused():
        pair(*inputs)
    frozen, adapting = products.macs
    everything = kept.bytes + parts.repeated
    outside = kept.bytes - sum(parts.inside)
    memory = outside + parts.entries + max(parts.inside) if checkpointing else everything
    through = 3 if pair.finetuned else 2
    step = (through + checkpointing) * frozen + (3 + checkpointing) * adapting if trained else frozen
    return Estimate(total, sum(empty[name].numel() for name in trained), memory, frozen + adapting, step)


@contextmanager
def _apart(pair: Any, parts: _Parts) -> Iterator[None]:
    """The prompter in training mode, with biases of attention and a way through its parts of its own."""
    biases, training, generator = pair.biases, pair.training, pair.generator
    pair.biases, pair.through, pair.generator = _windows.Biases(), parts.through, None
    pair.train()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        pair.biases, pair.generator = biases, generator
        del pair.through
        pair.train(training)
