"""What the published key layouts of several audio models share."""

from collections.abc import Mapping

from torch import Tensor


def split_qkv(state: Mapping[str, Tensor], names: tuple[str, str, str]) -> dict[str, Tensor]:
    """Take joint layers `attn.qkv` apart into three layers of `names`, for queries, keys and values in this order."""
    split: dict[str, Tensor] = {}
    for key, value in state.items():
        if ".attn.qkv." in key:
            parts = zip(names, value.chunk(3), strict=True)
            split |= {key.replace(".attn.qkv.", f".attn.{name}."): part for name, part in parts}
        else:
            split[key] = value
    return split
