"""What a network is asked: groups of outputs, their probabilities and their loss.

The answers that the service gives are the first two heads of every network here. A teacher has one
more for each set whose annotators were asked something else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from data import LABELS


@dataclass(frozen=True)
class Head:
    """One question. `one`: exactly one of `labels` is right (softmax); otherwise each may be
    (sigmoid)."""

    name: str
    labels: Sequence[str]
    one: bool = True


class Heads:
    """All questions of a network, in the order of its outputs."""

    def __init__(self, heads: Sequence[Head]):
        self.of: dict[str, Head] = {head.name: head for head in heads}
        self.places: dict[str, slice] = {}
        self.outputs = 0
        for head in heads:
            self.places[head.name] = slice(self.outputs, self.outputs + len(head.labels))
            self.outputs += len(head.labels)

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """`[posts, outputs]` probabilities of `[posts, outputs]` logits."""
        parts = [
            torch.softmax(logits[:, place], -1)
            if self.of[name].one
            else torch.sigmoid(logits[:, place])
            for name, place in self.places.items()
        ]
        return torch.cat(parts, -1)

    def loss(self, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """The mean over the posts of the sum over the heads of the cross-entropy to the `wanted`
        probabilities, `[posts, outputs]`; NaN: not asked of this post."""
        asked, wanted = ~wanted.isnan(), wanted.nan_to_num(0.0)
        total = logits.new_zeros((), dtype=torch.float32)
        for name, place in self.places.items():
            said, right, mask = logits[:, place].float(), wanted[:, place], asked[:, place]
            if self.of[name].one:
                each = -right * F.log_softmax(said, -1)
            else:
                each = F.binary_cross_entropy_with_logits(said, right, reduction="none")
            total = total + (each * mask).sum()
        return total / len(logits)


ANSWERS = Heads([Head("sentiment", LABELS), Head("discontent", ["discontent"], one=False)])
