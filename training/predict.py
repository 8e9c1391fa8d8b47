"""Networks in training, asked: texts to logits and probabilities."""

import logging

import torch

import train
from data import DISCONTENT, OUTPUTS

log = logging.getLogger("predict")

TOKENS_MAX = 128


def logits(network, texts: list[str], batch: int = 64) -> torch.Tensor:
    """`[texts, outputs]` logits."""
    encoded = network.tokenise(texts, TOKENS_MAX)
    order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
    out = torch.zeros(len(texts), len(OUTPUTS))
    network.model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            index = order[start : start + batch]
            out[index] = network.forward(*train.pad([encoded[i] for i in index])).float()
            if start // batch % 200 == 199:
                log.info("scored %d of %d", start + batch, len(texts))
    return out


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Softmax of sentiment's logits, sigmoid of discontent's."""
    sentiment = torch.softmax(logits[:, :DISCONTENT], -1)
    return torch.cat([sentiment, torch.sigmoid(logits[:, DISCONTENT:])], -1)


def roughly(network, texts: list[str]) -> torch.Tensor:
    """`[texts, outputs]` probabilities in bf16, for a teacher's scores."""
    with torch.autocast("cpu", torch.bfloat16):
        return probabilities(logits(network, texts))
