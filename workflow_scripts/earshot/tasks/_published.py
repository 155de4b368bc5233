"""From the state dict of a published model, which holds trunks, modules, head and leftovers, to the parameters of a head."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from earshot.backbones import WeightsError
from earshot.state_files import first_few

# of the encoders and the modules between them; the token down-sampler is made and never used
_OTHERS = re.compile(r"(swin|htsat|(audio|vis)_adapter_blocks_p\d|adapter_token_downsampler)\.")


def of_head(state: Mapping[str, Tensor], head: nn.Module, dead: str = "(?!)") -> dict[str, Tensor]:
    """The parameters of `head`; `dead` is a pattern of the names that the publication makes and never uses.

    Raises WeightsError that lists what is missing, unknown or of another shape.
    """
    plain = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    wanted = head.state_dict()
    counters = {key: tensor for key, tensor in wanted.items() if key.endswith("num_batches_tracked")}
    plain = {**counters, **{key: tensor for key, tensor in plain.items() if not _OTHERS.match(key)}}
    missing = sorted(set(wanted) - set(plain))
    unknown = sorted(key for key in set(plain) - set(wanted) if not re.match(dead, key))
    shapes = [
        f"{key} {tuple(plain[key].shape)}, not {tuple(wanted[key].shape)}"
        for key in sorted(set(wanted) & set(plain))
        if wanted[key].shape != plain[key].shape
    ]
    if missing or unknown or shapes:
        raise WeightsError(
            f"these weights are not of this head: missing {first_few(missing) or 'none'}; unknown "
            f"{first_few(unknown) or 'none'}; of another shape {first_few(shapes) or 'none'}; do the task, its `hyper`, the "
            "encoders and the classes fit the checkpoint?"
        )
    return {key: plain[key] for key in wanted}
