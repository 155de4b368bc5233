"""Encoders and modules that are filled by their published names, as the goldens in `dgsct` are."""

import re
from functools import cache

import dgsct_fill as fill
import torch
from torch.nn import functional

from earshot import plugins
from earshot.prompters import _trunks

_RENAMED = (
    (r"^audio_encoder\.batch_norm\.", "bn0."),
    (r"^audio_encoder\.", ""),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attention\.self\.", ".attn."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.attn\.query\.", ".attn.qkv."),
)


def published_sound(model):
    """HTS-AT's published state dict, filled, for transformers' model of the same sizes."""
    shapes = {}
    for name, tensor in model.state_dict().items():
        for pattern, instead in _RENAMED:
            name = re.sub(pattern, instead, name)
        size = tuple(tensor.shape)
        joint = ".attn.qkv." in name
        shapes[name] = (3 * size[0], *size[1:]) if joint else size
    kept = [name for name in shapes if not re.search(r"\.(key|value)\.|relative_position_index|num_batches_tracked", name)]
    return {f"htsat.{name}": fill.fill_tensor(f"htsat.{name}", shapes[name]) for name in kept}


def encoders(kind="swin_htsat", size="mini"):
    """Filled encoders."""
    pair = _trunks.build_encoders(kind, size)
    fill.fill_module(pair.visual, "swin.")
    if pair.audio is not None:
        _trunks.import_encoder(pair, "audio", published_sound(pair.audio))
    return pair


def prompter(plugin, size="mini", **hyper):
    """A prompter in evaluation mode whose encoders and modules are filled."""
    module = plugins.load("prompters", plugin)
    pair = module.build(encoders(module.ENCODERS, size), module.Hyper(**hyper))
    for name, tensor in pair.state().items():
        if tensor.is_floating_point():
            tensor.data.copy_(fill.fill_tensor(name, tensor.shape))
    return pair.eval()


def bottleneck_as_published(self, x):
    """The bottleneck in the published form, with images of one column.

    On CPUs, torch 2.13 gets the gradient of batch norm wrong for such images (`torch_errs`), and the gradients and steps of the
    goldens with batch norm were made with it; the library's own form has the right ones.
    """
    if self.ln_before is not None:
        x = self.ln_before(x)
    z = normed(self.bn1, self.down_sampler(x.permute(0, 2, 1).unsqueeze(-1))).relu()
    z = normed(self.bn2, self.up_sampler(z)).squeeze(-1).permute(0, 2, 1)
    if self.gate is None:
        return self.ln_post(z)
    return self.ln_post(self.gate * z) if self.gate_then_norm else self.gate * self.ln_post(z)


def normed(norm, image):
    """Batch norm of an image (N, C, L, 1); the layer itself takes (N, C) only."""
    if norm is None:
        return image
    statistics = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    return functional.batch_norm(image, *statistics, norm.training, norm.momentum, norm.eps)


@cache
def torch_errs():
    """Whether this torch gets the gradient of batch norm wrong for the views that the published modules make."""
    torch.manual_seed(0)
    z = torch.randn(6, 5, 4, dtype=torch.float64, requires_grad=True)
    cotangent, norm = torch.randn(6, 5, 4, dtype=torch.float64), torch.nn.BatchNorm1d(4).double()
    image = normed(norm, z.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
    plain = norm(z.flatten(0, 1)).view_as(z)
    found, right = (torch.autograd.grad((one * cotangent).sum(), z)[0] for one in (image, plain))
    return not torch.allclose(found, right)
