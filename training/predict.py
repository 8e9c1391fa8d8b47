"""Networks in training, asked: texts to logits."""

import numpy as np
import torch

import train

TOKENS_MAX = 128
BATCH = {"cpu": 64, "cuda": 512}


def logits(network, texts: list[str], roughly: bool = False) -> torch.Tensor:
    """`[texts, outputs]` logits, on the CPU; `roughly`: computed in bf16."""
    encoded = network.tokenise(texts, TOKENS_MAX)
    return scored(network, train.Encoded.of(np.arange(len(texts)), encoded), roughly)


def scored(network, posts: train.Encoded, roughly: bool = False) -> torch.Tensor:
    """`[posts, outputs]` logits of posts that are encoded."""
    device = next(network.model.parameters()).device
    held, order, out = train.OnDevice(posts, device), np.argsort(-posts.lengths), []
    size = BATCH[device.type]
    network.model.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=roughly):
        for start in range(0, len(order), size):
            out.append(network.forward(*held.batch(order[start : start + size])).float())
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return torch.cat(out).cpu()[back]
