"""One frozen Swin-V2 for frames and for images of sound, with adapters between both streams in all of its blocks.

Source: Lin et al., "Vision Transformers are Parameter-Efficient Audio-Visual Learners", CVPR 2023, section 3, in the order and
with the images of sound of its public code. Shapes: N segments, L tokens, C channels.
"""

from functools import partial

import torch
from torch import Tensor

from earshot.prompters import Encoded, Widths, _hearing, _windows
from earshot.prompters._paired import Make, Paired, levels_of
from earshot.prompters._trunks import Encoders


class SharedEncoder(Paired):
    """Both streams go through the same blocks, as one batch; two pairs of adapters stand beside each of them."""

    def __init__(self, encoders: Encoders, make: Make) -> None:
        super().__init__(Encoders(encoders.visual, None, encoders.size))
        places = self._visual_places()
        self.widths = Widths(places[-1].width, places[-1].width, *levels_of(places))
        self.add([(places[stage],) * 2 for stage, count in enumerate(self.shape.blocks) for _ in range(count)], make)

    @torch.no_grad()
    def listen(self, waves: Tensor, segments: int) -> Tensor:
        """Waves (B, S) at 16 kHz as images (B T, side, side) of T segments of one second that are spread over the clip."""
        return _hearing.images(waves, segments, self.shape.px)

    def example(self, count: int) -> tuple[Tensor, Tensor]:
        """Empty inputs of the right shapes for so many segments."""
        px = self.shape.px
        return torch.empty(count, 3, px, px), torch.empty(count, px, px)

    def forward(self, frames: Tensor, sound: Tensor) -> Encoded:
        """What `look` and `listen` give of N segments, as tokens, here normalised for both, and their means."""
        image = sound[:, None].expand(-1, 3, -1, -1)
        both, position, levels = self._first_seen(torch.cat((frames, image))), 0, []
        for stage, layer in enumerate(self._stages()):
            both = self._merged(stage, both)
            for number in range(len(layer.blocks)):
                both = self.through(partial(self._position, position, stage, number), both)
                position += 1
            levels.append(both[: len(frames)])
        seen, heard = self.visual.norm(both).chunk(2)
        return self.encoded(seen, heard, (*levels[:-1], seen), ())

    def _position(self, position: int, stage: int, number: int, both: Tensor) -> Tensor:
        """A block with its adapters: the first pair beside attention, the second beside the perceptron."""
        block = self._stages()[stage].blocks[number]
        added = self._residuals("p1", position, both)
        both = both + _windows.seen(block, both, self.biases, (stage, number)) + added
        added = self._residuals("p2", position, both)
        return both + _windows.refined(block, both) + added

    def _residuals(self, which: str, position: int, both: Tensor) -> Tensor:
        """What is added to frames and to sound."""
        seen, heard = both.chunk(2)
        visual, audio = self.pair(which, position)
        return torch.cat((visual(seen, heard).residual, audio(heard, seen).residual))
